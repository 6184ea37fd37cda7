/* A verb's argument is read from left to right: an address where one belongs, then parameters separated by blanks. Each
 * parameter is one row of a table; a row's reader checks the value and stores it. */
#include "smtp/command.h"

#include "smtp/xtext.h"

static const struct {
    struct bytes word;
    enum smtp_verb verb;
} verbs[] = {
    {BYTES_INIT("RCPT"), SMTP_VERB_RCPT},
    {BYTES_INIT("MAIL"), SMTP_VERB_MAIL},
    {BYTES_INIT("DATA"), SMTP_VERB_DATA},
    {BYTES_INIT("BDAT"), SMTP_VERB_BDAT},
    {BYTES_INIT("EHLO"), SMTP_VERB_EHLO},
    {BYTES_INIT("HELO"), SMTP_VERB_HELO},
    {BYTES_INIT("QUIT"), SMTP_VERB_QUIT},
    {BYTES_INIT("RSET"), SMTP_VERB_RSET},
    {BYTES_INIT("NOOP"), SMTP_VERB_NOOP},
    {BYTES_INIT("VRFY"), SMTP_VERB_VRFY},
    {BYTES_INIT("EXPN"), SMTP_VERB_EXPN},
    {BYTES_INIT("HELP"), SMTP_VERB_HELP},
    {BYTES_INIT("AUTH"), SMTP_VERB_AUTH},
    {BYTES_INIT("STARTTLS"), SMTP_VERB_STARTTLS},
    {BYTES_INIT("XCLIENT"), SMTP_VERB_XCLIENT},
};

void command_parse(struct bytes line, struct command *command_out)
{
    struct command command = {.verb = SMTP_VERB_UNKNOWN, .clean = true, .text = true};

    for (size_t i = 0; i < line.size; i++) {
        uint8_t o = line.data[i];
        if (o < ' ' || o == 127)
            command.clean = command.text = false;
        else if (o > 127)
            command.clean = false;
    }
    ptrdiff_t blank = bytes_index(line, ' ');
    struct bytes word = blank == BYTES_NOT_FOUND ? line : bytes_head(line, (size_t)blank);
    for (size_t i = 0; i < COUNT_OF(verbs); i++) {
        if (bytes_equal_nocase(word, verbs[i].word)) {
            command.verb = verbs[i].verb;
            break;
        }
    }
    command.argument = bytes_trim(bytes_after(line, word.size));
    *command_out = command;
}

static bool refuse(struct reply *refusal_out, struct reply reply)
{
    *refusal_out = reply;
    return false;
}

/* The next blank-separated word of *in. */
static struct bytes word_take(struct bytes *in)
{
    *in = bytes_trim(*in);
    ptrdiff_t blank = bytes_index(*in, ' ');
    struct bytes word = blank == BYTES_NOT_FOUND ? *in : bytes_head(*in, (size_t)blank);
    *in = bytes_after(*in, word.size);
    return word;
}

/* What MAIL or RCPT has gathered; a row's reader fills its part. */
struct parameters {
    struct smtp_mail *mail;
    struct smtp_rcpt *rcpt;
    struct buf *room;
    uint32_t extensions;
    bool utf8;
};

static bool utf8_or_ascii(struct bytes text, bool utf8)
{
    return !bytes_has_8bit(text) || (utf8 && utf8_is_valid(text));
}

static bool read_size(struct parameters *p, struct bytes value)
{
    enum { SIZE_DIGITS_MAX = 20 }; /* RFC 1870 section 3 */
    struct result r = bytes_to_u64(value, UINT64_MAX, &p->mail->size);

    /* More than 64 bits hold is still a number: too large a message, and that is what the session will say of it. */
    if (r.code == CODE_FULL && value.size <= SIZE_DIGITS_MAX) {
        p->mail->size = UINT64_MAX;
        return true;
    }
    return is_ok(r) && value.size <= SIZE_DIGITS_MAX;
}

static bool read_body(struct parameters *p, struct bytes value)
{
    bool eight = bytes_equal_nocase(value, BYTES("8BITMIME"));

    p->mail->body = eight ? BODY_8BITMIME : BODY_7BIT;
    return eight || bytes_equal_nocase(value, BYTES("7BIT"));
}

