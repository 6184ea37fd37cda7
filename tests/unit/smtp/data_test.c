/* Content: each case whole and split at every point, behind a guard page. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>

#include <cmocka.h>

#include "smtp/data.h"
#include "smtp/header_scan.h"

struct outcome {
    struct data_reader d;
    uint8_t *content;
    size_t size, eaten;
    bool end;
};

static void feed(struct outcome *o, struct bytes in)
{
    /* A block of the exact size: a read behind it is found by the sanitizer. */
    uint8_t *copy = malloc(in.size + 1);
    size_t at = 0;

    copy = realloc(copy, in.size == 0 ? 1 : in.size);
    assert_non_null(copy);
    if (in.size > 0)
        memcpy(copy, in.data, in.size);
    while (at < in.size && !o->end) {
        struct bytes content;
        size_t eaten;
        o->end = data_read(&o->d, (struct bytes){copy + at, in.size - at}, &eaten, &content);
        assert_true(eaten > 0 || content.size > 0 || o->end);
        assert_true(!o->end || content.size == 0);
        if (content.size > 0)
            memcpy(o->content + o->size, content.data, content.size);
        o->size += content.size;
        at += eaten;
    }
    o->eaten += at;
    free(copy);
}

static struct outcome run(enum data_mode mode, uint64_t size_max, struct bytes in, size_t first, size_t step)
{
    struct outcome o = {.content = malloc(in.size * 2 + 16)};
    assert_non_null(o.content);
    data_reader_init(&o.d, mode, size_max);
    feed(&o, bytes_head(in, first));
    for (size_t at = first; at < in.size && !o.end; at += step)
        feed(&o, bytes_head(bytes_after(in, at), step));
    if (mode == DATA_CHUNK || mode == DATA_CHUNK_CONVERT) {
        struct bytes content;
        data_finish(&o.d, &content);
        if (content.size > 0)
            memcpy(o.content + o.size, content.data, content.size);
        o.size += content.size;
    }
    return o;
}

#define CASE(mode, size, in, left, want, fault, line, octet)                                                           \
    {                                                                                                                  \
        mode, size, BYTES_INIT(in), left, want, fault, line, octet                                                     \
    }

