/* result: the one type that every fallible function returns, from the first day to the last.
 *
 * Five different things, five treatments: an answer of the protocol (550) is data in its own enum and never a
 * result; "not yet" is CODE_MORE; a reached bound is CODE_FULL and the caller picks the reply (452, 500, 552);
 * the outside failing is CODE_IO; our own bug is ASSERT.
 *
 *   RESULT address_parse(struct bytes in, struct address *address_out);
 *   TRY(address_parse(view, &address));
 *   if (!is_ok(r)) ...
 *
 * `why` is always a string literal (never freed, never built from input). */
#ifndef MANSIO_RESULT_H
#define MANSIO_RESULT_H

enum code {
    CODE_OK,
    CODE_MORE,    /* feed me: the input ends before the thing does */
    CODE_FULL,    /* a stated bound was reached */
    CODE_SYNTAX,  /* the input is not of its grammar */
    CODE_REFUSED, /* understood, and not allowed */
    CODE_GONE,    /* what was asked for is no longer (or was never) there */
    CODE_CORRUPT, /* stored or framed data that does not hold together */
    CODE_IO,      /* the outside failed; `sys` holds errno (or the library's code) */
    CODE_TIMEOUT,
};

struct result {
    enum code code;
    int sys;
    const char *why;
};

#define RESULT __attribute__((warn_unused_result)) struct result
#define OK ((struct result){CODE_OK, 0, NULL})
#define FAIL(code_, why_) ((struct result){(code_), 0, (why_)})
#define FAIL_SYS(sys_, why_) ((struct result){CODE_IO, (sys_), (why_)})
#define TRY(expression)                                                                                                \
    do {                                                                                                               \
        struct result r_ = (expression);                                                                               \
        if (r_.code != CODE_OK)                                                                                        \
            return r_;                                                                                                 \
    } while (0)

static inline bool is_ok(struct result r)
{
    return r.code == CODE_OK;
}

#endif
