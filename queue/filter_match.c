/* Running a filter. Three verdicts instead of two, so that a head alone can already say no for all its recipients. */
#include "queue/filter.h"

bool filter_glob(struct bytes pattern, struct bytes text)
{
    size_t p = 0, t = 0, star = SIZE_MAX, resume = 0;

    while (t < text.size) {
        if (p < pattern.size && pattern.data[p] == '*') {
            star = p++;
            resume = t;
        } else if (p < pattern.size &&
                   (pattern.data[p] == '?' || octet_lower(pattern.data[p]) == octet_lower(text.data[t]))) {
            p++;
            t++;
        } else if (star != SIZE_MAX) { /* the last star takes one octet more; earlier ones need not be tried again */
            p = star + 1;
            t = ++resume;
        } else {
            return false;
        }
    }
    while (p < pattern.size && pattern.data[p] == '*')
        p++;
    return p == pattern.size;
}

/* Whether the pattern covers some part of the text: a glob that may begin and end anywhere. */
static bool found_within(struct bytes pattern, struct bytes text)
{
    for (size_t from = 0; from <= text.size; from++) {
        size_t p = 0, t = from;

        while (p < pattern.size && t < text.size && pattern.data[p] != '*' &&
               (pattern.data[p] == '?' || octet_lower(pattern.data[p]) == octet_lower(text.data[t]))) {
            p++;
            t++;
        }
        if (p == pattern.size)
            return true;
        if (pattern.data[p] == '*') /* what stands behind a star must come later, wherever */
            return found_within(bytes_after(pattern, p + 1), bytes_after(text, t));
    }
    return false;
}

/* --- one test --- */

static enum filter_verdict said(bool yes)
{
    return yes ? FILTER_YES : FILTER_NO;
}

static enum filter_verdict text_test(const struct filter_step *step, struct bytes value, struct bytes text)
{
    switch (step->op) {
    case FILTER_EQ:
        return said(filter_glob(value, text));
    case FILTER_NE:
        return said(!filter_glob(value, text));
    case FILTER_LIKE:
        return said(found_within(value, text));
    default:
        return said(!found_within(value, text));
    }
}

static enum filter_verdict number_test(const struct filter_step *step, int64_t number)
{
    switch (step->op) {
    case FILTER_EQ:
        return said(number == step->number);
    case FILTER_NE:
        return said(number != step->number);
    case FILTER_LT:
        return said(number < step->number);
    case FILTER_GT:
        return said(number > step->number);
    case FILTER_LE:
        return said(number <= step->number);
    default:
        return said(number >= step->number);
    }
}

static struct bytes domain_of(struct bytes path)
{
    ptrdiff_t at = bytes_rindex(path, '@');

    return at < 0 ? BYTES_NONE : bytes_after(path, (size_t)at + 1);
}

/* Of the reply or reason both the status in front and the words are looked at. */
static enum filter_verdict reason_test(const struct filter_step *step, struct bytes value, const struct recipient *rcpt)
{
    bool negative = step->op == FILTER_NE || step->op == FILTER_UNLIKE;
    struct filter_step positive = *step;

    positive.op = step->op == FILTER_NE ? FILTER_EQ : step->op == FILTER_UNLIKE ? FILTER_LIKE : step->op;
    bool found = text_test(&positive, value, rcpt->last_reply) == FILTER_YES ||
                 text_test(&positive, value, rcpt->last_status) == FILTER_YES;
    return said(found != negative);
}

static enum filter_verdict rcpt_test(const struct filter_step *step, struct bytes value, const struct filter_subject *s)
{
    const struct recipient *rcpt = s->rcpt;