static const struct data_case {
    enum data_mode mode;
    uint64_t size_max;
    struct bytes in;
    int left;         /* octets not eaten after the end; -1: no end */
    const char *want; /* content; with a fault: not compared */
    enum data_fault fault;
    uint64_t line, octet;
} cases[] = {
    CASE(DATA_DOTS, 0, ".\r\n", 0, "", DATA_FAULT_NONE, 0, 0),
    CASE(DATA_DOTS, 0, "a\r\n.\r\nNOOP", 4, "a\r\n", DATA_FAULT_NONE, 0, 0),
    CASE(DATA_DOTS, 0, "a\r\n..\r\n.\r\n", 0, "a\r\n.\r\n", DATA_FAULT_NONE, 0, 0),
    CASE(DATA_DOTS, 0, "..a\r\n.b\r\n.\r\n", 0, ".a\r\nb\r\n", DATA_FAULT_NONE, 0, 0),
    CASE(DATA_DOTS, 0, "\r\n\r\n.\r\n", 0, "\r\n\r\n", DATA_FAULT_NONE, 0, 0),
    CASE(DATA_DOTS, 0, "a\r\n.", -1, "a\r\n", DATA_FAULT_NONE, 0, 0),
    CASE(DATA_DOTS, 0, "a\nb\r\n.\r\n", 0, NULL, DATA_FAULT_BARE_LF, 1, 2),
    CASE(DATA_DOTS, 0, "\n.\r\n", -1, NULL, DATA_FAULT_BARE_LF, 1, 1),
    CASE(DATA_DOTS, 0, "a\r\n.\n\r\n.\r\n", 0, NULL, DATA_FAULT_BARE_LF, 2, 2),
    CASE(DATA_DOTS, 0, "a\rb\r\n.\r\n", 0, NULL, DATA_FAULT_BARE_CR, 1, 2),
    CASE(DATA_DOTS, 0, "a\r\r\n.\r\n", 0, NULL, DATA_FAULT_BARE_CR, 1, 2),
    CASE(DATA_DOTS, 0, "a\r\n.\r\r\n.\r\nx", 1, NULL, DATA_FAULT_BARE_CR, 2, 2),
    CASE(DATA_DOTS, 0, "a\r\n.\r.\r\n.\r\n", 0, NULL, DATA_FAULT_BARE_CR, 2, 2),
    CASE(DATA_DOTS, 0, "a\r\r\r\r\n.\r\n", 0, NULL, DATA_FAULT_BARE_CR, 1, 2),
    CASE(DATA_DOTS, 0, "a\r\nb\0c\r\n.\r\n", 0, NULL, DATA_FAULT_NUL, 2, 2),
    CASE(DATA_DOTS, 0, "a\0\nb\r\n.\r\n", 0, NULL, DATA_FAULT_NUL, 1, 2),
    CASE(DATA_DOTS, 0, "a\n\0b\r\n.\r\n", 0, NULL, DATA_FAULT_BARE_LF, 1, 2),
    CASE(DATA_DOTS, 5, "abc\r\n.\r\n", 0, "abc\r\n", DATA_FAULT_NONE, 0, 0),
    CASE(DATA_DOTS, 5, "..bc\r\n.\r\n", 0, ".bc\r\n", DATA_FAULT_NONE, 0, 0),
    CASE(DATA_DOTS, 4, "abc\r\n.\r\n", 0, NULL, DATA_FAULT_SIZE, 0, 0),
    CASE(DATA_DOTS, 3, "abc\r\n.\r\n", 0, NULL, DATA_FAULT_SIZE, 0, 0),
    CASE(DATA_DOTS, 2, "abc\r\n.\r\n", 0, NULL, DATA_FAULT_SIZE, 0, 0),
    CASE(DATA_DOTS, 3, "abc\nd\r\n.\r\n", 0, NULL, DATA_FAULT_SIZE, 0, 0),
    CASE(DATA_DOTS, 4, "abc\nd\r\n.\r\n", 0, NULL, DATA_FAULT_BARE_LF, 1, 4),
    CASE(DATA_DOTS, 1, "a\rb\r\n.\r\n", 0, NULL, DATA_FAULT_SIZE, 0, 0),
    CASE(DATA_DOTS, 3, "a\r\n.\rb\r\n.\r\n", 0, NULL, DATA_FAULT_SIZE, 0, 0),
    CASE(DATA_DOTS, 3, "ab\0d\r\n.\r\n", 0, NULL, DATA_FAULT_NUL, 1, 3),
    CASE(DATA_DOTS_CONVERT, 0, "a\nb\rc\r\nd\n.\nx", 1, "a\r\nb\r\nc\r\nd\r\n", DATA_FAULT_NONE, 0, 0),
    CASE(DATA_DOTS_CONVERT, 0, "a\r\n.\r\nx", 1, "a\r\n", DATA_FAULT_NONE, 0, 0),
    CASE(DATA_DOTS_CONVERT, 0, "a\r.\rx", 1, "a\r\n", DATA_FAULT_NONE, 0, 0),
    CASE(DATA_DOTS_CONVERT, 0, "\n\n\r\r.\n", 0, "\r\n\r\n\r\n\r\n", DATA_FAULT_NONE, 0, 0),
    CASE(DATA_DOTS_CONVERT, 0, "a\n\0\n.\n", 0, NULL, DATA_FAULT_NUL, 2, 1),
    CASE(DATA_DOTS_CONVERT, 3, "ab\n.\n", 0, NULL, DATA_FAULT_SIZE, 0, 0),
    CASE(DATA_CHUNK, 0, "a\r\n.\r\n.b\r\n", -1, "a\r\n.\r\n.b\r\n", DATA_FAULT_NONE, 0, 0),
    CASE(DATA_CHUNK, 0, "a\r\nb", -1, "a\r\nb\r\n", DATA_FAULT_NONE, 0, 0),
    CASE(DATA_CHUNK, 0, "", -1, "", DATA_FAULT_NONE, 0, 0),
    CASE(DATA_CHUNK, 0, "a\r", -1, NULL, DATA_FAULT_BARE_CR, 1, 2),
    CASE(DATA_CHUNK, 0, "a\n", -1, NULL, DATA_FAULT_BARE_LF, 1, 2),
    CASE(DATA_CHUNK_CONVERT, 0, "a\nb\r", -1, "a\r\nb\r\n", DATA_FAULT_NONE, 0, 0),
};

static void check(const struct data_case *c, struct outcome o, size_t first, size_t step)
{
    int left = o.end ? (int)(c->in.size - o.eaten) : -1;
    if (o.d.fault != c->fault || left != c->left ||
        (c->fault == DATA_FAULT_NONE && !bytes_equal((struct bytes){o.content, o.size}, bytes_of(c->want))) ||
        (c->line != 0 && (o.d.fault_line != c->line || o.d.fault_octet != c->octet)))
        fail_msg("case %zu cut at %zu, then every %zu: fault %d at %u:%u, left %d, content %.*s", (size_t)(c - cases),
            first, step, o.d.fault, (unsigned)o.d.fault_line, (unsigned)o.d.fault_octet, left, (int)o.size,
            (char *)o.content);
    free(o.content);
}

static void test_cases(void **state)
{
    (void)state;
    for (size_t i = 0; i < COUNT_OF(cases); i++) {
        const struct data_case *c = &cases[i];
        for (size_t first = 0; first <= c->in.size; first++)
            check(c, run(c->mode, c->size_max, c->in, first, c->in.size + 1), first, c->in.size);
        check(c, run(c->mode, c->size_max, c->in, 0, 1), 0, 1);
        check(c, run(c->mode, c->size_max, c->in, 0, 2), 0, 2);
    }
}

