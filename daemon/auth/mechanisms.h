/* mechanisms: the SASL mechanisms that EHLO names, best first; exchange.c speaks them.
 *
 * For: inbound, which offers them. A session that may log in without TLS is not offered what binds to TLS; where PAM or Dovecot judge
 * passwords, only what shows them the password. */
#ifndef MANSIO_AUTH_MECHANISMS_H
#define MANSIO_AUTH_MECHANISMS_H

#define AUTH_MECHANISMS "SCRAM-SHA-256-PLUS SCRAM-SHA-256 PLAIN LOGIN"
#define AUTH_MECHANISMS_PASSWORD "PLAIN LOGIN"
#define AUTH_MECHANISMS_UNBOUND "SCRAM-SHA-256 PLAIN LOGIN"

#endif
