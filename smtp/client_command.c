#include "smtp/client_command.h"

#include "smtp/xtext.h"

RESULT
client_command_plain(struct buf *out, struct bytes verb, struct bytes argument)
{
    TRY(buf_put(out, verb));
    if (argument.size > 0) {
        TRY(buf_put_octet(out, ' '));
        TRY(buf_put(out, argument));
    }
    return buf_put(out, BYTES("\r\n"));
}

static RESULT address_put(
    struct buf *out, struct bytes verb, struct bytes address, struct bytes ascii, bool utf8_offered)
{
    TRY(buf_put(out, verb));
    TRY(buf_put(out, !utf8_offered && ascii.size > 0 ? ascii : address));
    return buf_put_octet(out, '>');
}

RESULT
client_command_mail(struct buf *out, const struct smtp_job *job, uint64_t size, uint32_t extensions, bool utf8)
{
    bool utf8_offered = (extensions & SMTP_EXT_SMTPUTF8) != 0;

    TRY(address_put(out, BYTES("MAIL FROM:<"), job->reverse_path, job->reverse_path_ascii, utf8_offered));
    if ((extensions & SMTP_EXT_SIZE) && size > 0) {
        TRY(buf_put(out, BYTES(" SIZE=")));
        TRY(buf_put_u64(out, size));
    }
    if (job->body_type == BODY_BINARYMIME)
        TRY(buf_put(out, BYTES(" BODY=BINARYMIME")));
    else if ((extensions & SMTP_EXT_8BITMIME) && (job->body_8bit || job->body_type == BODY_8BITMIME))
        TRY(buf_put(out, BYTES(" BODY=8BITMIME")));
    if (utf8 && utf8_offered)
        TRY(buf_put(out, BYTES(" SMTPUTF8")));
    if (extensions & SMTP_EXT_DSN) {
        if (job->ret != DSN_RET_NONE)
            TRY(buf_put(out, job->ret == DSN_RET_FULL ? BYTES(" RET=FULL") : BYTES(" RET=HDRS")));
        if (job->envid.size > 0) {
            TRY(buf_put(out, BYTES(" ENVID=")));
            TRY(xtext_encode(job->envid, out));
        }
    }
    return buf_put(out, BYTES("\r\n"));
}

static RESULT notify_put(struct buf *out, uint8_t notify)
{
    static const struct {
        uint8_t bit;
        struct bytes word;
    } words[] = {
        {DSN_NOTIFY_SUCCESS, BYTES_INIT("SUCCESS")},
        {DSN_NOTIFY_FAILURE, BYTES_INIT("FAILURE")},
        {DSN_NOTIFY_DELAY, BYTES_INIT("DELAY")},
    };
    bool any = false;

    TRY(buf_put(out, BYTES(" NOTIFY=")));
    if (notify & DSN_NOTIFY_NEVER)
        return buf_put(out, BYTES("NEVER"));
    for (size_t i = 0; i < COUNT_OF(words); i++) {
        if (!(notify & words[i].bit))
            continue;
        if (any)
            TRY(buf_put_octet(out, ','));
        TRY(buf_put(out, words[i].word));
        any = true;
    }
    return OK;
}

RESULT
client_command_rcpt(struct buf *out, const struct smtp_job_rcpt *rcpt, uint32_t extensions)
{
    bool utf8_offered = (extensions & SMTP_EXT_SMTPUTF8) != 0;

    TRY(address_put(out, BYTES("RCPT TO:<"), rcpt->forward_path, rcpt->forward_path_ascii, utf8_offered));
    if (extensions & SMTP_EXT_DSN) {
        if (rcpt->notify & DSN_NOTIFY_ALL)
            TRY(notify_put(out, rcpt->notify));
        /* The type before the semicolon is an atom and goes as it is (RFC 3461 4.2). */
        ptrdiff_t semicolon = bytes_index(rcpt->orcpt, ';');
        if (semicolon > 0) {
            TRY(buf_put(out, BYTES(" ORCPT=")));
            TRY(xtext_encode(bytes_head(rcpt->orcpt, (size_t)semicolon), out));
            TRY(buf_put_octet(out, ';'));
            TRY(xtext_encode(bytes_after(rcpt->orcpt, (size_t)semicolon + 1), out));
        }
    }
    return buf_put(out, BYTES("\r\n"));
}

RESULT
client_command_bdat(struct buf *out, uint64_t size)
{
    TRY(buf_put(out, BYTES("BDAT ")));
    TRY(buf_put_u64(out, size));
    return buf_put(out, BYTES(" LAST\r\n"));
}
