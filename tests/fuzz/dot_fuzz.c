/* What our dot writer sends, a strict reader ends exactly once, at its end, and reads the same content. */
#include "smtp/dot.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    enum { CONTENT_MAX = 8192 };
    static uint8_t sent[2 * CONTENT_MAX + 8], read[2 * CONTENT_MAX + 8];
    size_t sent_size = 0, read_size = 0, at = 0;
    struct smtp_dot dot;
    struct bytes piece;

    if (size < 1 || size > CONTENT_MAX)
        return 0;
    struct bytes content = {data + 1, size - 1};
    struct bytes rest = content;
    smtp_dot_init(&dot);
    while (rest.size > 0) {
        struct bytes part = bytes_head(rest, 1 + (size_t)data[0]);
        rest = bytes_after(rest, part.size);
        while (smtp_dot_next(&dot, &part, &piece)) {
            memcpy(sent + sent_size, piece.data, piece.size);
            sent_size += piece.size;
        }
    }
    struct bytes end = smtp_dot_end(&dot);
    memcpy(sent + sent_size, end.data, end.size);
    sent_size += end.size;

    bool line_start = true, ended = false;
    while (at < sent_size && !ended) {
        if (line_start && sent[at] == '.') {
            if (at + 2 < sent_size && sent[at + 1] == '\r' && sent[at + 2] == '\n') {
                at += 3;
                ended = true;
                break;
            }
            at++;
            ASSERT(at < sent_size && sent[at] == '.'); /* a dot that begins a line is always doubled */
        }
        read[read_size++] = sent[at++];
        line_start = read_size >= 2 && read[read_size - 2] == '\r' && read[read_size - 1] == '\n';
    }
    ASSERT(ended && at == sent_size);
    bool whole_lines = content.size == 0 || (content.size >= 2 && content.data[content.size - 2] == '\r' &&
                                                content.data[content.size - 1] == '\n');
    ASSERT(read_size == content.size + (whole_lines ? 0 : 2));
    ASSERT(bytes_equal(content, (struct bytes){read, content.size}));
    return 0;
}
