/* client_login: how a client session logs in (RFC 4954), as far as the session needs to know: lines to say, challenges to
 * pass on, and whether it went well.
 *
 * For: client.c, which knows a login by this alone; client_auth.h is the one there is. So programs that never log in
 * (sendmail) do not carry what SCRAM computes with.
 * `line` is what is to be said next, without CRLF; `note` stands for it in the transcript, which must not hold secrets. */
#ifndef MANSIO_SMTP_CLIENT_LOGIN_H
#define MANSIO_SMTP_CLIENT_LOGIN_H

#include "daemon/base/base.h"

enum { CLIENT_LOGIN_LINE_SIZE_MAX = 1280 };

/* What a server's AUTH keyword lists, a set. */
enum smtp_mechanism {
    SMTP_MECHANISM_PLAIN = 1,
    SMTP_MECHANISM_LOGIN = 2,
    SMTP_MECHANISM_SCRAM_SHA_256 = 4,
};

struct client_login {
    bool without_tls; /* the operator allows it over a connection that others can read */
    /* Makes the first line; false: the server offers no mechanism that we know. */
    bool (*begin)(struct client_login *l, uint8_t mechanisms);
    /* The text of a 334, base64 as it came. Makes the next line: "*" calls the login off, and `why` then says so. */
    void (*challenge)(struct client_login *l, struct bytes text);
    /* After 235. False: the server owes a proof. In both cases nothing secret is left in `line`. */
    bool (*over)(struct client_login *l);
    const char *why;  /* we called it off; NULL: not so */
    const char *note; /* a literal */
    struct buf line;
    uint8_t line_room[CLIENT_LOGIN_LINE_SIZE_MAX];
};

#endif
