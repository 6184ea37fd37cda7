/* Who gets the message: the addresses on the command line, and with -t those in the header (docs/envelope-and-headers.md). */
#include <stdio.h>

#include "smtp/address_list.h"
#include "smtp/header.h"
#include "tools/sendmail.h"

enum { INDEX_ROOM_FIRST = 256 };

static bool index_grow(struct sendmail_envelope *e)
{
    size_t room = e->index_room == 0 ? INDEX_ROOM_FIRST : e->index_room * 2;
    uint32_t *index = mem_take_zero(room * sizeof *index);

    if (index == NULL)
        return false;
    for (size_t i = 0; i < e->recipient_count; i++) {
        size_t at = bytes_hash(e->recipients[i].forward_path, 0) & (room - 1);

        while (index[at] != 0)
            at = (at + 1) & (room - 1);
        index[at] = (uint32_t)i + 1;
    }
    mem_free(e->index);
    e->index = index;
    e->index_room = room;
    return true;
}

RESULT sendmail_recipient_add(struct sendmail *s, struct bytes forward_path)
{
    struct sendmail_envelope *e = &s->envelope;
    size_t at;

    if (e->recipient_count * 2 >= e->index_room && !index_grow(e))
        return FAIL(CODE_FULL, "out of memory");
    at = bytes_hash(forward_path, 0) & (e->index_room - 1);
    for (; e->index[at] != 0; at = (at + 1) & (e->index_room - 1))
        if (bytes_equal(e->recipients[e->index[at] - 1].forward_path, forward_path))
            return OK;
    if (e->recipient_count == e->recipient_room) {
        size_t room = e->recipient_room == 0 ? 16 : e->recipient_room * 2;
        struct sendmail_recipient *more = mem_resize(e->recipients, room * sizeof *more);

        if (more == NULL)
            return FAIL(CODE_FULL, "out of memory");
        e->recipients = more;
        e->recipient_room = room;
    }
    e->recipients[e->recipient_count] = (struct sendmail_recipient){.state = SENDMAIL_RCPT_OPEN};
    TRY(arena_copy(&s->arena, forward_path, &e->recipients[e->recipient_count].forward_path));
    e->index[at] = (uint32_t)++e->recipient_count;
    return OK;
}

int sendmail_envelope_add(struct sendmail *s, const char *where, size_t where_size, struct bytes list)
{
    struct address_list parser;
    struct address_mailbox mailbox;
    struct result r;
    bool ended = false;

    address_list_init(&parser, s->cfg->origin);
    for (;;) {
        r = ended ? address_list_end(&parser, &mailbox) : address_list_feed(&parser, &list, &mailbox);
        if (r.code == CODE_GONE)
            return EX_OK;
        if (r.code == CODE_MORE) {
            ended = true;
            continue;
        }
        if (!is_ok(r)) {
            sendmail_say("%s: column %" PRIu64 ": %s; nothing was sent", where,
                (uint64_t)where_size + address_list_error_offset(&parser) + 1, r.why);
            return EX_DATAERR;
        }
        if (s->envelope.recipient_count >= RCPT_COUNT_MAX) {
            sendmail_say("%s: more than %d recipients; nothing was sent", where, RCPT_COUNT_MAX);
            return EX_DATAERR;
        }
        if (!is_ok(sendmail_recipient_add(s, mailbox.address.text))) {
            sendmail_say("out of memory");
            return EX_TEMPFAIL;
        }
    }
}

