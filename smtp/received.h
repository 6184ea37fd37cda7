/* received: the trace field that we put before every message (RFC 5321 4.4; docs/states/server.md).
 *
 * For: the server session. Everything that a peer, a resolver or a TLS library said is cleaned here: what could end a
 * comment, a line or the field is written as '?'.
 *   TRY(received_put(&out, &facts)); */
#ifndef MANSIO_SMTP_RECEIVED_H
#define MANSIO_SMTP_RECEIVED_H

#include "daemon/base/base.h"

struct received {
    struct bytes helo; /* what the client called itself */
    struct bytes rdns; /* empty: unknown */
    struct bytes address;
    bool local; /* by UNIX socket: login and uid instead of the above */
    struct bytes login;
    uint32_t uid;
    struct bytes hostname;
    const char *protocol;                 /* "ESMTP"; a local one says "local" */
    struct bytes tls_version, tls_cipher; /* empty: none */
    struct bytes tls_client;              /* SHA-256 of the client's certificate in hexadecimal digits; empty: none */
    struct message_id id;
    struct bytes only_rcpt; /* the one recipient; empty: none is named */
    struct walltime date;
};

enum { RECEIVED_SIZE_MAX = 2560 };

/* The whole field with its last CRLF; no line over 998 octets. CODE_FULL when out has no room. */
RESULT
received_put(struct buf *out, const struct received *received);

#endif