/* A line of just the bound passes, one octet more does not; of two bounds the first reached decides. */
static void test_long_lines(void **state)
{
    static uint8_t text[TEXT_LINE_SIZE_MAX + 16];
    static const size_t steps[] = {1000, 4096, 65536, sizeof text};

    (void)state;
    memset(text, 'x', sizeof text);
    for (size_t i = 0; i < COUNT_OF(steps); i++) {
        for (size_t extra = 0; extra < 2; extra++) {
            memcpy(text + TEXT_LINE_SIZE_MAX + extra, "\r\n.\r\n", 5);
            struct bytes in = {text, TEXT_LINE_SIZE_MAX + extra + 5};
            struct outcome o = run(DATA_DOTS, 0, in, 0, steps[i]);
            assert_true(o.end && o.eaten == in.size);
            assert_int_equal(o.d.fault, extra == 0 ? DATA_FAULT_NONE : DATA_FAULT_LONG_LINE);
            assert_true(extra != 0 || o.size == in.size - 3);
            free(o.content);
            o = run(DATA_DOTS, 1000, in, 0, steps[i]);
            assert_int_equal(o.d.fault, DATA_FAULT_SIZE);
            free(o.content);
            o = run(DATA_DOTS, TEXT_LINE_SIZE_MAX + 1, in, 0, steps[i]);
            assert_int_equal(o.d.fault, extra == 0 ? DATA_FAULT_SIZE : DATA_FAULT_LONG_LINE);
            free(o.content);
            text[TEXT_LINE_SIZE_MAX + extra] = 'x';
        }
    }
}

/* Plain text is given as it lies in the input. */
static void test_no_copy(void **state)
{
    static const char text[] = "Subject: x\r\n\r\nhello\r\nworld\r\n.\r\n";
    struct data_reader d;
    struct bytes content;
    size_t eaten;

    (void)state;
    data_reader_init(&d, DATA_DOTS, 0);
    assert_false(data_read(&d, bytes_of(text), &eaten, &content));
    assert_ptr_equal(content.data, text);
    assert_int_equal(content.size, sizeof text - 1 - 3);
}

static void test_header_scan(void **state)
{
    static const char text[] =
        "Received: a\r\n\tb\r\nreceived : c\r\nX-Received: d\r\nSubject: one\r\n two\r\nMessage-ID:\r\n <m@x>\r\n"
        "Receivedx: e\r\n\r\nReceived: f\r\nSubject: no\r\n";

    (void)state;
    for (size_t step = 1; step < sizeof text; step++) {
        struct header_scan h;
        size_t header = 0;
        header_scan_init(&h);
        for (size_t at = 0; at < sizeof text - 1; at += step)
            header += header_scan_feed(&h, bytes_head(bytes_after(bytes_of(text), at), step));
        assert_true(h.done);
        assert_int_equal(h.received_count, 2);
        assert_true(bytes_equal(header_scan_value(&h.subject), BYTES("one two")));
        assert_true(bytes_equal(header_scan_value(&h.message_id), BYTES("<m@x>")));
        assert_false(h.has_8bit);
        assert_in_range(header, strstr(text, "Received: f") - text - 2, strstr(text, "Received: f") - text);
    }
}

/* The first header block may be endless; the look at it is not. */
static void test_header_bound(void **state)
{
    static uint8_t line[1000];
    struct header_scan h;

    (void)state;
    memset(line, 'x', sizeof line);
    memcpy(line, "X: ", 3);
    memcpy(line + sizeof line - 2, "\r\n", 2);
    header_scan_init(&h);
    for (unsigned i = 0; i < 400; i++)
        header_scan_feed(&h, (struct bytes){line, sizeof line});
    assert_true(h.done);
    assert_in_range(h.size, HEADER_SIZE_SCANNED_MAX, HEADER_SIZE_SCANNED_MAX + sizeof line);
}

/* Kept for display: what is too long is cut, and never within a character. */
static void test_header_cut(void **state)
{
    static const char *const letters[] = {"x", "\xc3\xbc", "\xe2\x82\xac", "\xf0\x9f\x93\xac"};

    (void)state;
    for (size_t i = 0; i < COUNT_OF(letters); i++)
        for (size_t shift = 0; shift < 4; shift++) {
            struct header_scan h;
            char text[2 * DISPLAY_FIELD_SIZE_MAX] = "Subject: ";
            size_t begin = strlen(text), size = begin, letter = strlen(letters[i]);

            for (size_t n = 0; n < shift; n++)
                text[size++] = '-';
            for (; size < sizeof text - 8; size += letter)
                memcpy(text + size, letters[i], letter);
            memcpy(text + size, "\r\n\r\n", 5);
            header_scan_init(&h);
            header_scan_feed(&h, bytes_of(text));
            struct bytes value = header_scan_value(&h.subject);
            assert_in_range(value.size, DISPLAY_FIELD_SIZE_MAX - 4, DISPLAY_FIELD_SIZE_MAX);
            assert_memory_equal(value.data, text + begin, value.size);
            assert_int_equal((value.size - shift) % letter, 0);
        }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_cases),
        cmocka_unit_test(test_long_lines),
        cmocka_unit_test(test_no_copy),
        cmocka_unit_test(test_header_scan),
        cmocka_unit_test(test_header_bound),
        cmocka_unit_test(test_header_cut),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
