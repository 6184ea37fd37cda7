/* Design. One state machine, one octet at a time. What stands before '<' may be nearly anything, so while an element may
 * still turn out to be such a name, what is wrong with it as an address is only noted (the "doubt"), and counts when the
 * element ends without '<'. Inside <> and between elements an error is an error at once.
 * The local part is collected without quotes and escapes and is quoted again only where it must be. */
#include "smtp/address_list.h"

enum address_list_place {
    PLACE_WORDS,  /* a name, a group's name, or a local part */
    PLACE_DOMAIN, /* behind an '@' outside of <> */
    PLACE_ANGLE,  /* behind '<' */
    PLACE_ROUTE,  /* "<@a,@b:" */
    PLACE_ANGLE_LOCAL,
    PLACE_ANGLE_DOMAIN,
    PLACE_BEHIND, /* '>': only the end of the element may follow */
};
enum address_list_inside { INSIDE_NOTHING, INSIDE_COMMENT, INSIDE_QUOTES, INSIDE_LITERAL };
enum address_list_token { TOKEN_NONE, TOKEN_WORD, TOKEN_DOT, TOKEN_QUOTED, TOKEN_LITERAL };

static const char why_blank[] = "a blank where a dot, an @ or a comma is due";

static void element_reset(struct address_list *l)
{
    l->place = PLACE_WORDS;
    l->last = TOKEN_NONE;
    l->gap = l->begun = false;
    l->doubt = NULL;
    buf_reset(&l->local);
    buf_reset(&l->domain);
}

void address_list_init(struct address_list *l, struct bytes origin)
{
    l->origin = origin;
    l->offset = l->error_offset = l->opened = l->begin = l->word_end = l->doubt_offset = 0;
    l->inside = INSIDE_NOTHING;
    l->escaped = l->in_group = false;
    l->depth = 0;
    buf_init(&l->local, l->local_room, sizeof l->local_room);
    buf_init(&l->domain, l->domain_room, sizeof l->domain_room);
    element_reset(l);
}

uint64_t address_list_error_offset(const struct address_list *l)
{
    return l->error_offset;
}

static RESULT lost_at(struct address_list *l, uint64_t offset, const char *why)
{
    l->error_offset = offset;
    return FAIL(CODE_SYNTAX, why);
}

/* `why` counts at once inside <>, and outside when no '<' comes. */
static RESULT doubt(struct address_list *l, const char *why)
{
    if (l->place != PLACE_WORDS && l->place != PLACE_DOMAIN)
        return lost_at(l, l->offset, why);
    if (l->doubt == NULL) {
        l->doubt = why;
        l->doubt_offset = l->offset;
    }
    return OK;
}

static bool octet_is_special(uint8_t o)
{
    return strchr("()<>@,;:\\\".[]", o) != NULL; /* the NUL too */
}

static struct buf *target(struct address_list *l)
{
    return l->place == PLACE_DOMAIN || l->place == PLACE_ANGLE_DOMAIN ? &l->domain : &l->local;
}

/* A token of what may be an addr-spec stands here. */
static void begin_note(struct address_list *l)
{
    if (!l->begun)
        l->begin = l->offset;
    l->begun = true;
}

static RESULT collect(struct address_list *l, uint8_t octet)
{
    l->word_end = l->offset + 1;
    if (l->place == PLACE_ROUTE)
        return OK; /* RFC 5321 4.1.1.3: the route is dropped */
    if (!is_ok(buf_put_octet(target(l), octet)))
        return doubt(l, "an address longer than any can be");
    return OK;
}

/* A piece of a word that stands outside of quotes. */
static RESULT word_octet(struct address_list *l, uint8_t octet)
{
    if (l->place == PLACE_BEHIND)
        return lost_at(l, l->offset, "text behind >, where a comma is due");
    if (l->place == PLACE_ANGLE)
        l->place = PLACE_ANGLE_LOCAL;
    if ((l->last == TOKEN_WORD && l->gap) || l->last == TOKEN_QUOTED || l->last == TOKEN_LITERAL)
        TRY(doubt(l, why_blank));
    if (octet < 0x20 || octet == 0x7f)
        TRY(doubt(l, "a control character"));
    begin_note(l);
    l->last = TOKEN_WORD;
    l->gap = false;
    return collect(l, octet);
}

