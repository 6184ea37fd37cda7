/* credentials: certificates, private keys and session ticket keys, read by root and handed to the keys process in a memory file.
 *
 * For: the supervisor. Not for: judging them (the keys process does, daemon/keys): the supervisor does not parse
 * what is in the files. So no other process needs a right to open a private key.
 * The files are looked at every CREDENTIALS_LOOK_MS; when one has changed the whole is read and given again. Ticket keys are made
 * anew every CREDENTIALS_ROTATE_MS, the last one staying good for that long again: all inbound processes know the same ones,
 * so a client resumes with any of them.
 *   TRY(credentials_read(cfg, now, &c, &error));   give c.fd to each keys process;   credentials_close(&c);
 *   if (credentials_turn(&c, cfg, now)) ... give c.fd again ... */
#ifndef MANSIO_SUPERVISOR_CREDENTIALS_H
#define MANSIO_SUPERVISOR_CREDENTIALS_H

#include "daemon/config/config.h"
#include "daemon/edge/tls_store.h"

enum { CREDENTIALS_LOOK_MS = 5000, CREDENTIALS_ROTATE_MS = 8 * 3600 * 1000 };

struct credentials {
    int fd;        /* sealed memory file, tls_store's form; -1: there is no certificate */
    uint64_t seen; /* what the files looked like */
    struct instant next_look, rotate_at;
    size_t ticket_count;
    uint8_t tickets[TLS_TICKET_KEYS_MAX][TLS_TICKET_KEY_SIZE];
};

void credentials_init(struct credentials *c);
/* CODE_IO with error_out filled; *c stays as it was. Nothing to read is OK. */
RESULT credentials_read(
    const struct config *cfg, struct instant now, struct credentials *c, struct config_error *error_out);
/* True when c->fd is another one now. What cannot be read is logged, and the old one stays. */
bool credentials_turn(struct credentials *c, const struct config *cfg, struct instant now);
struct instant credentials_deadline(const struct credentials *c);
void credentials_close(struct credentials *c);

#endif