static bool read_smtputf8(struct parameters *p, struct bytes value)
{
    (void)value;
    p->mail->smtputf8 = true;
    return true;
}

static bool read_ret(struct parameters *p, struct bytes value)
{
    bool full = bytes_equal_nocase(value, BYTES("FULL"));

    p->mail->ret = full ? DSN_RET_FULL : DSN_RET_HDRS;
    return full || bytes_equal_nocase(value, BYTES("HDRS"));
}

static bool read_verp(struct parameters *p, struct bytes value)
{
    return is_ok(verp_delimiters_read(value, &p->mail->verp));
}

static bool read_refused(struct parameters *p, struct bytes value)
{
    (void)value;
    p->rcpt->tell_refusal = true;
    return true;
}

/* xtext into room; bounded, and nothing in it that could not stand in a DSN field. */
static bool xtext_take(struct parameters *p, struct bytes value, size_t size_max, struct bytes *out)
{
    size_t start = p->room->size;

    if (!is_ok(xtext_decode(value, p->room)))
        return false;
    *out = (struct bytes){p->room->data + start, p->room->size - start};
    return out->size > 0 && out->size <= size_max && utf8_or_ascii(*out, p->utf8);
}

static bool read_envid(struct parameters *p, struct bytes value)
{
    return xtext_take(p, value, ENVID_SIZE_MAX, &p->mail->envid) && !bytes_has_8bit(p->mail->envid);
}

/* RFC 4954 section 5: who the submitter was. We trust nobody to say so, as the RFC allows: read as <> . */
static bool read_auth(struct parameters *p, struct bytes value)
{
    uint8_t decoded[COMMAND_SIZE_MAX];
    struct buf ignored = BUF(decoded);

    (void)p;
    return value.size > 0 && is_ok(xtext_decode(value, &ignored));
}

static bool read_notify(struct parameters *p, struct bytes value)
{
    static const struct {
        struct bytes word;
        uint8_t flag;
    } words[] = {
        {BYTES_INIT("NEVER"), DSN_NOTIFY_NEVER},
        {BYTES_INIT("SUCCESS"), DSN_NOTIFY_SUCCESS},
        {BYTES_INIT("FAILURE"), DSN_NOTIFY_FAILURE},
        {BYTES_INIT("DELAY"), DSN_NOTIFY_DELAY},
    };

    for (;;) {
        ptrdiff_t comma = bytes_index(value, ',');
        struct bytes word = comma == BYTES_NOT_FOUND ? value : bytes_head(value, (size_t)comma);
        uint8_t flag = 0;
        for (size_t i = 0; i < COUNT_OF(words); i++)
            if (bytes_equal_nocase(word, words[i].word))
                flag = words[i].flag;
        if (flag == 0 || (p->rcpt->notify & flag) != 0)
            return false;
        p->rcpt->notify |= flag;
        if (comma == BYTES_NOT_FOUND)
            return !(p->rcpt->notify & DSN_NOTIFY_NEVER) || p->rcpt->notify == DSN_NOTIFY_NEVER;
        value = bytes_after(value, (size_t)comma + 1);
    }
}

static bool read_orcpt(struct parameters *p, struct bytes value)
{
    ptrdiff_t semicolon = bytes_index(value, ';');
    size_t start = p->room->size;
    struct bytes address;

    if (semicolon == BYTES_NOT_FOUND || semicolon == 0 || (size_t)semicolon + 1 == value.size)
        return false;
    for (ptrdiff_t i = 0; i < semicolon; i++) { /* addr-type is an atom; it goes into a DSN field as it is */
        uint8_t o = octet_lower(value.data[i]);
        if (!((o >= 'a' && o <= 'z') || (o >= '0' && o <= '9') || o == '-'))
            return false;
    }
    if (!is_ok(buf_put(p->room, bytes_head(value, (size_t)semicolon + 1))) ||
        !xtext_take(p, bytes_after(value, (size_t)semicolon + 1), ORCPT_SIZE_MAX, &address))
        return false;
    p->rcpt->orcpt = (struct bytes){p->room->data + start, p->room->size - start};
    return p->rcpt->orcpt.size <= ORCPT_SIZE_MAX;
}

