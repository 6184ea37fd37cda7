#include "daemon/auth/dovecot.h"

#include "daemon/base/tabbed.h"
#include "smtp/base64.h"

RESULT
dovecot_greet(uint64_t pid, struct buf *out)
{
    TRY(buf_put_str(out, "VERSION\t1\t1\nCPID\t"));
    TRY(buf_put_u64(out, pid));
    return buf_put_octet(out, '\n');
}

/* A tab or line end in it would be a field of the asker's making. */
static bool is_word(struct bytes text)
{
    for (size_t i = 0; i < text.size; i++)
        if (text.data[i] <= ' ' || text.data[i] >= 0x7f)
            return false;
    return text.size > 0;
}

static RESULT response_put(const struct dovecot_question *question, struct buf *out)
{
    uint8_t room[ACCOUNT_NAME_SIZE_MAX + PASSWORD_SIZE_MAX + 2];
    struct buf plain = BUF(room);
    struct result r = buf_put_octet(&plain, 0);

    if (is_ok(r))
        r = buf_put(&plain, question->name);
    if (is_ok(r))
        r = buf_put_octet(&plain, 0);
    if (is_ok(r))
        r = buf_put(&plain, question->password);
    if (is_ok(r))
        r = base64_encode(buf_bytes(&plain), out);
    explicit_bzero(room, sizeof room);
    return r;
}

RESULT
dovecot_ask(const struct dovecot_question *question, struct buf *out)
{
    TRY(buf_put_str(out, "AUTH\t"));
    TRY(buf_put_u64(out, question->number));
    /* Its own penalty would come on top of guard.h's; nologin: no later request will refer to this one. */
    TRY(buf_put_str(out, "\tPLAIN\tservice=smtp\tnologin\tno-penalty"));
    if (question->secured)
        TRY(buf_put_str(out, "\tsecured"));
    if (is_word(question->client)) {
        TRY(buf_put_str(out, "\trip="));
        TRY(buf_put(out, question->client));
    }
    TRY(buf_put_str(out, "\tresp=")); /* the last parameter always */
    TRY(response_put(question, out));
    return buf_put_octet(out, '\n');
}

/* What follows the number of an OK or FAIL. */
static RESULT parameters_read(struct bytes line, struct dovecot_answer *a)
{
    while (line.size > 0) {
        struct bytes field = tabbed_take(&line);

        if (bytes_equal(field, BYTES("temp")) || bytes_equal(field, BYTES("code=temp_fail")))
            a->verdict = PASSWORD_LATER;
        if (a->verdict != PASSWORD_GOOD || !bytes_starts(field, BYTES("user=")))
            continue;
        buf_reset(&a->name);
        TRY(tabbed_unescape(bytes_after(field, 5), &a->name));
    }
    return OK;
}

RESULT
dovecot_read(struct dovecot *d, struct bytes line, struct dovecot_answer *a)
{
    struct bytes word = tabbed_take(&line), first = tabbed_take(&line);
    uint64_t number;

    if (bytes_equal(word, BYTES("VERSION"))) {
        d->version = bytes_equal(first, BYTES("1"));
        return d->version ? FAIL(CODE_MORE, "greeting") : FAIL(CODE_REFUSED, "its protocol is another one");
    }
    d->plain = d->plain || (bytes_equal(word, BYTES("MECH")) && bytes_equal_nocase(first, BYTES("PLAIN")));
    if (bytes_equal(word, BYTES("DONE"))) {
        d->ready = d->version && d->plain;
        return d->ready ? FAIL(CODE_MORE, "greeting") : FAIL(CODE_REFUSED, "it does not take PLAIN");
    }
    bool good = bytes_equal(word, BYTES("OK")), bad = bytes_equal(word, BYTES("FAIL"));
    if (!good && !bad && !bytes_equal(word, BYTES("CONT")))
        return FAIL(CODE_MORE, "not for us");
    if (!d->ready || !is_ok(bytes_to_u64(first, UINT32_MAX, &number)) || number == 0)
        return FAIL(CODE_REFUSED, "an answer that cannot be read");
    *a = (struct dovecot_answer){.number = (uint32_t)number,
        .verdict = good  ? PASSWORD_GOOD
                   : bad ? PASSWORD_BAD
                         : PASSWORD_LATER};
    a->name = BUF(a->room);
    if (!is_ok(parameters_read(line, a)) || bytes_index(buf_bytes(&a->name), 0) != BYTES_NOT_FOUND)
        return FAIL(CODE_REFUSED, "a user name that cannot be");
    return OK;
}
