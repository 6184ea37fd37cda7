/* dsn_example: one report with everything in it, to be varied by tests. */
#ifndef MANSIO_TESTS_DSN_EXAMPLE_H
#define MANSIO_TESTS_DSN_EXAMPLE_H

#include "queue/dsn.h"

#define EXAMPLE_CONTENT                                                                                                \
    "Received: from x by y; Sat, 21 Nov 2026 12:00:00 +0000\r\nFrom: alice@one.example\r\nTo: bob@two.example,\r\n"    \
    " carol@three.example\r\nSubject: lunch\r\nMessage-ID: <lunch@one.example>\r\n\r\nHow about one o'clock?\r\n"

struct dsn_example {
    struct envelope_head head;
    struct dsn_recipient rcpt[2];
    struct dsn_report report;
    struct dsn_config cfg;
};

static inline void dsn_example_make(struct dsn_example *e)
{
    *e = (struct dsn_example){
        .head = {.id = {123456789},
            .arrival = {1795000000000},
            .reverse_path = BYTES("alice@one.example"),
            .envid = BYTES("QQ314159"),
            .message_id = BYTES("<lunch@one.example>"),
            .subject = BYTES("lunch")},
        .rcpt = {{.forward_path = BYTES("bob@two.example"),
                     .orcpt = BYTES("rfc822;Bob@Two.example"),
                     .status = BYTES("5.1.1"),
                     .reply = BYTES("550-5.1.1 The email account that you tried to reach does not exist. Please try\r\n"
                                    "550-5.1.1 double-checking the recipient's email address for typos.\r\n"
                                    "550 5.1.1 no such user"),
                     .reply_is_smtp = true,
                     .host = BYTES("mx.two.example"),
                     .last_attempt = {1795000003000},
                     .attempts = 1},
            {.forward_path = BYTES("carol@three.example"),
                .status = BYTES("5.4.4"),
                .reply = BYTES("no mail server of three.example exists"),
                .last_attempt = {1795000004000},
                .attempts = 1}},
        .cfg = {.hostname = BYTES("mail.one.example"), .return_size_max = 65536},
    };
    e->report = (struct dsn_report){
        .kind = DSN_FAILED,
        .original = &e->head,
        .recipients = e->rcpt,
        .recipient_count = 2,
        .content = BYTES(EXAMPLE_CONTENT),
        .content_is_whole = true,
        .id = {987654321},
        .now = {1795000005000},
    };
}

#endif
