/* srs: the Sender Rewriting Scheme: a reverse-path of somebody else's domain put into an address of ours, signed and dated, so that
 * what we forward comes from a host that may send it (SPF), and a bounce finds its way back.
 *
 * For: queued, where a message is forwarded (srs_forward), and lookup, where its bounce comes back (srs_reverse). Not for: who is
 * forwarded (queued/expansion.c), nor what a sender without a name is: the null reverse-path stays null.
 *   alice@a.example                    -> SRS0=HHHH=TT=a.example=alice@ours
 *   SRS0=hhhh=tt=a.example=alice@b.ex  -> SRS1=HHHH=b.ex==hhhh=tt=a.example=alice@ours     (back: to b.ex, never further)
 * The form is that of libsrs2 and Mail::SRS with four characters of hash: base64 of HMAC-SHA1 over what follows it in lower case;
 * TT are days modulo 1024 in base32.
 *   TRY(srs_keys_read(text, &srs));
 *   TRY(srs_forward(&srs, now, BYTES("alice@a.example"), &out));
 *   TRY(srs_reverse(&srs, now, local_part, &out));
 * Lifetime: keys are views into the text they were read from. */
#ifndef MANSIO_SMTP_SRS_H
#define MANSIO_SMTP_SRS_H

#include "daemon/base/base.h"

enum { SRS_KEY_COUNT_MAX = 16, SRS_KEY_SIZE_MAX = 256, SRS_MAX_AGE_DAYS = 1000 };

struct srs {
    struct bytes keys[SRS_KEY_COUNT_MAX]; /* the first one signs, each one proves */
    size_t key_count;                     /* 0: not in use */
    struct bytes domain;                  /* ours */
    uint32_t max_age_days;                /* at most SRS_MAX_AGE_DAYS */
};

/* One key a line; empty lines and those that begin with '#' are passed over. Touches keys alone. CODE_SYNTAX, CODE_FULL with
 * why; *line_out is the line's number then. */
RESULT srs_keys_read(struct bytes text, struct srs *srs_out, unsigned *line_out);

/* Whether a canonical local part, in quotes or not, has the form: SRS0 or SRS1 and one of = + -, in any case. */
static inline bool srs_is_form(struct bytes local_part)
{
    if (bytes_starts(local_part, BYTES("\"")))
        local_part = bytes_after(local_part, 1);
    return local_part.size > 5 && bytes_starts_nocase(local_part, BYTES("SRS")) &&
           (local_part.data[3] == '0' || local_part.data[3] == '1') &&
           bytes_index(BYTES("=+-"), local_part.data[4]) != BYTES_NOT_FOUND;
}

/* `sender`: canonical, not null. CODE_FULL: what comes out is longer than an address may be. */
RESULT srs_forward(const struct srs *s, struct walltime now, struct bytes sender, struct buf *out);

/* `local_part`: canonical, of an address at s->domain. CODE_SYNTAX: not the form; CODE_REFUSED: no key of ours has signed it;
 * CODE_TIMEOUT: it is older than max_age_days. */
RESULT srs_reverse(const struct srs *s, struct walltime now, struct bytes local_part, struct buf *out);

#endif
