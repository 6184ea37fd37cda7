/* Content in any octets: the same verdict, content and end however it is cut; what is given holds no NUL and no line end but
 * CRLF; a naive reader, an octet at a time, agrees about the end. First octet: mode; second: size bound; third: cuts. */
#include "smtp/data.h"
#include "smtp/header_scan.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

enum { CONTENT_MAX = 70000 };

struct outcome {
    bool end;
    size_t eaten, size;
    enum data_fault fault;
    uint64_t line;
    struct header_scan header;
    uint8_t content[CONTENT_MAX];
};

static void run(struct outcome *o, enum data_mode mode, uint64_t size_max, struct bytes in, size_t piece)
{
    struct data_reader d;

    memset(o, 0, offsetof(struct outcome, content));
    data_reader_init(&d, mode, size_max);
    header_scan_init(&o->header);
    while (!o->end) {
        struct bytes rest = bytes_head(bytes_after(in, o->eaten), piece), content;
        size_t eaten;
        if (rest.size == 0)
            break;
        o->end = data_read(&d, rest, &eaten, &content);
        ASSERT(eaten > 0 || content.size > 0 || o->end);
        ASSERT(eaten <= rest.size && o->size + content.size <= CONTENT_MAX);
        if (content.size > 0)
            memcpy(o->content + o->size, content.data, content.size);
        o->size += content.size;
        o->eaten += eaten;
        header_scan_feed(&o->header, content);
    }
    if (mode == DATA_CHUNK || mode == DATA_CHUNK_CONVERT) {
        struct bytes content;
        data_finish(&d, &content);
        if (content.size > 0)
            memcpy(o->content + o->size, content.data, content.size);
        o->size += content.size;
    }
    o->fault = d.fault;
    o->line = d.fault_line;
}

/* Where CRLF . CRLF ends, or SIZE_MAX. */
static size_t naive_end(struct bytes in)
{
    if (bytes_starts(in, BYTES(".\r\n")))
        return 3;
    ptrdiff_t at = bytes_find(in, BYTES("\r\n.\r\n"));
    return at == BYTES_NOT_FOUND ? SIZE_MAX : (size_t)at + 5;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static struct outcome whole, cut;

    if (size < 3 || size > CONTENT_MAX / 2)
        return 0;
    enum data_mode mode = (enum data_mode)(data[0] % 4);
    uint64_t size_max = data[1] % 4 == 0 ? data[1] : 0;
    struct bytes in = {data + 3, size - 3};
    run(&whole, mode, size_max, in, SIZE_MAX);
    run(&cut, mode, size_max, in, (size_t)1 + data[2] % 16);
    ASSERT(whole.end == cut.end && whole.eaten == cut.eaten && whole.fault == cut.fault);
    ASSERT(whole.fault != DATA_FAULT_NONE ||
           (whole.size == cut.size && memcmp(whole.content, cut.content, whole.size) == 0));
    ASSERT(whole.fault == DATA_FAULT_NONE || whole.line == cut.line);
    if (whole.fault == DATA_FAULT_NONE)
        ASSERT(whole.header.received_count == cut.header.received_count && whole.header.done == cut.header.done &&
               bytes_equal(header_scan_value(&whole.header.subject), header_scan_value(&cut.header.subject)));
    if (mode == DATA_DOTS) {
        size_t end = naive_end(in);
        ASSERT(whole.end == (end != SIZE_MAX) && (!whole.end || whole.eaten == end));
    }
    for (size_t i = 0; i < whole.size; i++) {
        ASSERT(whole.content[i] != 0);
        ASSERT(whole.content[i] != '\n' || (i > 0 && whole.content[i - 1] == '\r'));
        ASSERT(whole.content[i] != '\r' || i + 1 == whole.size || whole.content[i + 1] == '\n');
    }
    return 0;
}
