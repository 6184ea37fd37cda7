/* stream: a connection that a helper thread reads and writes by lines, each wait bounded by its question's deadline.
 *
 * For: the back ends that speak a protocol of lines (book_dovecot.c, book_callahead.c). Not for: the loop's own connections (edge/conn.h).
 *   struct stream *s = NULL;
 *   TRY(stream_open_unix(&s, q, path));     or stream_open_host(&s, q, "[host]:port")
 *   TRY(stream_say(s, q, "VERSION\t1\t1\n"));  TRY(stream_hear(s, q, &line));  ... stream_close(s); */
#ifndef MANSIO_LOOKUP_STREAM_H
#define MANSIO_LOOKUP_STREAM_H

#include "daemon/lookup/backend.h"

struct stream;

RESULT stream_open_unix(struct stream **s, struct question *q, const char *path);
/* "[host]:port"; the addresses of a name are tried in order. */
RESULT stream_open_host(struct stream **s, struct question *q, struct bytes hop);
RESULT stream_say(struct stream *s, struct question *q, struct bytes text);
/* The next line without its end; good until the next call. */
RESULT stream_hear(struct stream *s, struct question *q, struct bytes *line_out);
void stream_close(struct stream *s);

#endif
