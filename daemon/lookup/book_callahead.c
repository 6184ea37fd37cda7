/* Call-ahead: whether the server that has the mailboxes would take the recipient, asked by SMTP with a null reverse-path, up to RCPT. A
 * connection is for one question: the answers are kept on cards, so it is asked seldom. */
#include "daemon/lookup/stream.h"

static void call_close(void *conn)
{
    stream_close(conn);
}

/* A whole reply; its code. */
static RESULT reply_hear(struct stream *s, struct question *q, unsigned *code_out)
{
    for (unsigned lines = 0; lines < 100; lines++) {
        struct bytes line;
        uint64_t code;

        TRY(stream_hear(s, q, &line));
        if (line.size < 3 || !is_ok(bytes_to_u64(bytes_head(line, 3), 599, &code)) || code < 200)
            break;
        *code_out = (unsigned)code;
        if (line.size == 3 || line.data[3] != '-')
            return OK;
    }
    return backend_failed(q, "call-ahead", "the server's reply cannot be read");
}

static RESULT command_say(
    struct stream *s, struct question *q, const char *before, struct bytes text, const char *behind, unsigned *code_out)
{
    uint8_t room[ADDRESS_SIZE_MAX + 64];
    struct buf line = BUF(room);

    TRY(buf_put_str(&line, before));
    TRY(buf_put(&line, text));
    TRY(buf_put_str(&line, behind));
    TRY(buf_put_str(&line, "\r\n"));
    TRY(stream_say(s, q, buf_bytes(&line)));
    return reply_hear(s, q, code_out);
}

static RESULT call(struct stream *s, struct question *q)
{
    unsigned code, unused;

    TRY(reply_hear(s, q, &code));
    if (code / 100 == 2)
        TRY(command_say(s, q, "EHLO ", bytes_of(q->hostname), "", &code));
    if (code / 100 == 5)
        TRY(command_say(s, q, "HELO ", bytes_of(q->hostname), "", &code));
    if (code / 100 == 2)
        TRY(command_say(s, q, "MAIL FROM:<", BYTES_NONE, ">", &code));
    if (code / 100 != 2)
        return backend_failed(q, "call-ahead", "the server does not take a null reverse-path");
    TRY(command_say(s, q, "RCPT TO:<", q->key, ">", &code));
    if (!is_ok(command_say(s, q, "QUIT", BYTES_NONE, "", &unused)))
        unused = 0; /* it has said what we wanted to know */
    if (code / 100 == 2)
        return backend_row(q, q->key);
    if (code / 100 == 5)
        return FAIL(CODE_GONE, "the server refuses the recipient");
    return backend_failed(q, "call-ahead", "the server refuses the recipient for now");
}

static RESULT call_ask(void **conn, struct question *q)
{
    for (size_t i = 0; i < q->key.size; i++)
        if (q->key.data[i] <= ' ' || q->key.data[i] >= 0x7f || q->key.data[i] == '<' || q->key.data[i] == '>')
            return FAIL(CODE_GONE, "no address that can be asked for");
    struct stream *s = NULL;
    struct result r = stream_open_host(&s, q, q->lookup->from);
    if (is_ok(r))
        r = call(s, q);
    stream_close(s);
    *conn = NULL;
    return r;
}

const struct backend BACKEND_CALLAHEAD = {call_ask, call_close};
