/* One pass, recursive descent; what it has understood goes out in postfix order. Every refusal names its place. */
#include "queue/filter.h"

static const struct {
    const char *name;
    enum filter_kind kind;
} fields[FILTER_FIELD_COUNT] = {
#define FIELD(id, name, kind, of_rcpt) {name, kind},
    FILTER_FIELDS(FIELD)
#undef FIELD
};

static const char *const states[] = {"due", "active", "deferred", "held", "leaving"};
static const char *const origins[ORIGIN_KIND_COUNT] = {"smtp", "submission", "local", "dsn", "resend"};
static const char *const others[] = {"and", "or", "not", "held", "all"};

struct parser {
    struct bytes text;
    size_t at;
    unsigned depth;
    struct filter *f;
    struct filter_error *error;
};

enum { WORD_SIZE_MAX = 31, EDITS_MAX = 2 };

size_t filter_distance(struct bytes a, struct bytes b)
{
    size_t row[WORD_SIZE_MAX + 1];

    if (a.size > WORD_SIZE_MAX || b.size > WORD_SIZE_MAX)
        return SIZE_MAX;
    for (size_t j = 0; j <= b.size; j++)
        row[j] = j;
    for (size_t i = 1; i <= a.size; i++) {
        size_t corner = row[0];

        row[0] = i;
        for (size_t j = 1; j <= b.size; j++) {
            size_t best = corner + (octet_lower(a.data[i - 1]) != octet_lower(b.data[j - 1]));

            corner = row[j];
            if (row[j] + 1 < best)
                best = row[j] + 1;
            if (row[j - 1] + 1 < best)
                best = row[j - 1] + 1;
            row[j] = best;
        }
    }
    return row[b.size];
}

/* The nearer of `best` and `candidate` to what was written. */
static const char *nearer(struct bytes written, const char *best, const char *candidate)
{
    size_t edits = filter_distance(written, bytes_of(candidate));

    if (edits > EDITS_MAX || edits >= written.size)
        return best;
    return best == NULL || edits < filter_distance(written, bytes_of(best)) ? candidate : best;
}

static RESULT refuse(struct parser *p, size_t at, size_t size, const char *why, const char *nearest)
{
    *p->error = (struct filter_error){.at = at, .size = size, .why = why, .nearest = nearest};
    return FAIL(CODE_SYNTAX, why);
}

/* The same for a bound that was reached. */
static RESULT refuse_full(struct parser *p, size_t at, const char *why)
{
    *p->error = (struct filter_error){.at = at, .why = why};
    return FAIL(CODE_FULL, why);
}

/* --- words --- */

static bool is_blank(uint8_t c)
{
    return c == ' ' || c == '\t' || c == '\n' || c == '\r';
}

static bool is_word(uint8_t c)
{
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '.' || c == '-' ||
           c == '_';
}

static void blanks_skip(struct parser *p)
{
    while (p->at < p->text.size && is_blank(p->text.data[p->at]))
        p->at++;
}

static struct bytes word_at(const struct parser *p)
{
    size_t end = p->at;

    while (end < p->text.size && is_word(p->text.data[end]))
        end++;
    return (struct bytes){p->text.data + p->at, end - p->at};
}

/* Eats `word` when it stands here alone: not the beginning of another one, and no test follows. */
static bool word_take(struct parser *p, const char *word)
{
    struct bytes found = word_at(p);
    size_t end = p->at + found.size;

    if (!bytes_equal(found, bytes_of(word)) ||
        (end < p->text.size && bytes_index(BYTES("=!<>~"), p->text.data[end]) >= 0))
        return false;
    p->at = end;
    return true;
}

static RESULT step_add(struct parser *p, struct filter_step step)
{
    if (p->f->step_count == FILTER_STEPS_MAX)
        return refuse_full(p, p->at, "the filter has too many tests");
    p->f->steps[p->f->step_count++] = step;
    return OK;
}

/* --- values --- */

