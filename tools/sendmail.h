/* sendmail: what the parts of the sendmail command share: its options, the message it was given, the envelope it makes.
 *
 * For: tools/sendmail*.c. Not for: daemons (these block). One call handles one message; memory is taken from one arena and
 * from the heap and given back at the end. */
#ifndef MANSIO_TOOLS_SENDMAIL_H
#define MANSIO_TOOLS_SENDMAIL_H

#include <sys/types.h>
#include <sysexits.h>

#include "daemon/config/config.h"
#include "smtp/esmtp.h"
#include "smtp/verp.h"

enum sendmail_mode {
    SENDMAIL_DELIVER, /* -bm */
    SENDMAIL_SESSION, /* -bs */
    SENDMAIL_VERIFY,  /* -bv */
    SENDMAIL_LIST,    /* -bp, mailq */
    SENDMAIL_ALIASES, /* -bi, newaliases */
    SENDMAIL_QUEUE,   /* -q */
    SENDMAIL_PICK_UP, /* --pick-up, by mansiod */
};

struct sendmail_options {
    enum sendmail_mode mode;
    const char *config_path;
    bool from_header;            /* -t */
    bool ignore_dots;            /* -i */
    bool verbose;                /* -v */
    const char *sender;          /* -f, -r; NULL: not given */
    const char *full_name;       /* -F */
    const char *envid;           /* -V */
    struct verp_delimiters verp; /* -XV */
    const char *queue;           /* what follows -q; "" for nothing */
    bool body_given;
    enum body_type body; /* -B */
    uint8_t notify;      /* -N, enum dsn_notify */
    enum dsn_ret ret;    /* -R */
    char *const *recipients;
    size_t recipient_count;
};

/* Who calls. */
struct sendmail_user {
    uid_t uid;
    struct bytes login; /* "uid1000" when the system knows no name */
    struct bytes full_name;
    struct bytes address; /* login@origin */
};

/* A message as it was read: lines end with CRLF. */
struct sendmail_input {
    uint8_t *data;
    size_t size, room;
    bool has_8bit;
};

/* Where a recipient stands with the daemon. */
enum sendmail_rcpt_state {
    SENDMAIL_RCPT_OPEN,
    SENDMAIL_RCPT_REFUSED, /* for good; the daemon may tell the sender by mail */
    SENDMAIL_RCPT_LOST,    /* it would not even do that */
    SENDMAIL_RCPT_DONE,    /* queued, or the sender is being told */
};

struct sendmail_recipient {
    struct bytes forward_path;
    enum sendmail_rcpt_state state;
    struct bytes refusal; /* the reply's text; empty: none */
};

struct sendmail_envelope {
    struct bytes reverse_path; /* empty: null */
    struct sendmail_recipient *recipients;
    size_t recipient_count, recipient_room;
    uint32_t *index; /* hash of forward-paths: 0, or a recipient's number + 1 */
    size_t index_room;
};

struct sendmail {
    struct sendmail_options options;
    struct sendmail_user user;
    struct config *cfg;
    struct arena arena;
    struct sendmail_envelope envelope;
    struct sendmail_input input;
    struct sendmail_input message; /* what is handed on: header completed */
};

/* EX_OK, or EX_USAGE with a line on stderr. */
int sendmail_options_read(struct sendmail_options *options, int argc, char **argv);

/* A line on stderr, behind "sendmail: ". */
void sendmail_say(const char *format, ...) __attribute__((format(printf, 1, 2)));

/* --- sendmail_input.c --- */
/* Reads standard input to its end, or to a lone dot unless ignore_dots. EX_OK, EX_DATAERR (NUL), EX_NOPERM (larger than
 * size_max), EX_IOERR, EX_TEMPFAIL (memory). */
int sendmail_input_read(struct sendmail_input *in, int fd, bool ignore_dots, uint64_t size_max);
/* Pure part: one portion of input. */
struct sendmail_reader {
    bool ignore_dots, behind_cr, ended;
    size_t line_at; /* where the present line begins in the output */
    uint64_t line;  /* its number, from 1 */
};
RESULT sendmail_reader_take(
    struct sendmail_reader *r, struct sendmail_input *out, struct bytes portion, uint64_t size_max);
RESULT sendmail_reader_end(struct sendmail_reader *r, struct sendmail_input *out, uint64_t size_max);
RESULT sendmail_input_put(struct sendmail_input *in, struct bytes octets);
void sendmail_input_free(struct sendmail_input *in);

/* --- sendmail_envelope.c --- */
/* The addresses in one argument or field value; duplicates are dropped. `where` names it in errors; EX_OK, EX_DATAERR,
 * EX_TEMPFAIL. */
int sendmail_envelope_add(struct sendmail *s, const char *where, size_t where_size, struct bytes list);
/* -f or the caller's own address. */
int sendmail_envelope_sender(struct sendmail *s);
/* CODE_FULL when there is no memory; a recipient that is there already is not added again. `forward_path` is copied. */
RESULT sendmail_recipient_add(struct sendmail *s, struct bytes forward_path);
/* From the arguments, and with -t from the header. */
int sendmail_envelope_make(struct sendmail *s);

/* --- sendmail_message.c --- */
/* Fills s->message from s->input: header completed, Bcc gone. */
int sendmail_message_make(struct sendmail *s);
struct bytes sendmail_input_bytes(const struct sendmail_input *in);

/* --- sendmail_submit.c --- */
/* Hands the message to the daemon. EX_OK: it is queued for all that can get it, and the sender will be told of the others by
 * mail. EX_NOUSER, EX_NOPERM, EX_DATAERR: nobody can get it, and nothing was queued. EX_TEMPFAIL: the daemon does not answer or
 * cannot take it now; recipients that are not DONE are left. With `tell_all` a refusal of everybody is told by mail too. */
int sendmail_submit(struct sendmail *s, bool tell_all);
/* -bv: asks about the recipients only. */
int sendmail_verify(struct sendmail *s);
/* A connection to run_dir/inject, or -1 with errno. */
int sendmail_connect(const struct config *cfg);

/* --- sendmail_session.c --- */
/* -bs: standard input and output become the session. */
int sendmail_session(const struct config *cfg);

/* --- sendmail_drop.c: state_dir/drop, where messages wait for a daemon that does not answer --- */
/* Writes and syncs the message for the recipients that are not done. EX_OK, or EX_TEMPFAIL after saying why. */
int sendmail_drop(struct sendmail *s);
/* Hands everything in the folder to the daemon, each message as its owner: what mansiod runs. EX_OK when nothing is left. */
int sendmail_pick_up(struct sendmail *s);
/* Pure part: the envelope at the front of such a file; what s holds then points into `file` or its arena. */
RESULT sendmail_drop_read(struct sendmail *s, struct bytes file);

#endif
