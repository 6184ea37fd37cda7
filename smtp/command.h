/* command: one command line of RFC 5321 and its extensions, taken apart.
 *
 * For: the server session. Not for: order, policy and answers to what is well formed (server.h).
 * A line comes without its CRLF. What is wrong with it comes back as the reply to give.
 * Views point into the line, or into `room` where something had to be decoded.
 *   command_parse(line, &command);
 *   if (command.verb == SMTP_VERB_MAIL && !command_parse_mail(command.argument, &rules, &room, &mail, &refusal))
 *       ... send refusal ... */
#ifndef MANSIO_SMTP_COMMAND_H
#define MANSIO_SMTP_COMMAND_H

#include "daemon/base/base.h"
#include "smtp/server.h"

enum smtp_verb {
    SMTP_VERB_UNKNOWN,
    SMTP_VERB_HELO,
    SMTP_VERB_EHLO,
    SMTP_VERB_MAIL,
    SMTP_VERB_RCPT,
    SMTP_VERB_DATA,
    SMTP_VERB_BDAT,
    SMTP_VERB_RSET,
    SMTP_VERB_NOOP,
    SMTP_VERB_QUIT,
    SMTP_VERB_VRFY,
    SMTP_VERB_EXPN,
    SMTP_VERB_HELP,
    SMTP_VERB_STARTTLS,
    SMTP_VERB_AUTH,
    SMTP_VERB_XCLIENT,
};

struct command {
    enum smtp_verb verb;
    struct bytes argument; /* after the verb, outer blanks removed */
    bool clean;            /* no control characters (tab is one) and no octet above 127 */
    bool text;             /* no control characters: octets above 127 may stand in MAIL, RCPT and VRFY */
};

/* Never fails: nonsense is SMTP_VERB_UNKNOWN. */
void command_parse(struct bytes line, struct command *command_out);

struct command_bdat {
    uint64_t size;
    bool last;
};

/* XCLIENT's attributes, decoded from xtext; `given` tells "" (unavailable) from absent. */
struct command_xclient {
    unsigned given; /* enum command_xclient_attribute */
    struct bytes name, address, helo, login;
    uint16_t port;
    bool esmtp;
};
enum command_xclient_attribute {
    XCLIENT_NAME = 1 << 0,
    XCLIENT_ADDR = 1 << 1,
    XCLIENT_PORT = 1 << 2,
    XCLIENT_PROTO = 1 << 3,
    XCLIENT_HELO = 1 << 4,
    XCLIENT_LOGIN = 1 << 5,
    XCLIENT_DESTADDR = 1 << 6, /* read and checked for form; nothing here depends on it */
    XCLIENT_DESTPORT = 1 << 7,
};

/* Each is true, or false with *refusal_out. `extensions` is what this session was offered; `room` needs
 * SERVER_SCRATCH_SIZE octets for MAIL and RCPT, SERVER_PEER_TEXT_SIZE for XCLIENT. */
bool command_parse_mail(struct bytes argument, uint32_t extensions, struct buf *room, struct smtp_mail *mail_out,
    struct reply *refusal_out);
/* `utf8`: the transaction has SMTPUTF8. */
bool command_parse_rcpt(struct bytes argument, uint32_t extensions, bool utf8, struct buf *room,
    struct smtp_rcpt *rcpt_out, struct reply *refusal_out);
bool command_parse_bdat(struct bytes argument, struct command_bdat *bdat_out, struct reply *refusal_out);
bool command_parse_xclient(
    struct bytes argument, struct buf *room, struct command_xclient *xclient_out, struct reply *refusal_out);

#endif
