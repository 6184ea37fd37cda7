/* Dovecot's userdb, by the protocol of its auth-userdb socket: a user that it knows is an answer, the name that it gives back the row. */
#include "daemon/base/tabbed.h"
#include "daemon/lookup/stream.h"

struct service {
    struct stream *stream;
    uint64_t last;
};

static void service_close(void *conn)
{
    struct service *s = conn;

    if (s == NULL)
        return;
    stream_close(s->stream);
    free(s);
}

static RESULT service_open(void **conn, struct question *q)
{
    struct service *s = *conn = calloc(1, sizeof *s);

    if (s == NULL)
        return FAIL(CODE_FULL, "out of memory");
    TRY(stream_open_unix(&s->stream, q, (const char *)q->lookup->from.data));
    return stream_say(s->stream, q, BYTES("VERSION\t1\t0\n"));
}

static RESULT answer_hear(struct service *s, struct question *q)
{
    for (;;) {
        struct bytes line, word, number;
        uint64_t n;

        TRY(stream_hear(s->stream, q, &line));
        word = tabbed_take(&line);
        if (bytes_equal(word, BYTES("VERSION"))) {
            if (!bytes_equal(tabbed_take(&line), BYTES("1")))
                return backend_failed(q, "Dovecot", "its protocol is another one");
            continue;
        }
        number = tabbed_take(&line);
        if (!is_ok(bytes_to_u64(number, UINT64_MAX, &n)) || n != s->last)
            continue; /* the greeting's other lines */
        if (bytes_equal(word, BYTES("USER")))
            return backend_row(q, tabbed_take(&line));
        if (bytes_equal(word, BYTES("NOTFOUND")))
            return FAIL(CODE_GONE, "no such user");
        return backend_failed(q, "Dovecot", "it could not look the user up");
    }
}

static RESULT service_ask(void **conn, struct question *q)
{
    uint8_t room[ADDRESS_SIZE_MAX + 64];
    struct buf line = BUF(room);
    struct service *s;

    for (size_t i = 0; i < q->key.size; i++)
        if (q->key.data[i] <= ' ' || q->key.data[i] == 0x7f)
            return FAIL(CODE_GONE, "no user has such a name"); /* nor may it become fields of the protocol */
    if (*conn == NULL)
        TRY(service_open(conn, q));
    s = *conn;
    s->last++;
    TRY(buf_put_str(&line, "USER\t"));
    TRY(buf_put_u64(&line, s->last));
    TRY(buf_put_octet(&line, '\t'));
    TRY(buf_put(&line, q->key));
    TRY(buf_put_str(&line, "\tservice=smtp\n"));
    TRY(stream_say(s->stream, q, buf_bytes(&line)));
    return answer_hear(s, q);
}

const struct backend BACKEND_DOVECOT = {service_ask, service_close};
