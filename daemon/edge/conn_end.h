/* conn_end: the two ends of a connection: who they are as text and octets, and a socket dialled to one.
 *
 * For: conn.c and readers of conn_peer. Threads: none; plain memory. */
#ifndef MANSIO_CONN_END_H
#define MANSIO_CONN_END_H

#include "daemon/base/base.h"

enum { CONN_TEXT_SIZE_MAX = 108 }; /* an address as text, or a socket's path */

/* One end of a connection. IPv4 stands as ::ffff:a.b.c.d. */
struct conn_end {
    bool local; /* a UNIX socket: address is zero */
    bool ipv6;
    uint8_t address[16];
    uint16_t port;
    uint8_t text_size;
    char text[CONN_TEXT_SIZE_MAX]; /* "192.0.2.1", "2001:db8::1", "/run/x" */
};

struct bytes conn_end_text(const struct conn_end *end);
/* Another address and port, text included. */
void conn_end_set(struct conn_end *end, const uint8_t address[16], uint16_t port);
/* "192.0.2.1" or "2001:db8::1" (with or without "IPv6:") as 16 octets. CODE_SYNTAX otherwise. */
RESULT conn_address_parse(struct bytes text, uint8_t address_out[16]);

/* The other end of a connected socket. CODE_IO, and zero: it is connected no more, as when a client reset it before it was
 * accepted. */
RESULT conn_peer_read(int fd, struct conn_end *peer_out);

struct conn_dial {
    bool local;
    bool ipv6;
    uint8_t address[16]; /* IPv4 in the first four octets */
    uint16_t port;
    struct bytes path;       /* of a UNIX socket */
    const uint8_t *source;   /* 16 octets (IPv4: the first four), of the same family; NULL: the kernel chooses */
    struct instant deadline; /* `lost` with CODE_TIMEOUT when not connected by then */
};
/* A non-blocking socket on its way there (or there already). CODE_IO with errno. */
RESULT conn_dial_socket(const struct conn_dial *to, int *fd_out);

#endif
