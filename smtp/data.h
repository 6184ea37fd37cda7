/* data: the content of a message as it comes over the wire, cut free of its transparency: after DATA (RFC 5321 4.5.2,
 * dots) or in BDAT chunks (RFC 3030, no dots).
 *
 * For: finding the end, and refusing what is not lines ended by CRLF: a bare CR, a bare LF or a NUL is never a line end
 * and never passed on, since another server could end the message there (SMTP smuggling). Not for: header fields
 * (header_scan.h) or storing.
 * It copies nothing: content comes out as views of the input, or of literals. What follows the end is not eaten.
 *   data_reader_init(&d, DATA_DOTS, size_max);
 *   while (input.size > 0) {
 *       end = data_read(&d, input, &eaten, &content);
 *       ... keep content, drop `eaten` octets of input, stop at end ...
 *   }
 *   if (d.fault != DATA_FAULT_NONE) ... refuse ...
 * After a fault the reader goes on to the true end and gives no more content. The first fault stays, and it is the same
 * however the input was split. */
#ifndef MANSIO_SMTP_DATA_H
#define MANSIO_SMTP_DATA_H

#include "daemon/base/base.h"

enum data_mode {
    DATA_DOTS,         /* ends at CRLF . CRLF; leading dots are removed */
    DATA_DOTS_CONVERT, /* the same, but LF, CRLF and CR are all line ends and come out as CRLF: local injection only */
    DATA_CHUNK,        /* no end of its own: the caller feeds what BDAT announced and calls data_finish after LAST */
    DATA_CHUNK_CONVERT,
};

enum data_fault {
    DATA_FAULT_NONE,
    DATA_FAULT_BARE_CR,
    DATA_FAULT_BARE_LF,
    DATA_FAULT_NUL,
    DATA_FAULT_LONG_LINE, /* over TEXT_LINE_SIZE_MAX */
    DATA_FAULT_SIZE,      /* over the size given at init */
};

struct data_reader {
    uint64_t size; /* octets of content given so far */
    uint64_t size_max;
    uint64_t line;        /* the current line, from 1 */
    uint64_t line_size;   /* octets of content in it so far */
    uint64_t fault_line;  /* where the fault was */
    uint64_t fault_octet; /* in that line, from 1 */
    enum data_fault fault;
    uint8_t mode;
    uint8_t state;
};

/* size_max 0: no bound. */
void data_reader_init(struct data_reader *d, enum data_mode mode, uint64_t size_max);

/* Eats some of `in`, or gives some content, or both; calling again goes on. True at the end of the data, whose
 * octets are eaten; then content is empty. */
bool data_read(struct data_reader *d, struct bytes in, size_t *eaten_out, struct bytes *content_out);

/* After the last chunk: the CRLF that a last line without one still needs, or nothing. */
void data_finish(struct data_reader *d, struct bytes *content_out);

#endif