    if (rcpt == NULL)
        return FILTER_UNKNOWN;
    switch (step->field) {
    case FILTER_FIELD_TO:
        return text_test(step, value, rcpt->forward_path);
    case FILTER_FIELD_DOMAIN:
        return text_test(step, value, domain_of(rcpt->forward_path));
    case FILTER_FIELD_LANE:
        return text_test(step, value, rcpt->lane);
    case FILTER_FIELD_HOST:
        return text_test(step, value, rcpt->last_host);
    case FILTER_FIELD_REASON:
        return reason_test(step, value, rcpt);
    case FILTER_FIELD_ATTEMPTS:
        return number_test(step, rcpt->attempts);
    case FILTER_FIELD_NEXT:
        return s->state == NULL ? FILTER_UNKNOWN
                                : number_test(step, s->next.ms > s->now.ms ? s->next.ms - s->now.ms : 0);
    default:
        return s->state == NULL ? FILTER_UNKNOWN
                                : said(bytes_equal_nocase(value, bytes_of(s->state)) == (step->op == FILTER_EQ));
    }
}

static enum filter_verdict head_test(const struct filter_step *step, struct bytes value, const struct filter_subject *s)
{
    static const char *const origins[ORIGIN_KIND_COUNT] = {"smtp", "submission", "local", "dsn", "resend"};
    const struct envelope_head *head = s->head;

    if (head == NULL)
        return FILTER_UNKNOWN;
    switch (step->field) {
    case FILTER_FIELD_ID:
        return said(((int64_t)head->id.value == step->number) == (step->op == FILTER_EQ));
    case FILTER_FIELD_FROM:
        return text_test(step, value, head->reverse_path);
    case FILTER_FIELD_AGE:
        return number_test(step, s->now.ms - head->arrival.ms);
    case FILTER_FIELD_SIZE:
        return number_test(step, head->body_size > INT64_MAX ? INT64_MAX : (int64_t)head->body_size);
    case FILTER_FIELD_SUBJECT:
    case FILTER_FIELD_HEADER_SUBJECT:
        return text_test(step, value, head->subject);
    case FILTER_FIELD_MESSAGE_ID:
    case FILTER_FIELD_HEADER_MESSAGE_ID:
        return text_test(step, value, head->message_id);
    case FILTER_FIELD_LOGIN:
        return text_test(step, value, head->login);
    case FILTER_FIELD_CLIENT:
        return text_test(step, value, head->client);
    default:
        return said(bytes_equal_nocase(value, bytes_of(origins[head->origin])) == (step->op == FILTER_EQ));
    }
}

/* --- all of them --- */

static const bool of_rcpt[FILTER_FIELD_COUNT] = {
#define FIELD(id, name, kind, rcpt) rcpt,
    FILTER_FIELDS(FIELD)
#undef FIELD
};

static enum filter_verdict both(enum filter_verdict a, enum filter_verdict b)
{
    return a == FILTER_NO || b == FILTER_NO ? FILTER_NO : a == FILTER_YES ? b : a;
}

static enum filter_verdict either(enum filter_verdict a, enum filter_verdict b)
{
    return a == FILTER_YES || b == FILTER_YES ? FILTER_YES : a == FILTER_NO ? b : a;
}

enum filter_verdict filter_match(const struct filter *f, const struct filter_subject *subject)
{
    enum filter_verdict stack[FILTER_STEPS_MAX];
    size_t depth = 0;

    for (size_t i = 0; i < f->step_count; i++) {
        const struct filter_step *step = &f->steps[i];
        struct bytes value = {f->text + step->at, step->size};

        switch (step->kind) {
        case FILTER_STEP_TEST:
            stack[depth++] = of_rcpt[step->field] ? rcpt_test(step, value, subject) : head_test(step, value, subject);
            break;
        case FILTER_STEP_ALL:
            stack[depth++] = FILTER_YES;
            break;
        case FILTER_STEP_NOT:
            ASSERT(depth >= 1);
            if (stack[depth - 1] != FILTER_UNKNOWN)
                stack[depth - 1] = said(stack[depth - 1] == FILTER_NO);
            break;
        case FILTER_STEP_AND:
        case FILTER_STEP_OR:
            ASSERT(depth >= 2);
            depth--;
            stack[depth - 1] = step->kind == FILTER_STEP_AND ? both(stack[depth - 1], stack[depth])
                                                             : either(stack[depth - 1], stack[depth]);
            break;
        }
    }
    ASSERT(depth == 1);
    return stack[0];
}

