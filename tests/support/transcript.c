#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>

#include <cmocka.h>

#include "tests/support/transcript.h"

enum { PORTIONS_WHOLE = 0, PORTIONS_OCTETS = 1, PORTIONS_RANDOM = 2, PORTIONS_COUNT = 5, PENDING_MARKS = 26 };

struct text {
    uint8_t *data;
    size_t size, room;
};

struct did {
    char mark;
    char *line;
    struct did *next;
};

struct transcript {
    const char *path;
    const struct transcript_role *role;
    struct rng rng;
    unsigned portions;
    bool whole_only;
    char name[200];
    void *subject;
    struct did *first, **last;
    struct text pending[PENDING_MARKS]; /* octets of an unfinished line, by mark */
};

static void text_add(struct text *t, const void *data, size_t size)
{
    if (t->size + size + 1 > t->room) {
        t->room = (t->size + size + 1) * 2;
        t->data = realloc(t->data, t->room);
        assert_non_null(t->data);
    }
    if (size > 0)
        memcpy(t->data + t->size, data, size);
    t->size += size;
    t->data[t->size] = 0;
}

/* Escapes of one expected or given text; `rest` stops at `stop` (0: at the end). Returns what was read. */
static const char *unescape(const char *in, char stop, struct text *out)
{
    while (*in != 0 && *in != stop) {
        if (*in != '\\') {
            text_add(out, in++, 1);
            continue;
        }
        in++;
        if (*in == '(') {
            char *after;
            unsigned long times = strtoul(in + 1, &after, 10);
            struct text part = {0};
            assert_int_equal(*after, '*');
            in = unescape(after + 1, ')', &part);
            assert_int_equal(*in, ')');
            in++;
            while (times-- > 0)
                text_add(out, part.data, part.size);
            free(part.data);
            continue;
        }
        uint8_t octet = *in == 'r' ? '\r' : *in == 'n' ? '\n' : *in == 't' ? '\t' : *in == '0' ? 0 : (uint8_t)*in;
        if (*in == 'x') {
            char hex[3] = {in[1], in[2], 0};
            octet = (uint8_t)strtoul(hex, NULL, 16);
            in += 2;
        }
        in++;
        text_add(out, &octet, 1);
    }
    return in;
}

static void did_add(struct transcript *t, char mark, const uint8_t *data, size_t size)
{
    struct did *d = calloc(1, sizeof *d);
    struct text line = {0};
    assert_non_null(d);
    text_add(&line, "", 0);
    for (size_t i = 0; i < size; i++) {
        char hex[8];
        if (data[i] == '\\')
            text_add(&line, "\\\\", 2);
        else if (data[i] < 32 || data[i] == 127)
            text_add(&line, hex, (size_t)snprintf(hex, sizeof hex, "\\x%02x", data[i]));
        else
            text_add(&line, data + i, 1);
    }
    d->mark = mark;
    d->line = (char *)line.data;
    *t->last = d;
    t->last = &d->next;
}

void transcript_did(struct transcript *t, char mark, const char *format, ...)
{
    char line[4096];
    va_list args;

    va_start(args, format);
    int size = vsnprintf(line, sizeof line, format, args);
    va_end(args);
    assert_true(size >= 0 && (size_t)size < sizeof line);
    did_add(t, mark, (const uint8_t *)line, (size_t)size);
}

void transcript_did_octets(struct transcript *t, char mark, struct bytes octets)
{
    struct text *pending = &t->pending[mark - 'A'];
    ptrdiff_t end;

    text_add(pending, octets.data, octets.size);
    while ((end = bytes_find((struct bytes){pending->data, pending->size}, BYTES("\r\n"))) != BYTES_NOT_FOUND) {
        did_add(t, mark, pending->data, (size_t)end);
        pending->size -= (size_t)end + 2;
        memmove(pending->data, pending->data + end + 2, pending->size);
    }
}

int64_t transcript_ms(struct bytes text)
{
    char copy[32] = {0}, *unit;
    assert_true(text.size < sizeof copy);
    memcpy(copy, text.data, text.size);
    int64_t value = strtoll(copy, &unit, 10);
    return strcmp(unit, "ms") == 0 ? value
           : *unit == 's'          ? value * 1000
           : *unit == 'm'          ? value * 60000
                                   : value * 3600000;
}