static RESULT dot(struct address_list *l)
{
    if (l->place == PLACE_BEHIND)
        return lost_at(l, l->offset, "text behind >, where a comma is due");
    if (l->place == PLACE_ANGLE)
        l->place = PLACE_ANGLE_LOCAL;
    if (l->last == TOKEN_LITERAL)
        TRY(doubt(l, "text behind an address literal"));
    begin_note(l);
    l->last = TOKEN_DOT;
    l->gap = false;
    return collect(l, '.');
}

static RESULT quote_open(struct address_list *l)
{
    if (l->place == PLACE_BEHIND)
        return lost_at(l, l->offset, "text behind >, where a comma is due");
    if (l->place == PLACE_ROUTE)
        return lost_at(l, l->offset, "a quote in a route");
    if (l->place == PLACE_ANGLE)
        l->place = PLACE_ANGLE_LOCAL;
    if (l->last == TOKEN_WORD || l->last == TOKEN_QUOTED)
        TRY(doubt(l, why_blank));
    if (l->place == PLACE_DOMAIN || l->place == PLACE_ANGLE_DOMAIN)
        TRY(doubt(l, "a quote in a domain"));
    begin_note(l);
    l->inside = INSIDE_QUOTES;
    l->opened = l->offset;
    l->gap = false;
    return OK;
}

static RESULT literal_open(struct address_list *l)
{
    bool in_domain = l->place == PLACE_DOMAIN || l->place == PLACE_ANGLE_DOMAIN || l->place == PLACE_ROUTE;

    if (!in_domain || l->last != TOKEN_NONE) {
        if (l->place == PLACE_BEHIND)
            return lost_at(l, l->offset, "text behind >, where a comma is due");
        if (l->place == PLACE_ANGLE)
            l->place = PLACE_ANGLE_LOCAL;
        /* "[SPAM] Jim <j@x>": brackets in a name are common */
        TRY(doubt(l, "a bracket outside of a domain"));
        l->last = TOKEN_WORD;
        l->gap = false;
        return OK;
    }
    l->inside = INSIDE_LITERAL;
    l->opened = l->offset;
    return collect(l, '[');
}

static RESULT at_sign(struct address_list *l)
{
    switch (l->place) {
    case PLACE_WORDS:
    case PLACE_ANGLE_LOCAL:
        if (l->last == TOKEN_NONE)
            TRY(doubt(l, "nothing before the @"));
        l->place = l->place == PLACE_WORDS ? PLACE_DOMAIN : PLACE_ANGLE_DOMAIN;
        break;
    case PLACE_ANGLE:
        begin_note(l);
        l->place = PLACE_ROUTE;
        break;
    case PLACE_ROUTE:
        break;
    case PLACE_BEHIND:
        return lost_at(l, l->offset, "text behind >, where a comma is due");
    default:
        TRY(doubt(l, "a second @"));
        break;
    }
    l->last = TOKEN_NONE;
    l->gap = false;
    return OK;
}

static RESULT angle_open(struct address_list *l)
{
    if (l->place == PLACE_BEHIND)
        return lost_at(l, l->offset, "text behind >, where a comma is due");
    if (l->place != PLACE_WORDS && l->place != PLACE_DOMAIN)
        return lost_at(l, l->offset, "a second <");
    element_reset(l);
    l->place = PLACE_ANGLE;
    l->opened = l->offset;
    return OK;
}

static RESULT angle_close(struct address_list *l)
{
    switch (l->place) {
    case PLACE_ANGLE_DOMAIN:
        if (l->domain.size == 0)
            return lost_at(l, l->offset, "no domain behind the @");
        l->place = PLACE_BEHIND;
        return OK;
    case PLACE_ANGLE_LOCAL:
        if (l->last == TOKEN_NONE)
            return lost_at(l, l->offset, "no address between < and >");
        l->place = PLACE_BEHIND;
        return OK;
    case PLACE_ANGLE:
    case PLACE_ROUTE:
        return lost_at(l, l->offset, "no address between < and >");
    default:
        return lost_at(l, l->offset, "> without <");
    }
}

