/* policy: who may send what to whom at RCPT, before anything is stored. Pure: configuration in, answer out.
 *
 * For: the edge of inbound, at CHECK_RCPT. Not for: routing (queued does that when it stores), nor for content.
 * Closed by default (RFC 5321 7.3 and common sense): strangers reach our domains (local and relay) and nothing else.
 *   if (!policy_rcpt(cfg, may_relay, &path, &room, &verdict)) answer NO with verdict.reply
 * The verdict's forward path and reply borrow from the configuration, the path and `room`. */
#ifndef MANSIO_INBOUND_POLICY_H
#define MANSIO_INBOUND_POLICY_H

#include "daemon/config/config.h"
#include "smtp/address.h"
#include "smtp/reply.h"

enum { POLICY_ROOM_SIZE = 2 * ADDRESS_SIZE_MAX + LANE_NAME_SIZE_MAX };

struct policy_verdict {
    bool accept;
    bool ask;  /* accepted as far as the configuration tells: lookup knows whether user or domain exist */
    bool role; /* postmaster or abuse of a domain of ours: never refused for what its sender is */
    const struct config_domain *domain; /* ours; NULL elsewhere */
    struct bytes forward_path;          /* accepted: local@domain; a bare postmaster has got a domain of ours */
    struct reply reply;                 /* refused */
    const char *why;                    /* refused: one word for the log, a literal */
};

/* True when a client may send anywhere: by its address, as a program of this host, or by password. */
bool policy_may_relay(const struct config *cfg, const uint8_t address[16], bool local, bool authenticated);

/* `ascii_domain`: path->domain as A-labels in lower case (the same view where it is ASCII already). `room` has
 * POLICY_ROOM_SIZE octets. */
void policy_rcpt(const struct config *cfg, bool may_relay, const struct address *path, struct bytes ascii_domain,
    struct buf *room, struct policy_verdict *verdict_out);

/* What of an address that is in no domain of ours, once lookup has said so. */
void policy_elsewhere(
    const struct config *cfg, bool may_relay, struct bytes ascii_domain, struct policy_verdict *verdict_out);

/* Whether a login may write this reverse-path (empty: the null one, always). */
bool policy_sender(
    const struct config *cfg, struct bytes login, const struct address *reverse_path, struct bytes ascii_domain);

/* Whether lookups know what this login may write, where policy_sender says no. */
bool policy_sender_is_asked(const struct config *cfg, struct bytes login);

/* The key under which connections of one client are counted: an IPv4 address, or an IPv6 /64, since one customer holds at
 * least that many addresses (RFC 6177). */
uint64_t policy_client_key(const uint8_t address[16]);
/* How a TLS-less or TLS-bearing listener class is spoken of in the log: "smtp", "submission", "submissions", "inject". */
const char *policy_listen_name(enum listen_class class);

#endif