/* Copies the value into the filter's own room, quotes and backslashes taken off. */
static RESULT value_take(struct parser *p, struct filter_step *step)
{
    size_t from = p->at;
    bool quoted = p->at < p->text.size && p->text.data[p->at] == '"';

    step->at = p->f->text_size;
    for (p->at += quoted; p->at < p->text.size; p->at++) {
        uint8_t c = p->text.data[p->at];

        if (quoted ? c == '"' : is_blank(c) || c == '(' || c == ')')
            break;
        if (quoted && c == '\\' && p->at + 1 < p->text.size)
            c = p->text.data[++p->at];
        p->f->text[p->f->text_size++] = c; /* never more than was read */
    }
    if (quoted && p->at == p->text.size)
        return refuse(p, from, p->at - from, "the quotation has no end", NULL);
    p->at += quoted;
    step->size = (uint16_t)(p->f->text_size - step->at);
    if (!quoted && step->size == 0)
        return refuse(p, from, 0, "a value is missing here; an empty one is written \"\"", NULL);
    return OK;
}

static struct bytes value_of(const struct parser *p, const struct filter_step *step)
{
    return (struct bytes){p->f->text + step->at, step->size};
}

/* Digits, one point, digits: in thousandths. False when there are none or they are too many. */
static bool decimal_take(struct bytes *in, int64_t *thousandths_out)
{
    int64_t value = 0, unit = 1000;
    size_t digits = 0;
    bool point = false;

    for (; in->size > 0; *in = bytes_after(*in, 1)) {
        uint8_t c = in->data[0];

        if (c == '.' && !point && digits > 0) {
            point = true;
        } else if (c >= '0' && c <= '9' && digits < 15) {
            digits++;
            if (!point)
                value = value * 10 + (c - '0') * 1000;
            else
                value += (c - '0') * (unit /= 10);
        } else {
            break;
        }
    }
    *thousandths_out = value;
    return digits > 0;
}

static int64_t unit_of(enum filter_kind kind, struct bytes *in)
{
    static const struct {
        uint8_t letter;
        int64_t factor;
    } spans[] = {{'s', 1000}, {'m', 60000}, {'h', 3600000}, {'d', 86400000}, {'w', 604800000}},
      sizes[] = {{'k', 1 << 10}, {'m', 1 << 20}, {'g', 1 << 30}, {'b', 1}};
    uint8_t letter = in->size > 0 ? octet_lower(in->data[0]) : 0;

    for (size_t i = 0; kind == FILTER_SPAN && i < COUNT_OF(spans); i++)
        if (spans[i].letter == letter) {
            *in = bytes_after(*in, 1);
            return spans[i].factor;
        }
    for (size_t i = 0; kind == FILTER_OCTETS && i < COUNT_OF(sizes); i++)
        if (sizes[i].letter == letter) {
            *in = bytes_after(*in, 1);
            return sizes[i].factor;
        }
    return kind == FILTER_SPAN ? 1000 : 1;
}

/* 12, 1h30m, 1.5M: pieces add up. */
static bool number_read(enum filter_kind kind, struct bytes in, int64_t *number_out)
{
    int64_t sum = 0, piece;

    if (in.size == 0)
        return false;
    while (in.size > 0) {
        if (!decimal_take(&in, &piece))
            return false;
        int64_t unit = unit_of(kind, &in);
        if (piece > INT64_MAX / 4 / unit || (kind == FILTER_COUNT && (piece % 1000 != 0 || in.size > 0)))
            return false;
        sum += piece * unit / 1000;
        if (sum > INT64_MAX / 2)
            return false;
    }
    *number_out = sum;
    return true;
}

static RESULT word_check(struct parser *p, const struct filter_step *step, size_t at)
{
    bool of_state = step->field == FILTER_FIELD_STATE;
    const char *const *words = of_state ? states : origins;
    size_t count = of_state ? COUNT_OF(states) : COUNT_OF(origins);
    const char *nearest = NULL;

    for (size_t i = 0; i < count; i++) {
        if (bytes_equal_nocase(value_of(p, step), bytes_of(words[i])))
            return OK;
        nearest = nearer(value_of(p, step), nearest, words[i]);
    }
    return refuse(p, at, p->at - at,
        of_state ? "a state is due, active, deferred, held or leaving"
                 : "an origin is smtp, submission, local, dsn or resend",
        nearest);
}