static RESULT colon(struct address_list *l)
{
    if (l->place == PLACE_ROUTE) {
        l->place = PLACE_ANGLE_LOCAL;
        l->last = TOKEN_NONE;
        l->gap = false;
        return OK;
    }
    if (l->place != PLACE_WORDS || l->in_group || l->last == TOKEN_NONE)
        return lost_at(l, l->offset, "a colon that begins no group");
    element_reset(l);
    l->in_group = true;
    return OK;
}

/* The local part as RFC 5321 wants it: a Dot-string as it is, anything else in quotes. */
static RESULT local_put(struct buf *out, struct bytes local)
{
    bool plain = local.size > 0 && local.data[0] != '.' && local.data[local.size - 1] != '.' &&
                 bytes_find(local, BYTES("..")) == BYTES_NOT_FOUND;

    for (size_t i = 0; i < local.size; i++)
        if (local.data[i] != '.' && (local.data[i] <= 0x20 || octet_is_special(local.data[i])))
            plain = false;
    if (plain)
        return buf_put(out, local);
    TRY(buf_put_octet(out, '"'));
    for (size_t i = 0; i < local.size; i++) {
        if (local.data[i] == '"' || local.data[i] == '\\')
            TRY(buf_put_octet(out, '\\'));
        TRY(buf_put_octet(out, local.data[i]));
    }
    return buf_put_octet(out, '"');
}

static RESULT mailbox_put(struct buf *text, const struct address_list *l, bool bare)
{
    TRY(local_put(text, buf_bytes(&l->local)));
    TRY(buf_put_octet(text, '@'));
    return buf_put(text, bare ? l->origin : buf_bytes(&l->domain));
}

/* An element is over; CODE_GONE when it was empty. */
static RESULT element_end(struct address_list *l, struct address_mailbox *mailbox_out)
{
    struct buf text = BUF(l->text_room), canonical = BUF(l->canonical_room);
    bool bare = l->place == PLACE_WORDS || (l->place == PLACE_BEHIND && l->domain.size == 0);
    struct result r;

    if (l->place != PLACE_WORDS && l->place != PLACE_DOMAIN && l->place != PLACE_BEHIND)
        return lost_at(l, l->opened, "< without >");
    if (l->place == PLACE_WORDS && l->last == TOKEN_NONE)
        return FAIL(CODE_GONE, "an empty element");
    if (l->doubt != NULL)
        return lost_at(l, l->doubt_offset, l->doubt);
    if (!bare && l->domain.size == 0)
        return lost_at(l, l->offset, "no domain behind the @");
    /* "=?utf-8?Q?Doe, Jim?= <jim@x>": a badly encoded name, cut in two by its comma, must not become a local user. */
    if (bare && bytes_starts(buf_bytes(&l->local), BYTES("=?")))
        return lost_at(l, l->offset, "an encoded word where an address is due");
    if (bare && l->local.size == 0)
        return lost_at(l, l->word_end, "an empty name");
    if (bare && l->origin.size == 0)
        return lost_at(l, l->word_end, "an address without a domain");
    r = mailbox_put(&text, l, bare);
    if (is_ok(r))
        r = address_parse_mailbox(buf_bytes(&text), ADDRESS_UTF8, &canonical, &mailbox_out->address);
    if (!is_ok(r))
        return lost_at(l, l->word_end, r.why);
    mailbox_out->bare = bare;
    mailbox_out->bare_end = l->word_end;
    mailbox_out->spec_begin = l->begin;
    mailbox_out->spec_end = l->word_end;
    mailbox_out->in_group = l->in_group;
    element_reset(l);
    return OK;
}

/* --- inside comments, quotes and literals --- */

static RESULT comment_octet(struct address_list *l, uint8_t octet)
{
    if (l->escaped) {
        l->escaped = false;
    } else if (octet == '\\') {
        l->escaped = true;
    } else if (octet == '(') {
        if (++l->depth > ADDRESS_LIST_COMMENT_DEPTH_MAX)
            return lost_at(l, l->offset, "comments nested too deeply");
    } else if (octet == ')' && --l->depth == 0) {
        l->inside = INSIDE_NOTHING;
    }
    return OK;
}