int sendmail_envelope_sender(struct sendmail *s)
{
    struct address_list parser;
    struct address_mailbox mailbox;
    struct bytes text;
    struct result r;

    s->envelope.reverse_path = s->user.address;
    if (s->options.sender == NULL)
        return EX_OK;
    text = bytes_trim(bytes_of(s->options.sender));
    if (text.size == 0 || bytes_equal(text, BYTES("<>"))) {
        s->envelope.reverse_path = BYTES_NONE;
        return EX_OK;
    }
    address_list_init(&parser, s->cfg->origin);
    r = address_list_feed(&parser, &text, &mailbox);
    if (r.code == CODE_MORE)
        r = address_list_end(&parser, &mailbox);
    if (is_ok(r))
        r = arena_copy(&s->arena, mailbox.address.text, &s->envelope.reverse_path);
    if (is_ok(r) && text.size > 0)
        r = FAIL(CODE_SYNTAX, "one address is wanted");
    if (is_ok(r))
        return EX_OK;
    sendmail_say("sender %s: %s", s->options.sender, r.why);
    return EX_DATAERR;
}

/* The last field of the newest Resent block, of those that stand together; resent_size_out is 0 when there is none. */
static void resent_block_find(struct bytes header, size_t *at_out, size_t *size_out)
{
    struct bytes rest = header;
    struct header_field field;
    uint32_t seen = 0;

    *size_out = 0;
    while (is_ok(header_next(&rest, &field))) {
        enum header_kind kind = header_kind_of(field.name);
        bool single = kind == HEADER_RESENT_FROM || kind == HEADER_RESENT_DATE || kind == HEADER_RESENT_MESSAGE_ID ||
                      kind == HEADER_RESENT_SENDER;

        if (!header_kind_is_resent(kind) || (single && (seen & (UINT32_C(1) << kind)) != 0)) {
            if (*size_out > 0)
                return;
            continue;
        }
        if (*size_out == 0)
            *at_out = (size_t)(field.whole.data - header.data);
        *size_out = (size_t)(field.whole.data + field.whole.size - header.data) - *at_out;
        seen |= UINT32_C(1) << kind;
    }
}

static int fields_take(struct sendmail *s, struct bytes header, bool resent)
{
    struct header_field field;
    int status = EX_OK;

    while (status == EX_OK && is_ok(header_next(&header, &field))) {
        enum header_kind kind = header_kind_of(field.name);
        bool wanted = resent ? kind == HEADER_RESENT_TO || kind == HEADER_RESENT_CC || kind == HEADER_RESENT_BCC
                             : kind == HEADER_TO || kind == HEADER_CC || kind == HEADER_BCC;
        char name[32];

        if (!wanted)
            continue;
        (void)snprintf(name, sizeof name, "%.*s", BYTES_ARG(field.name));
        status = sendmail_envelope_add(s, name, (size_t)(field.value.data - field.whole.data), field.value);
    }
    return status;
}

/* Without the first `count`: the other tradition of -t, where the command line names who does not get the message. */
static void recipients_drop(struct sendmail_envelope *e, size_t count)
{
    if (count == 0)
        return;
    e->recipient_count -= count;
    memmove(e->recipients, e->recipients + count, e->recipient_count * sizeof *e->recipients);
    mem_free(e->index); /* its numbers are of no more use */
    e->index = NULL;
    e->index_room = 0;
}

int sendmail_envelope_make(struct sendmail *s)
{
    struct bytes header = sendmail_input_bytes(&s->input);
    size_t at = 0, size = 0;
    int status = EX_OK;

    for (size_t i = 0; status == EX_OK && i < s->options.recipient_count; i++)
        status = sendmail_envelope_add(s, s->options.recipients[i], 0, bytes_of(s->options.recipients[i]));
    if (status == EX_OK && s->options.from_header) {
        size_t argument_count = s->cfg->submission.t_arguments_remove ? s->envelope.recipient_count : 0;

        resent_block_find(header, &at, &size);
        status =
            size > 0 ? fields_take(s, bytes_head(bytes_after(header, at), size), true) : fields_take(s, header, false);
        recipients_drop(&s->envelope, argument_count);
    }
    if (status != EX_OK || s->envelope.recipient_count > 0)
        return status;
    sendmail_say(
        s->options.from_header ? "no recipient: none is given, and To, Cc and Bcc name none" : "no recipient is given");
    return EX_USAGE;
}