static const char *portions_name(unsigned portions)
{
    return portions == PORTIONS_WHOLE ? "whole" : portions == PORTIONS_OCTETS ? "octet by octet" : "in random portions";
}

__attribute__((noreturn, format(printf, 3, 4))) static void fail_at(
    const struct transcript *t, unsigned line, const char *format, ...)
{
    char what[6000];
    va_list args;

    va_start(args, format);
    vsnprintf(what, sizeof what, format, args);
    va_end(args);
    print_error("%s:%u: %s (%s): %s\n", t->path, line, t->name, portions_name(t->portions), what);
    fail();
    abort();
}

static void feed_portions(struct transcript *t, struct text *input)
{
    struct bytes rest = {input->data, input->size};

    while (rest.size > 0) {
        size_t size = t->portions == PORTIONS_WHOLE ? rest.size
                      : t->portions == PORTIONS_OCTETS
                          ? 1
                          : 1 + (size_t)rng_below(&t->rng, rest.size < 90 ? rest.size : 90);
        /* A block of its own on the heap: reading past the piece is found by the sanitizer. */
        uint8_t *piece = malloc(size);
        assert_non_null(piece);
        memcpy(piece, rest.data, size);
        t->role->feed(t->subject, (struct bytes){piece, size});
        free(piece);
        rest = bytes_after(rest, size);
    }
    input->size = 0;
}

static bool line_matches(const char *want, const char *got)
{
    struct text wanted = {0}, wanted_shown = {0};
    size_t size = strlen(want);
    bool any_rest = size >= 3 && strcmp(want + size - 3, "...") == 0;
    bool same;

    text_add(&wanted, "", 0);
    unescape(want, 0, &wanted);
    text_add(&wanted_shown, "", 0);
    for (size_t i = 0; i < wanted.size; i++) { /* to the form in which things done are kept */
        char hex[8];
        if (wanted.data[i] == '\\')
            text_add(&wanted_shown, "\\\\", 2);
        else if (wanted.data[i] < 32 || wanted.data[i] == 127)
            text_add(&wanted_shown, hex, (size_t)snprintf(hex, sizeof hex, "\\x%02x", wanted.data[i]));
        else
            text_add(&wanted_shown, wanted.data + i, 1);
    }
    same = any_rest ? strncmp((char *)wanted_shown.data, got, wanted_shown.size - 3) == 0
                    : strcmp((char *)wanted_shown.data, got) == 0;
    free(wanted.data);
    free(wanted_shown.data);
    return same;
}

static struct did *did_take(struct transcript *t, char mark)
{
    for (struct did **at = &t->first; *at != NULL; at = &(*at)->next) {
        struct did *d = *at;
        if (mark != 0 && d->mark != mark)
            continue;
        *at = d->next;
        if (d->next == NULL)
            t->last = at;
        return d;
    }
    return NULL;
}

static void expect(struct transcript *t, unsigned line, char mark, const char *want)
{
    struct did *d = did_take(t, mark);
    if (d == NULL)
        fail_at(t, line, "expected %c: %s, and nothing more came", mark, want);
    if (!line_matches(want, d->line))
        fail_at(t, line, "expected %c: %s, got %c: %s", mark, want, mark, d->line);
    free(d->line);
    free(d);
}

static void nothing_left(struct transcript *t, unsigned line)
{
    struct did *d = did_take(t, 0);
    if (d != NULL)
        fail_at(t, line, "before this line, not expected: %c: %s", d->mark, d->line);
    for (unsigned i = 0; i < PENDING_MARKS; i++)
        if (t->pending[i].size > 0)
            fail_at(t, line, "before this line, a line without its end: %s", (char *)t->pending[i].data);
}

static void record(struct transcript *t)
{
    struct did *d = did_take(t, 0);

    while (d != NULL) {
        unsigned times = 1;
        struct did *next = did_take(t, 0);
        for (; next != NULL && next->mark == d->mark && strcmp(next->line, d->line) == 0; times++) {
            free(next->line);
            free(next);
            next = did_take(t, 0);
        }
        if (times > 1)
            print_message("%c%u: %s\n", d->mark, times, d->line);
        else
            print_message("%c: %s\n", d->mark, d->line);
        free(d->line);
        free(d);
        d = next;
    }
}

