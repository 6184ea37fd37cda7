/* json_put: writes JSON into a buf, whole or CODE_FULL.
 *
 * For: long listings that must not build a tree first. Not for: reading JSON (jansson).
 * Any octets may come as text: well-formed UTF-8 leaves as it is, all else (controls, DEL, C1, stray octets) as \u00HH, so
 * that one value can never become two lines or reach a terminal.
 *   TRY(json_put_field_text(&out, "id", id));      ,"id":"…"   (no comma behind an opening brace)
 *   TRY(json_put_field_number(&out, "size", 12)); */
#ifndef MANSIO_JSON_PUT_H
#define MANSIO_JSON_PUT_H

#include "daemon/base/base.h"

/* A quoted string. */
RESULT json_put_text(struct buf *out, struct bytes value);
RESULT json_put_number(struct buf *out, int64_t value);
/* A comma where one is needed, the quoted name (a literal that needs no escapes) and a colon. */
RESULT json_put_name(struct buf *out, const char *name);
RESULT json_put_field_text(struct buf *out, const char *name, struct bytes value);
RESULT json_put_field_str(struct buf *out, const char *name, const char *value);
RESULT json_put_field_number(struct buf *out, const char *name, int64_t value);
RESULT json_put_field_bool(struct buf *out, const char *name, bool value);
RESULT json_put_field_id(struct buf *out, const char *name, struct message_id id);

/* Octets of the well-formed UTF-8 sequence (RFC 3629) at the start of b that is no C1 control; 0 when there is none. */
size_t json_utf8_size(struct bytes b);

#endif