bool filter_needs_head(const struct filter *f)
{
    for (unsigned i = 0; i < FILTER_FIELD_COUNT; i++)
        if ((f->fields & 1u << i) != 0 && !of_rcpt[i])
            return true;
    return false;
}

bool filter_needs_state(const struct filter *f)
{
    return (f->fields & (1u << FILTER_FIELD_STATE | 1u << FILTER_FIELD_NEXT)) != 0;
}

struct range {
    uint64_t first, last;
};

void filter_id_range(const struct filter *f, struct message_id *first_out, struct message_id *last_out)
{
    static const struct range every = {0, UINT64_MAX};
    struct range stack[FILTER_STEPS_MAX];
    size_t depth = 0;

    for (size_t i = 0; i < f->step_count; i++) {
        const struct filter_step *step = &f->steps[i];

        switch (step->kind) {
        case FILTER_STEP_TEST:
            stack[depth++] = step->field == FILTER_FIELD_ID && step->op == FILTER_EQ
                                 ? (struct range){(uint64_t)step->number, (uint64_t)step->number}
                                 : every;
            break;
        case FILTER_STEP_ALL:
            stack[depth++] = every;
            break;
        case FILTER_STEP_NOT:
            stack[depth - 1] = every; /* of what a range says nothing can be turned around */
            break;
        case FILTER_STEP_AND:
        case FILTER_STEP_OR: {
            struct range b = stack[--depth], *a = &stack[depth - 1];
            bool and = step->kind == FILTER_STEP_AND;

            a->first = (a->first > b.first) == and? a->first : b.first;
            a->last = (a->last < b.last) == and? a->last : b.last;
            break;
        }
        }
    }
    *first_out = (struct message_id){stack[0].first};
    *last_out = (struct message_id){stack[0].last};
}

static bool has_glob(struct bytes text)
{
    return bytes_index(text, '*') >= 0 || bytes_index(text, '?') >= 0;
}

/* Of one test; empty: it allows several. */
static struct bytes domain_asked(const struct filter *f, const struct filter_step *step)
{
    struct bytes value = {f->text + step->at, step->size};

    if (step->kind != FILTER_STEP_TEST || step->op != FILTER_EQ)
        return BYTES_NONE;
    if (step->field == FILTER_FIELD_TO)
        value = domain_of(value);
    else if (step->field != FILTER_FIELD_DOMAIN)
        return BYTES_NONE;
    return has_glob(value) ? BYTES_NONE : value;
}

bool filter_domain(const struct filter *f, struct bytes *domain_out)
{
    struct bytes stack[FILTER_STEPS_MAX];
    size_t depth = 0;

    for (size_t i = 0; i < f->step_count; i++) {
        const struct filter_step *step = &f->steps[i];

        if (step->kind == FILTER_STEP_TEST || step->kind == FILTER_STEP_ALL) {
            stack[depth++] = domain_asked(f, step);
        } else if (step->kind == FILTER_STEP_NOT) {
            stack[depth - 1] = BYTES_NONE;
        } else {
            struct bytes b = stack[--depth], *a = &stack[depth - 1];

            if (step->kind == FILTER_STEP_AND)
                *a = a->size > 0 ? *a : b;
            else if (!bytes_equal_nocase(*a, b))
                *a = BYTES_NONE;
        }
    }
    *domain_out = stack[0];
    return stack[0].size > 0;
}

bool filter_is_domain(const struct filter *f)
{
    return f->step_count == 1 && f->steps[0].field == FILTER_FIELD_DOMAIN && domain_asked(f, &f->steps[0]).size > 0;
}