/* Takes the value for what its field wants. */
static RESULT value_check(struct parser *p, struct filter_step *step, size_t at)
{
    enum filter_kind kind = fields[step->field].kind;
    struct bytes value = value_of(p, step);
    struct message_id id;

    switch (kind) {
    case FILTER_TEXT:
        if (value.size >= 2 && value.data[0] == '<' && value.data[value.size - 1] == '>' &&
            step->field != FILTER_FIELD_SUBJECT && step->field != FILTER_FIELD_HEADER_SUBJECT &&
            step->field != FILTER_FIELD_MESSAGE_ID && step->field != FILTER_FIELD_HEADER_MESSAGE_ID) {
            step->at++; /* <a@b.example> */
            step->size = (uint16_t)(step->size - 2);
        }
        return OK;
    case FILTER_WORD:
        return word_check(p, step, at);
    case FILTER_ID:
        if (!is_ok(message_id_parse(value, &id)))
            return refuse(p, at, p->at - at, "that is no message id", NULL);
        step->number = (int64_t)id.value;
        return OK;
    case FILTER_SPAN:
        if (!number_read(kind, value, &step->number))
            return refuse(p, at, p->at - at, "expected a time, as 90s, 2h, 1h30m or 5d", NULL);
        return OK;
    case FILTER_OCTETS:
        if (!number_read(kind, value, &step->number))
            return refuse(p, at, p->at - at, "expected a size, as 812, 20K or 1.5M", NULL);
        return OK;
    case FILTER_COUNT:
        if (!number_read(kind, value, &step->number))
            return refuse(p, at, p->at - at, "expected a whole number", NULL);
        return OK;
    }
    return OK;
}

/* --- grammar --- */

static bool operator_take(struct parser *p, enum filter_operator *op_out)
{
    static const struct {
        const char *text;
        enum filter_operator op;
    } operators[] = {{"==", FILTER_EQ}, {"!=", FILTER_NE}, {"<=", FILTER_LE}, {">=", FILTER_GE}, {"!~", FILTER_UNLIKE},
        {"=", FILTER_EQ}, {"<", FILTER_LT}, {">", FILTER_GT}, {"~", FILTER_LIKE}};
    struct bytes rest = bytes_after(p->text, p->at);

    for (size_t i = 0; i < COUNT_OF(operators); i++)
        if (bytes_starts(rest, bytes_of(operators[i].text))) {
            p->at += strlen(operators[i].text);
            *op_out = operators[i].op;
            return true;
        }
    return false;
}

/* A test that is no more than one word. */
static RESULT lone_word(struct parser *p, struct bytes word)
{
    struct filter_step step = {.kind = FILTER_STEP_TEST, .field = FILTER_FIELD_ID, .op = FILTER_EQ};
    const char *nearest = NULL;
    struct message_id id;
    bool is_field = false;

    if (word_take(p, "all"))
        return step_add(p, (struct filter_step){.kind = FILTER_STEP_ALL});
    if (word_take(p, "held")) {
        step.field = FILTER_FIELD_STATE;
        step.at = p->f->text_size;
        step.size = 4;
        memcpy(p->f->text + p->f->text_size, "held", 4); /* the word itself stood in the text */
        p->f->text_size += 4;
        p->f->fields |= 1u << FILTER_FIELD_STATE;
        return step_add(p, step);
    }
    for (size_t i = 0; i < FILTER_FIELD_COUNT; i++) {
        is_field = is_field || bytes_equal_nocase(word, bytes_of(fields[i].name));
        nearest = nearer(word, nearest, fields[i].name);
    }
    for (size_t i = 0; i < COUNT_OF(others); i++) {
        if (bytes_equal(word, bytes_of(others[i])))
            return refuse(p, p->at, word.size, "a test is missing before this word", NULL);
        nearest = nearer(word, nearest, others[i]);
    }
    if (is_field)
        return refuse(p, p->at + word.size, 0, "an operator is missing here: = != ~ !~ < > <= >=", NULL);
    if (!is_ok(message_id_parse(word, &id)))
        return refuse(p, p->at, word.size, "neither a test nor a message id", nearest);
    step.number = (int64_t)id.value;
    p->at += word.size;
    p->f->fields |= 1u << FILTER_FIELD_ID;
    return step_add(p, step);
}

