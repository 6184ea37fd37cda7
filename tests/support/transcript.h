/* transcript: written dialogues against a pure session, readable by someone who has never seen the code.
 *
 * For: a core that is fed a peer's octets and time, and hands back octets and events. One file holds many cases:
 *
 *   === name of the case            # begins one; a line with # in front is a comment
 *   K: words                        given to the subject before anything else (its configuration)
 *   C: EHLO client.example          a line from the peer (CRLF is added); C. the same without CRLF
 *   S: 250 2.0.0 ok                 a line that the session must send; "..." at its end stands for any rest; S9: nine such
 *   E: closed reason=quit           an event that it must give
 *   T: +301s                        time goes by
 * Other capital letters are the subject's own. In input and expectation \r \n \0 \\ \xHH are octets, and \(N*text) is text N
 * times. Inputs in a row are given together; then what the session did is compared, mark by mark, in order: nothing may be
 * missing and nothing more may have happened. Each case runs whole, octet by octet, and in random portions; K: whole keeps
 * it to the portions written. MANSIO_TRANSCRIPT_RECORD=1 prints each case with what happens in it instead.
 *
 *   static const struct transcript_role server = {.input = 'C', .begin = ..., .feed = ..., .command = ..., .end = ...};
 *   transcript_run(TESTS_DIR "/transcripts/server/mail.txt", &server); */
#ifndef MANSIO_TESTS_TRANSCRIPT_H
#define MANSIO_TESTS_TRANSCRIPT_H

#include "daemon/base/base.h"

struct transcript; /* one case being run */

struct transcript_role {
    char input; /* the mark of the peer's lines: C for a server, S for a client */
    /* A new subject. Everything that it does is told by transcript_did and transcript_did_octets. */
    void *(*begin)(struct transcript *t);
    void (*feed)(void *subject, struct bytes piece);
    /* T: and the subject's own letters. The text is unescaped. */
    void (*command)(void *subject, char mark, struct bytes text);
    void (*end)(void *subject);
};

/* Something happened: compared with the lines of this mark. */
__attribute__((format(printf, 3, 4))) void transcript_did(struct transcript *t, char mark, const char *format, ...);
/* Octets that make lines: each CRLF ends one line of this mark; what has no line end waits for the rest. */
void transcript_did_octets(struct transcript *t, char mark, struct bytes octets);
/* "+301s", "+5m", "+200ms" in milliseconds. */
int64_t transcript_ms(struct bytes text);

/* Fails the running cmocka test at the first difference, naming file, line, case and portions. Returns the cases run. */
unsigned transcript_run(const char *path, const struct transcript_role *role);

#endif
