/* A text table: a key, blanks, a value on each line; # begins a comment line, a line that begins with blanks goes on with the one
 * before. The whole file is kept, sorted by key; it is read again when it has changed. Of one key that stands twice the first counts. */
#include <stdio.h>
#include <stdlib.h>

#include "daemon/lookup/backend.h"

enum { TEXT_SIZE_MAX = 67108864 };

struct line {
    struct bytes key, value;
};

struct text {
    struct backend_stamp stamp;
    char *memory;
    struct line *lines;
    size_t count;
};

static int line_order(const void *a, const void *b)
{
    const struct line *x = a, *y = b;
    int order = bytes_compare(x->key, y->key);

    return order != 0 ? order : x->key.data < y->key.data ? -1 : 1;
}

static bool is_blank(char octet)
{
    return octet == ' ' || octet == '\t' || octet == '\r';
}

/* Joins continued lines by blanking their line ends, and takes comments away. */
static void text_join(char *text, size_t size)
{
    size_t last_end = 0;

    for (size_t at = 0; at < size;) {
        char *end = memchr(text + at, '\n', size - at);
        size_t next = end == NULL ? size : (size_t)(end - text) + 1;
        size_t i = at;

        while (i < next && (is_blank(text[i]) || text[i] == '\n'))
            i++;
        if (i == next || text[i] == '#')
            memset(text + at, ' ', next - at - (end != NULL));
        else if (i > at && last_end > 0)
            text[last_end - 1] = ' ';
        if (i < next && text[i] != '#')
            last_end = next;
        at = next;
    }
}

static RESULT text_split(struct text *t, size_t size)
{
    size_t room = 1;

    for (size_t i = 0; i < size; i++)
        room += t->memory[i] == '\n';
    t->lines = calloc(room, sizeof *t->lines);
    if (t->lines == NULL)
        return FAIL(CODE_FULL, "out of memory");
    for (struct bytes rest = {(uint8_t *)t->memory, size}; rest.size > 0;) {
        ptrdiff_t lf = bytes_index(rest, '\n');
        struct bytes line = bytes_trim(lf == BYTES_NOT_FOUND ? rest : bytes_head(rest, (size_t)lf));
        size_t key = 0;

        rest = lf == BYTES_NOT_FOUND ? BYTES_NONE : bytes_after(rest, (size_t)lf + 1);
        while (key < line.size && !is_blank((char)line.data[key]))
            key++;
        if (key == 0)
            continue;
        for (size_t i = 0; i < key; i++)
            ((uint8_t *)(uintptr_t)line.data)[i] = octet_lower(line.data[i]);
        t->lines[t->count++] = (struct line){bytes_head(line, key), bytes_trim(bytes_after(line, key))};
    }
    qsort(t->lines, t->count, sizeof *t->lines, line_order);
    return OK;
}

static void text_close(void *conn)
{
    struct text *t = conn;

    if (t == NULL)
        return;
    free(t->memory);
    free(t->lines);
    free(t);
}

static RESULT text_read(struct text *t, struct question *q)
{
    FILE *file = fopen((const char *)q->lookup->from.data, "re");
    size_t size = (size_t)t->stamp.size;
    struct result r = OK;

    free(t->memory);
    free(t->lines);
    t->lines = NULL;
    t->count = 0;
    t->memory = size > TEXT_SIZE_MAX ? NULL : malloc(size + 1);
    if (file == NULL)
        r = backend_failed(q, "the table cannot be read", strerrordesc_np(errno));
    else if (t->memory == NULL)
        r = backend_failed(q, "the table is too large", NULL);
    if (is_ok(r)) {
        size = fread(t->memory, 1, size, file);
        text_join(t->memory, size);
        r = text_split(t, size);
    }
    if (file != NULL)
        fclose(file);
    return r;
}

static RESULT text_ask(void **conn, struct question *q)
{
    struct text *t = *conn;
    bool changed;

    if (t == NULL && (t = *conn = calloc(1, sizeof *t)) == NULL)
        return FAIL(CODE_FULL, "out of memory");
    TRY(backend_file_changed(q, &t->stamp, &changed));
    if (changed)
        TRY(text_read(t, q));
    size_t low = 0, high = t->count;
    while (low < high) {
        size_t middle = low + (high - low) / 2;
        if (bytes_compare(t->lines[middle].key, q->key) < 0)
            low = middle + 1;
        else
            high = middle;
    }
    if (low == t->count || !bytes_equal(t->lines[low].key, q->key))
        return FAIL(CODE_GONE, "no such key");
    return backend_row(q, t->lines[low].value);
}

const struct backend BACKEND_TEXT = {text_ask, text_close};