static RESULT test(struct parser *p)
{
    struct filter_step step = {.kind = FILTER_STEP_TEST, .field = FILTER_FIELD_COUNT};
    struct bytes word = word_at(p);
    size_t at = p->at, op_at = p->at + word.size;
    const char *nearest = NULL;
    enum filter_kind kind;

    if (word.size == 0)
        return refuse(p, p->at, p->at < p->text.size, "expected a test here, as from=a@b.example or age>2h", NULL);
    p->at = op_at;
    if (!operator_take(p, &step.op)) {
        p->at = at;
        return lone_word(p, word);
    }
    for (unsigned i = 0; i < FILTER_FIELD_COUNT; i++) {
        if (bytes_equal_nocase(word, bytes_of(fields[i].name)))
            step.field = i;
        nearest = nearer(word, nearest, fields[i].name);
    }
    if (step.field == FILTER_FIELD_COUNT)
        return refuse(p, at, word.size,
            bytes_starts_nocase(word, BYTES("header.")) ? "of the header only subject and message-id are kept"
                                                        : "unknown field",
            nearest);
    kind = fields[step.field].kind;
    if (kind == FILTER_TEXT ? step.op >= FILTER_LT && step.op <= FILTER_GE : step.op >= FILTER_LIKE)
        return refuse(p, op_at, p->at - op_at,
            kind == FILTER_TEXT ? "a text compares by = != ~ !~" : "this field does not compare by ~", NULL);
    if ((kind == FILTER_WORD || kind == FILTER_ID) && step.op > FILTER_NE)
        return refuse(p, op_at, p->at - op_at, "this field compares by = and !=", NULL);
    at = p->at;
    TRY(value_take(p, &step));
    TRY(value_check(p, &step, at));
    p->f->fields |= 1u << step.field;
    return step_add(p, step);
}

static RESULT alternatives(struct parser *p);

static RESULT factor(struct parser *p)
{
    size_t at = p->at;

    if (p->depth == FILTER_DEPTH_MAX)
        return refuse_full(p, at, "too deep: at most 32 levels of ( and not");
    bool negated = word_take(p, "not");
    if (!negated && p->at < p->text.size && p->text.data[p->at] == '!') {
        p->at++;
        negated = true;
    }
    if (negated) {
        blanks_skip(p);
        p->depth++;
        TRY(factor(p));
        p->depth--;
        return step_add(p, (struct filter_step){.kind = FILTER_STEP_NOT});
    }
    if (p->at < p->text.size && p->text.data[p->at] == '(') {
        p->at++;
        p->depth++;
        TRY(alternatives(p));
        p->depth--;
        if (p->at == p->text.size)
            return refuse(p, at, 1, "this parenthesis is never closed", NULL);
        p->at++; /* alternatives ends only at ) or at the end */
        return OK;
    }
    return test(p);
}

static bool at_end(const struct parser *p)
{
    return p->at == p->text.size || p->text.data[p->at] == ')';
}

static RESULT term(struct parser *p)
{
    TRY(factor(p));
    for (;;) {
        size_t before = p->at;

        blanks_skip(p);
        if (at_end(p))
            return OK;
        size_t here = p->at;
        if (word_take(p, "or")) {
            p->at = here;
            return OK;
        }
        bool said = word_take(p, "and");
        if (!said && before == here && p->text.data[here] != '(' && p->text.data[here - 1] != ')')
            return refuse(p, here, 1, "a blank is missing here", NULL);
        blanks_skip(p);
        TRY(factor(p));
        TRY(step_add(p, (struct filter_step){.kind = FILTER_STEP_AND}));
    }
}

static RESULT alternatives(struct parser *p)
{
    blanks_skip(p);
    TRY(term(p));
    while (blanks_skip(p), word_take(p, "or")) {
        blanks_skip(p);
        TRY(term(p));
        TRY(step_add(p, (struct filter_step){.kind = FILTER_STEP_OR}));
    }
    return OK;
}

RESULT filter_parse(struct bytes text, struct filter *filter_out, struct filter_error *error_out)
{
    struct parser p = {.text = text, .f = filter_out, .error = error_out};

    *error_out = (struct filter_error){0};
    filter_out->step_count = 0;
    filter_out->fields = 0;
    filter_out->text_size = 0;
    if (text.size > FILTER_SIZE_MAX)
        return refuse_full(&p, FILTER_SIZE_MAX, "the filter is longer than 8192 octets");
    TRY(alternatives(&p));
    if (p.at < text.size)
        return refuse(&p, p.at, 1, "this parenthesis was never opened", NULL);
    return OK;
}