struct parameter {
    struct bytes name;
    uint32_t extension; /* that must be offered */
    bool has_value;
    bool (*read)(struct parameters *p, struct bytes value);
    const char *bad; /* what to say of a wrong value */
};

static const struct parameter mail_parameters[] = {
    {BYTES_INIT("SIZE"), SMTP_EXT_SIZE, true, read_size, "SIZE wants a number of octets"},
    {BYTES_INIT("BODY"), SMTP_EXT_8BITMIME, true, read_body, "BODY wants 7BIT or 8BITMIME"},
    {BYTES_INIT("SMTPUTF8"), SMTP_EXT_SMTPUTF8, false, read_smtputf8, "SMTPUTF8 takes no value"},
    {BYTES_INIT("RET"), SMTP_EXT_DSN, true, read_ret, "RET wants FULL or HDRS"},
    {BYTES_INIT("ENVID"), SMTP_EXT_DSN, true, read_envid, "ENVID wants up to 100 characters in xtext"},
    {BYTES_INIT("AUTH"), SMTP_EXT_AUTH, true, read_auth, "AUTH wants an address in xtext or <>"},
    {BYTES_INIT("XVERP"), SMTP_EXT_XVERP, true, read_verp, "XVERP wants two delimiters out of - + ="},
};

static const struct parameter rcpt_parameters[] = {
    {BYTES_INIT("NOTIFY"), SMTP_EXT_DSN, true, read_notify, "NOTIFY wants NEVER, or SUCCESS, FAILURE, DELAY"},
    {BYTES_INIT("ORCPT"), SMTP_EXT_DSN, true, read_orcpt, "ORCPT wants type;address in xtext"},
    {BYTES_INIT("XREFUSED"), SMTP_EXT_XREFUSED, false, read_refused, "XREFUSED takes no value"},
};

/* All parameters after an address. */
static bool parameters_read(struct bytes rest, const struct parameter *table, size_t table_count, struct parameters *p,
    struct reply *refusal_out)
{
    uint32_t seen = 0;

    if (rest.size > 0 && rest.data[0] != ' ')
        return refuse(refusal_out, REPLY(501, 5, 5, 4, "a space belongs between the address and its parameters"));
    for (struct bytes word = word_take(&rest); word.size > 0; word = word_take(&rest)) {
        ptrdiff_t equals = bytes_index(word, '=');
        struct bytes name = equals == BYTES_NOT_FOUND ? word : bytes_head(word, (size_t)equals);
        size_t row = 0;
        while (row < table_count && !bytes_equal_nocase(name, table[row].name))
            row++;
        /* RFC 5321 4.1.1.11: 555 for a parameter that is not known or not offered. */
        if (row == table_count || !(p->extensions & table[row].extension))
            return refuse(refusal_out, REPLY(555, 5, 5, 4, "parameter not recognised"));
        if (seen & (1u << row))
            return refuse(refusal_out, REPLY(501, 5, 5, 4, "parameter given twice"));
        seen |= 1u << row;
        if ((equals != BYTES_NOT_FOUND) != table[row].has_value ||
            !table[row].read(p, bytes_after(word, name.size + 1))) {
            struct reply bad = REPLY(501, 5, 5, 4, "");
            bad.text = bytes_of(table[row].bad);
            return refuse(refusal_out, bad);
        }
    }
    return true;
}

/* RFC 6531 3.5: whether SMTPUTF8 stands among the parameters must be known before the address is judged. */
static bool smtputf8_is_given(struct bytes argument)
{
    for (struct bytes word = word_take(&argument); word.size > 0; word = word_take(&argument))
        if (bytes_equal_nocase(word, BYTES("SMTPUTF8")))
            return true;
    return false;
}

