/* keys: the process that holds the private keys of the server's certificates and does nothing but sign handshakes with them.
 *
 * For: mansiod.c. It is given the files' content by the supervisor, proves that each key belongs to its certificate, hands the
 * certificates (without keys) to the inbound processes of its generation, and answers their questions for signatures. Who takes over
 * an inbound process can have handshakes signed while he is there; he cannot carry the key away, nor have anything else signed. */
#ifndef MANSIO_KEYS_H
#define MANSIO_KEYS_H

#include "daemon/edge/process.h"

int keys_main(struct process *p);

#endif
