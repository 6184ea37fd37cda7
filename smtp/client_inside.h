/* client_inside: what the parts of the client session share: client.c reads, client_write.c writes, client_login.c logs in.
 *
 * For: those files alone. */
#ifndef MANSIO_SMTP_CLIENT_INSIDE_H
#define MANSIO_SMTP_CLIENT_INSIDE_H

#include "smtp/client.h"
#include "smtp/client_login.h"

/*    name      what is waited for                  milliseconds to wait */
#define CLIENT_STATES(STATE)                                                                                           \
    STATE(GREETING, "the greeting", c->cfg->greeting_ms)                                                               \
    STATE(EHLO, "the reply to EHLO", c->cfg->ehlo_ms)                                                                  \
    STATE(HELO, "the reply to HELO", c->cfg->ehlo_ms)                                                                  \
    STATE(STARTTLS, "the reply to STARTTLS", c->cfg->ehlo_ms)                                                          \
    STATE(TLS, "the TLS handshake", c->cfg->ehlo_ms)                                                                   \
    STATE(LOGIN, "the reply to AUTH", c->cfg->ehlo_ms)                                                                 \
    STATE(READY, "work", INT64_MAX)                                                                                    \
    STATE(SURVEY, "the message to be looked through", c->cfg->block_ms)                                                \
    STATE(RSET, "the reply to RSET", c->cfg->mail_ms)                                                                  \
    STATE(MAIL, "the reply to MAIL", c->cfg->mail_ms)                                                                  \
    STATE(RCPT, "the reply to RCPT", c->cfg->rcpt_ms)                                                                  \
    STATE(DATA, "the reply to DATA", c->cfg->data_ms)                                                                  \
    STATE(BODY, "the message to be taken", c->cfg->block_ms)                                                           \
    STATE(DOT, "the reply to the message", c->cfg->dot_ms)                                                             \
    STATE(QUIT, "the reply to QUIT", c->cfg->quit_ms)                                                                  \
    STATE(CLOSED, "nothing", INT64_MAX)

enum client_state {
#define STATE_ENUM(name, what, ms) CLIENT_##name,
    CLIENT_STATES(STATE_ENUM)
};

enum client_sending {
    SENDING_NOTHING,
    SENDING_EHLO,
    SENDING_HELO,
    SENDING_STARTTLS,
    SENDING_LOGIN,
    SENDING_RSET,
    SENDING_MAIL,
    SENDING_RCPT,
    SENDING_DATA, /* or BDAT */
    SENDING_BODY,
    SENDING_QUIT,
};

/* The one way to change state: sets the deadline. */
void client_enter(struct smtp_client *c, enum client_state state);
/* A line of the transcript; `who` is "C: " or "S: ". */
void client_note(struct smtp_client *c, const char *who, struct bytes line);
/* The peer takes commands ahead of its replies, and we may. */
bool client_pipelining(const struct smtp_client *c);

/* The session ends: the peer hears QUIT; or at once, after what is no SMTP. */
void client_end_politely(struct smtp_client *c, enum smtp_client_end end, struct peer_reply reply);
void client_garbage(struct smtp_client *c, const char *why);

/* --- client_convert.c --- */
/* The job goes another way than as it is: its content is looked through first. */
void client_survey_begin(struct smtp_client *c, enum client_way way);
void client_survey(struct smtp_client *c, struct bytes bytes, bool last);

/* --- client.c --- */
/* It can go to this peer: its transaction begins. */
void client_transaction_begin(struct smtp_client *c);
/* It cannot, and none of its recipients. */
void client_job_refuse(struct smtp_client *c, enum smtp_rcpt_outcome outcome, struct peer_reply reply);

/* --- client_login.c --- */
/* Greeted, and encrypted if it is to be: READY, or first a login. */
void client_ready(struct smtp_client *c);
/* A reply to AUTH or to what followed it; `challenge` is the text behind its code. */
void client_on_login(struct smtp_client *c, struct peer_reply reply, struct bytes challenge);

/* --- client_write.c --- */
/* The next octets to send, or the next body octets to ask for; false when there is nothing. */
bool client_write_next(struct smtp_client *c, struct smtp_client_event *event_out);
bool client_want_next(struct smtp_client *c, struct smtp_client_event *event_out);

#endif
