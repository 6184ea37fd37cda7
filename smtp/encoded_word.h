/* encoded_word: text that is not ASCII, in a header field that must be (RFC 2047; RFC 2231 for parameters).
 *
 * For: downgrade.h. Not for: decoding, nor for finding the places in a field where words may stand.
 * The charset is UTF-8, or, for what is no UTF-8, "unknown-8bit" (RFC 1428): nothing is lost.
 *   TRY(encoded_word_put(&out, BYTES("Grüße")));                       =?UTF-8?B?R3LDvMOfZQ==?=
 *   TRY(encoded_parameter_put(&out, BYTES("filename"), value));        filename*=UTF-8''Gr%C3%BC%C3%9Fe.pdf */
#ifndef MANSIO_SMTP_ENCODED_WORD_H
#define MANSIO_SMTP_ENCODED_WORD_H

#include "daemon/base/base.h"

/* As many words as it takes; lines that hold one end at column 76. `out` holds the field from its start. CODE_FULL. */
RESULT
encoded_word_put(struct buf *out, struct bytes text);

/* A parameter, in numbered pieces of a line each when it is long. CODE_FULL. */
RESULT
encoded_parameter_put(struct buf *out, struct bytes name, struct bytes value);

/* Octets that are =?…?= already: blanks between two of them vanish where they are shown. */
bool encoded_word_is(struct bytes word);

/* Ends the line; the blank before, if there is one, goes to the start of the next. CODE_FULL. */
RESULT
encoded_fold(struct buf *out);

#endif
