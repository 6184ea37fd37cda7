/* Regular expressions: "/pattern/flags  answer" on each line, flags i (the default here, taken back by a second i as in
 * Postfix), x, s and m; "if /pattern/" … "endif" and "!/pattern/" as pcre_table(5) has them; $1 or ${1} in the answer. The first line that fits counts.
 * A pattern that goes astray is stopped by the limit of steps and of depth, and the question fails: which lines would have fitted
 * is then not known. */
#ifdef MANSIO_PCRE2
#define PCRE2_CODE_UNIT_WIDTH 8
#include <pcre2.h>
#include <stdio.h>

#include "daemon/lookup/backend.h"

#define FUNCTIONS(F)                                                                                                   \
    F(pcre2_compile)                                                                                                   \
    F(pcre2_code_free)                                                                                                 \
    F(pcre2_match)                                                                                                     \
    F(pcre2_match_data_create)                                                                                         \
    F(pcre2_match_data_free)                                                                                           \
    F(pcre2_match_context_create)                                                                                      \
    F(pcre2_match_context_free)                                                                                        \
    F(pcre2_set_match_limit)                                                                                           \
    F(pcre2_set_depth_limit) F(pcre2_set_heap_limit) F(pcre2_get_ovector_pointer) F(pcre2_get_error_message)

static struct {
#define F(name) __typeof__(name) *name;
    FUNCTIONS(F)
#undef F
} lib;
#define TEXT_OF(name) #name /* pcre2's names are macros that add the width */
static const char *const names[] = {
#define F(name) TEXT_OF(name),
    FUNCTIONS(F)
#undef F
};
static struct backend_library library = {MANSIO_PCRE2, names, (void **)&lib, COUNT_OF(names), 0};

enum {
    TABLE_SIZE_MAX = 16777216,
    STEPS_MAX = 200000, /* some 10 ms */
    DEPTH_MAX = 10000,
    HEAP_KIB_MAX = 4096,
    GROUPS_MAX = 10,
    NESTING_MAX = 16,
};

struct rule {
    pcre2_code *code;
    bool negated, opens, closes;
    struct bytes answer; /* in the file's text */
};

struct table {
    struct backend_stamp stamp;
    uint8_t *text;
    struct rule *rules;
    size_t count;
    pcre2_match_data *match;
    pcre2_match_context *limits;
};

static void rules_free(struct table *t)
{
    for (size_t i = 0; i < t->count; i++)
        if (t->rules[i].code != NULL)
            lib.pcre2_code_free(t->rules[i].code);
    free(t->rules);
    free(t->text);
    t->rules = NULL;
    t->text = NULL;
    t->count = 0;
}

static void table_close(void *conn)
{
    struct table *t = conn;

    if (t == NULL)
        return;
    rules_free(t);
    if (t->match != NULL)
        lib.pcre2_match_data_free(t->match);
    if (t->limits != NULL)
        lib.pcre2_match_context_free(t->limits);
    free(t);
}

static RESULT rule_wrong(struct question *q, unsigned line, const char *what)
{
    char words[BACKEND_WHY_SIZE_MAX];

    snprintf(words, sizeof words, "line %u: %s", line, what);
    return backend_failed(q, (const char *)q->lookup->from.data, words);
}

static RESULT pattern_compile(struct question *q, struct rule *rule, struct bytes *rest, unsigned line)
{
    uint32_t options = PCRE2_CASELESS | PCRE2_DOTALL;
    uint8_t mark = rest->data[0];
    size_t end = 1, offset;
    int code;

    while (end < rest->size && rest->data[end] != mark)
        end += rest->data[end] == '\\' ? 2 : 1;
    if (end >= rest->size || (mark >= '0' && octet_lower(mark) <= 'z' && mark != ':' && mark != '=') || mark == '\\')
        return rule_wrong(q, line, "expected /pattern/flags");
    struct bytes pattern = bytes_after(bytes_head(*rest, end), 1);
    *rest = bytes_after(*rest, end + 1);
    for (; rest->size > 0 && rest->data[0] > ' '; *rest = bytes_after(*rest, 1)) {
        switch (rest->data[0]) {
        case 'i':
            options ^= PCRE2_CASELESS;
            break;
        case 'x':
            options ^= PCRE2_EXTENDED;
            break;
        case 's':
            options ^= PCRE2_DOTALL;
            break;
        case 'm':
            options ^= PCRE2_MULTILINE;
            break;
        default:
            return rule_wrong(q, line, "expected the flags i, x, s or m");
        }
    }
    *rest = bytes_trim(*rest);
    rule->code = lib.pcre2_compile(pattern.data, pattern.size, options, &code, &offset, NULL);
    if (rule->code != NULL)
        return OK;
    uint8_t words[128];
    lib.pcre2_get_error_message(code, words, sizeof words);
    return rule_wrong(q, line, (const char *)words);
}

static RESULT rule_read(struct table *t, struct question *q, struct bytes text, unsigned line)
{
    struct rule *rule = &t->rules[t->count];

    *rule = (struct rule){.code = NULL};
    if (bytes_equal_nocase(text, BYTES("endif"))) {
        rule->closes = true;
        t->count++;
        return OK;
    }
    if (bytes_starts_nocase(text, BYTES("if")) && text.size > 2 && text.data[2] <= ' ') {
        rule->opens = true;
        text = bytes_trim(bytes_after(text, 2));
    }
    if (text.size > 0 && text.data[0] == '!') {
        rule->negated = true;
        text = bytes_trim(bytes_after(text, 1));
    }
    if (text.size == 0)
        return rule_wrong(q, line, "expected a pattern");
    TRY(pattern_compile(q, rule, &text, line));
    t->count++;
    rule->answer = text;
    return text.size > 0 || rule->opens ? OK : rule_wrong(q, line, "expected an answer behind the pattern");
}

