/* A message that the peer does not take as it is. Its content is asked for twice: once before the transaction, so that a message
 * that cannot be changed is refused without a word to the peer and MAIL can tell its size, and again as the content.
 * It goes with DATA: BDAT would have to tell the exact size, and few hosts that know it lack 8BITMIME. */
#include "smtp/client_inside.h"

void client_survey_begin(struct smtp_client *c, enum client_way way)
{
    c->way = (uint8_t)way;
    c->convert_due = true;
    client_enter(c, CLIENT_SURVEY);
}

void smtp_client_convert(struct smtp_client *c, struct instant now, struct convert *room)
{
    const struct convert_config cfg = {.bodies = c->way == CLIENT_CONVERT_ALL, .domain = c->cfg->domain_ascii};

    c->now = now;
    if (c->state != CLIENT_SURVEY || c->job == NULL || c->done_due)
        return;
    if (room == NULL) {
        client_job_refuse(c, SMTP_RCPT_DEFERRED,
            (struct peer_reply){
                .status = {4, 3, 0}, .text = BYTES("there is no memory to convert the message for the host")});
        return;
    }
    convert_init(room, &cfg);
    c->convert = room;
}

/* The content will be asked for again, from its start. */
static void body_rewind(struct smtp_client *c)
{
    c->body_offset = 0;
    c->body_last = false;
    c->body_wanted = false;
}

static void survey_over(struct smtp_client *c)
{
    const struct convert *convert = c->convert;

    body_rewind(c);
    if (convert->verdict == CONVERT_OK) {
        uint64_t size = c->job->body_size + convert->size_added;

        convert_begin(c->convert);
        c->content_size =
            c->peer.size_max > 0 && size > c->peer.size_max ? 0 : size; /* a bound: the host may see it fit */
        client_transaction_begin(c);
        return;
    }
    c->convert = NULL;
    if (c->cfg->eight_bit == SMTP_EIGHT_BIT_CONVERT_OR_RAW && !c->job->header_utf8) {
        client_transaction_begin(c);
        return;
    }
    struct buf why = BUF(c->why_room);
    bool utf8 = convert->verdict == CONVERT_UTF8 && c->job->header_utf8;
    peer_text_put(&why, utf8 ? BYTES("the host does not take internationalized mail (SMTPUTF8), and ")
                             : BYTES("the host does not take 8-bit content (8BITMIME), and "));
    peer_text_put(&why, bytes_of(convert->why));
    client_job_refuse(
        c, SMTP_RCPT_FAILED, (struct peer_reply){.status = {5, 6, utf8 ? 7 : 3}, .text = buf_bytes(&why)});
}

void client_survey(struct smtp_client *c, struct bytes bytes, bool last)
{
    bool more = convert_survey(c->convert, bytes);

    if (more && !last) {
        client_enter(c, CLIENT_SURVEY);
        return;
    }
    if (more)
        convert_survey_end(c->convert);
    survey_over(c);
}