/* "FROM:" or "TO:", then the path. RFC 5321 has no blank between them; old clients put one there and mean no harm. */
static bool path_take(struct bytes *argument, struct bytes keyword, unsigned allow, uint16_t subject_detail,
    struct buf *room, struct address *address_out, struct reply *refusal_out)
{
    if (!bytes_starts_nocase(*argument, keyword)) {
        bool mail = keyword.size > 3;
        return refuse(refusal_out, mail ? REPLY(501, 5, 5, 4, "syntax: MAIL FROM:<address>")
                                        : REPLY(501, 5, 5, 4, "syntax: RCPT TO:<address>"));
    }
    *argument = bytes_trim(bytes_after(*argument, keyword.size));
    struct result r = address_take_path(argument, allow, room, address_out);
    if (is_ok(r) && argument->size > 0 && argument->data[0] == '>')
        r = FAIL(CODE_SYNTAX, "text after the closing angle bracket");
    if (is_ok(r))
        return true;
    struct reply bad = {.code = 501, .status = {5, 1, subject_detail}, .text = bytes_of(r.why)};
    if (r.code == CODE_REFUSED) { /* RFC 6531 3.5: 553 with 5.6.7 */
        bad.code = 553;
        bad.status = (struct enhanced_status){5, 6, 7};
    }
    return refuse(refusal_out, bad);
}

bool command_parse_mail(
    struct bytes argument, uint32_t extensions, struct buf *room, struct smtp_mail *mail_out, struct reply *refusal_out)
{
    enum { BAD_SENDER_MAILBOX_SYNTAX = 7 }; /* RFC 3463 X.1.7 */
    bool utf8 = (extensions & SMTP_EXT_SMTPUTF8) != 0 && smtputf8_is_given(argument);
    struct parameters p = {.mail = mail_out, .room = room, .extensions = extensions, .utf8 = utf8};

    *mail_out = (struct smtp_mail){.body = BODY_7BIT};
    return path_take(&argument, BYTES("FROM:"), ADDRESS_NULL | (utf8 ? ADDRESS_UTF8 : 0u), BAD_SENDER_MAILBOX_SYNTAX,
               room, &mail_out->reverse_path, refusal_out) &&
           parameters_read(argument, mail_parameters, COUNT_OF(mail_parameters), &p, refusal_out);
}

bool command_parse_rcpt(struct bytes argument, uint32_t extensions, bool utf8, struct buf *room,
    struct smtp_rcpt *rcpt_out, struct reply *refusal_out)
{
    enum { BAD_DESTINATION_MAILBOX_SYNTAX = 3 }; /* RFC 3463 X.1.3 */
    struct parameters p = {.rcpt = rcpt_out, .room = room, .extensions = extensions, .utf8 = utf8};

    *rcpt_out = (struct smtp_rcpt){.notify = 0};
    return path_take(&argument, BYTES("TO:"), ADDRESS_POSTMASTER | (utf8 ? ADDRESS_UTF8 : 0u),
               BAD_DESTINATION_MAILBOX_SYNTAX, room, &rcpt_out->forward_path, refusal_out) &&
           parameters_read(argument, rcpt_parameters, COUNT_OF(rcpt_parameters), &p, refusal_out);
}

bool command_parse_bdat(struct bytes argument, struct command_bdat *bdat_out, struct reply *refusal_out)
{
    struct bytes size = word_take(&argument);
    struct bytes last = word_take(&argument);

    *bdat_out = (struct command_bdat){.last = last.size > 0};
    if (!is_ok(bytes_to_u64(size, UINT64_MAX / 2, &bdat_out->size)))
        return refuse(refusal_out, REPLY(501, 5, 5, 4, "BDAT wants a number of octets"));
    if ((last.size > 0 && !bytes_equal_nocase(last, BYTES("LAST"))) || bytes_trim(argument).size > 0)
        return refuse(refusal_out, REPLY(501, 5, 5, 4, "syntax: BDAT size [LAST]"));
    return true;
}