static RESULT rules_read(struct table *t, struct question *q, size_t size)
{
    unsigned line = 0, open = 0;
    size_t room = 1;

    for (size_t i = 0; i < size; i++)
        room += t->text[i] == '\n';
    t->rules = calloc(room, sizeof *t->rules);
    if (t->rules == NULL)
        return FAIL(CODE_FULL, "out of memory");
    for (struct bytes rest = {t->text, size}; rest.size > 0;) {
        ptrdiff_t lf = bytes_index(rest, '\n');
        struct bytes text = bytes_trim(lf == BYTES_NOT_FOUND ? rest : bytes_head(rest, (size_t)lf));

        rest = lf == BYTES_NOT_FOUND ? BYTES_NONE : bytes_after(rest, (size_t)lf + 1);
        line++;
        if (text.size == 0 || text.data[0] == '#')
            continue;
        TRY(rule_read(t, q, text, line));
        const struct rule *last = &t->rules[t->count - 1];
        if ((last->closes && open-- == 0) || (last->opens && ++open > NESTING_MAX))
            return rule_wrong(q, line, "endif without if, or too many of them");
    }
    return open == 0 ? OK : rule_wrong(q, line, "if without endif");
}

static RESULT table_read(struct table *t, struct question *q)
{
    FILE *file = fopen((const char *)q->lookup->from.data, "re");
    size_t size = (size_t)t->stamp.size;

    rules_free(t);
    if (file == NULL)
        return backend_failed(q, "the table cannot be read", strerrordesc_np(errno));
    t->text = size > TABLE_SIZE_MAX ? NULL : malloc(size + 1);
    size = t->text != NULL ? fread(t->text, 1, size, file) : 0;
    fclose(file);
    return t->text != NULL ? rules_read(t, q, size) : backend_failed(q, "the table is too large", NULL);
}

static RESULT table_open(void **conn, struct question *q)
{
    struct table *t;

    TRY(backend_library(q, &library));
    t = *conn = calloc(1, sizeof *t);
    if (t == NULL)
        return FAIL(CODE_FULL, "out of memory");
    t->match = lib.pcre2_match_data_create(GROUPS_MAX, NULL);
    t->limits = lib.pcre2_match_context_create(NULL);
    if (t->match == NULL || t->limits == NULL)
        return FAIL(CODE_FULL, "out of memory");
    lib.pcre2_set_match_limit(t->limits, STEPS_MAX);
    lib.pcre2_set_depth_limit(t->limits, DEPTH_MAX);
    lib.pcre2_set_heap_limit(t->limits, HEAP_KIB_MAX);
    return OK;
}

/* The answer with the groups put in. */
static RESULT answer_put(const struct table *t, struct question *q, const struct rule *rule, int groups)
{
    const PCRE2_SIZE *at = lib.pcre2_get_ovector_pointer(t->match);
    struct bytes rest = rule->answer;

    while (rest.size > 0) {
        uint8_t octet = rest.data[0];
        size_t skip = rest.size > 1 && rest.data[1] == '{' ? 2 : 1;
        unsigned group = octet == '$' && rest.size > skip ? (unsigned)rest.data[skip] - '0' : GROUPS_MAX;

        if (octet == '$' && rest.size > 1 && rest.data[1] == '$')
            rest = bytes_after(rest, 1);
        if (group >= GROUPS_MAX) {
            TRY(buf_put_octet(q->answer, octet));
            rest = bytes_after(rest, 1);
            continue;
        }
        if (!rule->negated && (int)group < groups && at[2 * group] != PCRE2_UNSET)
            TRY(buf_put(q->answer, (struct bytes){q->key.data + at[2 * group], at[2 * group + 1] - at[2 * group]}));
        rest = bytes_after(rest, skip + (skip == 2 ? 2 : 1));
    }
    return OK;
}

static RESULT table_search(struct table *t, struct question *q)
{
    unsigned skipped = 0; /* nested ifs of which the outermost does not fit */

    for (size_t i = 0; i < t->count; i++) {
        const struct rule *rule = &t->rules[i];

        if (skipped > 0) {
            skipped += rule->opens ? 1 : 0;
            skipped -= rule->closes ? 1 : 0;
            continue;
        }
        if (rule->closes)
            continue;
        int groups = lib.pcre2_match(rule->code, q->key.data, q->key.size, 0, 0, t->match, t->limits);
        if (groups < 0 && groups != PCRE2_ERROR_NOMATCH)
            return backend_failed(q, (const char *)q->lookup->from.data, "a pattern needs too many steps for this key");
        bool fits = (groups >= 0) != rule->negated;
        if (rule->opens)
            skipped = fits ? 0 : 1;
        else if (fits)
            return answer_put(t, q, rule, groups);
    }
    return FAIL(CODE_GONE, "no pattern fits");
}

static RESULT table_ask(void **conn, struct question *q)
{
    struct table *t;
    bool changed;

    if (*conn == NULL)
        TRY(table_open(conn, q));
    t = *conn;
    TRY(backend_file_changed(q, &t->stamp, &changed));
    if (changed)
        TRY(table_read(t, q));
    return table_search(t, q);
}

const struct backend BACKEND_PCRE = {table_ask, table_close};
#endif