/* Runs the case that begins behind *line_no in `file`; stops before the next one. False at the end of the file. */
static bool case_run(struct transcript *t, FILE *file, unsigned *line_no, bool recording)
{
    static char line[200000];
    struct text input = {0}, text = {0};
    long before = ftell(file);
    bool more = false;

    text_add(&input, "", 0);
    while (fgets(line, sizeof line, file) != NULL) {
        if (strncmp(line, "=== ", 4) == 0) {
            fseek(file, before, SEEK_SET);
            more = true;
            break;
        }
        before = ftell(file);
        ++*line_no;
        line[strcspn(line, "\n")] = 0;
        char mark = line[0];
        if (mark == 0 || mark == '#')
            continue;
        char *colon = line + 1;
        unsigned long times = line[1] >= '1' && line[1] <= '9' ? strtoul(line + 1, &colon, 10) : 1;
        bool bare = *colon == '.';
        const char *rest = *colon == 0 ? "" : colon + 1 + (colon[1] == ' ');
        if (mark < 'A' || mark > 'Z' || (*colon != ':' && *colon != '.'))
            fail_at(t, *line_no, "not a transcript line: %s", line);
        bool is_expectation = mark == 'S' || mark == 'E' || mark == 'B' || mark == 'C';
        if (mark == t->role->input)
            is_expectation = false;
        if (is_expectation) {
            feed_portions(t, &input);
            while (!recording && times-- > 0)
                expect(t, *line_no, mark, rest);
            continue;
        }
        if (input.size == 0) {
            if (recording)
                record(t);
            else
                nothing_left(t, *line_no);
        }
        if (recording)
            print_message("%s\n", line);
        if (mark == t->role->input) {
            unescape(rest, 0, &input);
            if (!bare)
                text_add(&input, "\r\n", 2);
            continue;
        }
        feed_portions(t, &input);
        text.size = 0;
        text_add(&text, "", 0);
        unescape(rest, 0, &text);
        struct bytes words = {text.data, text.size};
        if (mark == 'K' && bytes_starts(words, BYTES("whole"))) {
            t->whole_only = true;
            words = bytes_after(words, 6);
        }
        t->role->command(t->subject, mark, words);
    }
    feed_portions(t, &input);
    if (recording)
        record(t);
    else
        nothing_left(t, *line_no + 1);
    free(input.data);
    free(text.data);
    return more;
}

static unsigned file_run(struct transcript *t, FILE *file, bool recording)
{
    static char line[1000];
    unsigned line_no = 0, count = 0;
    bool more = true;

    while (more && fgets(line, sizeof line, file) != NULL) {
        line_no++;
        if (strncmp(line, "=== ", 4) != 0)
            continue;
        long start = ftell(file);
        unsigned start_line = line_no;
        snprintf(t->name, sizeof t->name, "%.*s", (int)strcspn(line + 4, "\n"), line + 4);
        t->whole_only = false;
        for (t->portions = 0; t->portions < (recording || t->whole_only ? 1 : PORTIONS_COUNT); t->portions++) {
            fseek(file, start, SEEK_SET);
            line_no = start_line;
            if (recording)
                print_message("\n%s", line);
            t->rng = (struct rng){line_no + t->portions};
            t->subject = t->role->begin(t);
            more = case_run(t, file, &line_no, recording);
            t->role->end(t->subject);
        }
        count++;
    }
    return count;
}

unsigned transcript_run(const char *path, const struct transcript_role *role)
{
    struct transcript t = {.path = path, .role = role, .first = NULL};
    FILE *file = fopen(path, "r");

    if (file == NULL)
        fail_msg("cannot open %s", path);
    t.last = &t.first;
    unsigned count = file_run(&t, file, getenv("MANSIO_TRANSCRIPT_RECORD") != NULL);
    fclose(file);
    for (unsigned i = 0; i < PENDING_MARKS; i++)
        free(t.pending[i].data);
    return count;
}