static const struct {
    struct bytes name;
    enum command_xclient_attribute attribute;
} xclient_names[] = {
    {BYTES_INIT("NAME"), XCLIENT_NAME},
    {BYTES_INIT("ADDR"), XCLIENT_ADDR},
    {BYTES_INIT("PORT"), XCLIENT_PORT},
    {BYTES_INIT("PROTO"), XCLIENT_PROTO},
    {BYTES_INIT("HELO"), XCLIENT_HELO},
    {BYTES_INIT("LOGIN"), XCLIENT_LOGIN},
    {BYTES_INIT("DESTADDR"), XCLIENT_DESTADDR},
    {BYTES_INIT("DESTPORT"), XCLIENT_DESTPORT},
};

static bool port_is_valid(struct bytes value, uint16_t *port_out)
{
    uint64_t port = 0;
    bool valid = value.size == 0 || is_ok(bytes_to_u64(value, 65535, &port));
    *port_out = (uint16_t)port;
    return valid;
}

/* "192.0.2.1", "IPV6:2001:db8::1"; without the tag an IPv6 address is understood too. */
static bool xclient_address_is_valid(struct bytes *value)
{
    if (bytes_starts_nocase(*value, BYTES("IPV6:")))
        *value = bytes_after(*value, 5);
    return value->size == 0 || ipv4_is_valid(*value) || ipv6_is_valid(*value);
}

static bool xclient_attribute_read(
    struct command_xclient *x, enum command_xclient_attribute attribute, struct bytes value)
{
    struct bytes address = value;
    uint16_t port;

    x->given |= attribute;
    switch (attribute) {
    case XCLIENT_NAME:
        x->name = value;
        return value.size == 0 || domain_is_valid(value, false) || helo_is_valid(value);
    case XCLIENT_ADDR:
        if (!xclient_address_is_valid(&address))
            return false;
        x->address = address;
        return true;
    case XCLIENT_PORT:
        return port_is_valid(value, &x->port);
    case XCLIENT_PROTO:
        x->esmtp = bytes_equal_nocase(value, BYTES("ESMTP"));
        return x->esmtp || bytes_equal_nocase(value, BYTES("SMTP"));
    case XCLIENT_HELO:
        x->helo = value;
        return value.size == 0 || helo_is_valid(value);
    case XCLIENT_LOGIN:
        x->login = value;
        return value.size <= LOCAL_PART_SIZE_MAX;
    case XCLIENT_DESTADDR:
        return xclient_address_is_valid(&address);
    case XCLIENT_DESTPORT:
        return port_is_valid(value, &port);
    }
    return false;
}

bool command_parse_xclient(
    struct bytes argument, struct buf *room, struct command_xclient *xclient_out, struct reply *refusal_out)
{
    *xclient_out = (struct command_xclient){.given = 0};
    for (struct bytes word = word_take(&argument); word.size > 0; word = word_take(&argument)) {
        ptrdiff_t equals = bytes_index(word, '=');
        struct bytes name = equals == BYTES_NOT_FOUND ? word : bytes_head(word, (size_t)equals);
        struct bytes raw = bytes_after(word, name.size + 1);
        size_t row = 0, start = room->size;
        while (row < COUNT_OF(xclient_names) && !bytes_equal_nocase(name, xclient_names[row].name))
            row++;
        if (row == COUNT_OF(xclient_names) || (xclient_out->given & xclient_names[row].attribute) != 0)
            return refuse(refusal_out, REPLY(501, 5, 5, 4, "XCLIENT attribute not recognised or given twice"));
        bool absent =
            bytes_equal_nocase(raw, BYTES("[UNAVAILABLE]")) || bytes_equal_nocase(raw, BYTES("[TEMPUNAVAIL]"));
        if (!absent && !is_ok(xtext_decode(raw, room)))
            return refuse(refusal_out, REPLY(501, 5, 5, 4, "XCLIENT wants values in xtext"));
        if (!xclient_attribute_read(
                xclient_out, xclient_names[row].attribute, (struct bytes){room->data + start, room->size - start}))
            return refuse(refusal_out, REPLY(501, 5, 5, 4, "XCLIENT attribute with a wrong value"));
    }
    if (xclient_out->given == 0)
        return refuse(refusal_out, REPLY(501, 5, 5, 4, "syntax: XCLIENT attribute=value ..."));
    return true;
}