static RESULT quoted_octet(struct address_list *l, uint8_t octet)
{
    if (!l->escaped && octet == '"') {
        l->inside = INSIDE_NOTHING;
        l->last = TOKEN_QUOTED;
        l->word_end = l->offset + 1;
        return OK;
    }
    if (!l->escaped && octet == '\\') {
        l->escaped = true;
        return OK;
    }
    l->escaped = false;
    if (octet == '\r' || octet == '\n')
        return OK; /* a fold: its blank counts, its line end does not (RFC 5322 2.2.3) */
    if (octet == 0)
        return lost_at(l, l->offset, "a NUL");
    return collect(l, octet);
}

static RESULT literal_octet(struct address_list *l, uint8_t octet)
{
    if (octet == ']') {
        l->inside = INSIDE_NOTHING;
        l->last = TOKEN_LITERAL;
        return collect(l, ']');
    }
    if (octet == ' ' || octet == '\t' || octet == '\r' || octet == '\n')
        return OK;
    return collect(l, octet);
}

static RESULT plain_octet(struct address_list *l, uint8_t octet)
{
    switch (octet) {
    case ' ':
    case '\t':
    case '\r':
    case '\n':
        l->gap = true;
        return OK;
    case '(':
        l->inside = INSIDE_COMMENT;
        l->depth = 1;
        l->opened = l->offset;
        l->gap = true;
        return OK;
    case ')':
        return lost_at(l, l->offset, ") without (");
    case '"':
        return quote_open(l);
    case '[':
        return literal_open(l);
    case ']':
        TRY(doubt(l, "] without ["));
        return OK;
    case '.':
        return dot(l);
    case '@':
        return at_sign(l);
    case '<':
        return angle_open(l);
    case '>':
        return angle_close(l);
    case ':':
        return colon(l);
    case ',': /* within a route */
        l->last = TOKEN_NONE;
        l->gap = false;
        return OK;
    case '\\':
        TRY(word_octet(l, octet));
        return doubt(l, "a backslash outside of quotes");
    case 0:
        return lost_at(l, l->offset, "a NUL");
    default:
        return word_octet(l, octet);
    }
}

RESULT address_list_feed(struct address_list *l, struct bytes *in, struct address_mailbox *mailbox_out)
{
    while (in->size > 0) {
        uint8_t octet = in->data[0];
        struct result r;

        switch ((enum address_list_inside)l->inside) {
        case INSIDE_COMMENT:
            r = comment_octet(l, octet);
            break;
        case INSIDE_QUOTES:
            r = quoted_octet(l, octet);
            break;
        case INSIDE_LITERAL:
            r = literal_octet(l, octet);
            break;
        default:
            if ((octet != ',' && octet != ';') || (octet == ',' && l->place == PLACE_ROUTE)) {
                r = plain_octet(l, octet);
                break;
            }
            r = element_end(l, mailbox_out);
            if (r.code == CODE_GONE) {
                element_reset(l);
                r = OK;
            } else if (is_ok(r)) {
                r = FAIL(CODE_MORE, "a mailbox");
            }
            if (octet == ';')
                l->in_group = false;
            break;
        }
        if (!is_ok(r) && r.code != CODE_MORE)
            return r;
        l->offset++;
        *in = bytes_after(*in, 1);
        if (r.code == CODE_MORE)
            return OK;
    }
    return FAIL(CODE_MORE, "the list goes on");
}

RESULT address_list_end(struct address_list *l, struct address_mailbox *mailbox_out)
{
    switch ((enum address_list_inside)l->inside) {
    case INSIDE_COMMENT:
        return lost_at(l, l->opened, "( without )");
    case INSIDE_QUOTES:
        return lost_at(l, l->opened, "a quote that is not closed");
    case INSIDE_LITERAL:
        return lost_at(l, l->opened, "[ without ]");
    default:
        return element_end(l, mailbox_out);
    }
}
