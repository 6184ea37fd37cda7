/* server_parts: what the files of the server session share: server.c (events, lines, life), server_command.c (one function
 * a verb), server_content.c (DATA and BDAT), server_auth.c (AUTH, STARTTLS, XCLIENT: what changes who the peer is).
 *
 * Not for: anybody else; see server.h. */
#ifndef MANSIO_SMTP_SERVER_PARTS_H
#define MANSIO_SMTP_SERVER_PARTS_H

#include "smtp/command.h"
#include "smtp/data.h"
#include "smtp/header_scan.h"
#include "smtp/server.h"

/* docs/states/server.md */
enum server_state {
    SERVER_READY,     /* for a command */
    SERVER_WAIT_MAIL, /* from here to SERVER_WAIT_AUTH: for the edge's answer */
    SERVER_WAIT_RCPT,
    SERVER_WAIT_VRFY,
    SERVER_WAIT_COMMIT,
    SERVER_WAIT_TLS,
    SERVER_WAIT_AUTH,
    SERVER_AUTH_LINE, /* for the peer's answer to a challenge */
    SERVER_DATA,      /* content up to its dot */
    SERVER_CHUNK,     /* chunk_left octets of content */
    SERVER_CLOSED,
};

/* One mail transaction, in the arena from MAIL to its end. */
struct smtp_transaction {
    bool opened;   /* the edge has said yes to MAIL: it is owed COMMIT or ABORT */
    bool content;  /* DATA or BDAT has begun */
    bool chunking; /* with BDAT */
    bool smtputf8;
    bool body_8bit;
    bool refused; /* its content: refusal is what to say at the end; ABORT was given */
    struct message_id id;
    struct walltime received_at;
    uint32_t rcpt_count;
    struct bytes only_rcpt; /* the first accepted */
    uint64_t body_size;
    uint64_t chunks_size; /* as BDAT announced them */
    struct reply refusal;
    struct data_reader data;
    struct header_scan header;
    uint8_t refusal_text[96];
};

/* --- server.c --- */
/* All changes of state pass here: it sets the deadline. */
void server_enter(struct smtp_server *s, struct instant now, enum server_state state);
struct smtp_event *server_event(struct smtp_server *s, enum smtp_event_kind kind);
/* Says something that is not a refusal. */
void server_say(struct smtp_server *s, const struct reply *reply);
/* Refuses: reply, notice, error count, and the end of the session where the count says so. */
void server_refuse(struct smtp_server *s, enum smtp_step step, const struct reply *reply, struct bytes subject);
/* Ends the transaction, if any; ABORT when the edge was owed something. */
void server_transaction_end(struct smtp_server *s);
/* The last reply and the end. */
void server_close(struct smtp_server *s, enum smtp_close_why why, const struct reply *reply);
/* 554 5.5.0: the peer does not wait for its turn. */
void server_close_early(struct smtp_server *s);
/* What is offered to this peer now. */
uint32_t server_extensions(const struct smtp_server *s);
void server_greet(struct smtp_server *s);

/* --- server_command.c --- */
void server_command(struct smtp_server *s, struct instant now, struct bytes line);

/* --- server_content.c --- */
void server_data(struct smtp_server *s, struct instant now);
void server_bdat(struct smtp_server *s, struct instant now, struct bytes argument);
size_t server_content_feed(struct smtp_server *s, struct instant now, struct bytes in);
void server_commit_answer(struct smtp_server *s, struct instant now, const struct smtp_answer *answer);

/* --- server_auth.c --- */
void server_auth(struct smtp_server *s, struct instant now, struct bytes argument);
void server_auth_line(struct smtp_server *s, struct instant now, struct bytes line);
void server_auth_answer(struct smtp_server *s, struct instant now, const struct smtp_answer *answer);
void server_starttls(struct smtp_server *s, struct instant now, struct bytes argument);
void server_xclient(struct smtp_server *s, struct instant now, struct bytes argument);

#endif
