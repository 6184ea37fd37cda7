/* DATA and BDAT: from the command to the answer after the last octet. The octets' own rules are in data.c.
 *
 * (C1) Content is read to its true end whatever is wrong with it; the reply comes after the end.
 * (C2) BDAT announces octets before we can say no. They are eaten even when no transaction wants them: they must never be
 *      read as commands. */
#include "smtp/received.h"
#include "smtp/server_parts.h"

static const struct bytes none = BYTES_INIT("");
static const struct reply no_mail = {503, {5, 5, 1}, BYTES_INIT("send MAIL first")};
static const struct reply no_rcpt = {554, {5, 5, 1}, BYTES_INIT("no valid recipients")};
static const struct reply mixed = {503, {5, 5, 1}, BYTES_INIT("DATA and BDAT cannot be mixed")};
static const struct reply no_tls = {530, {5, 7, 0}, BYTES_INIT("send STARTTLS first")};
static const struct reply no_chunking = {502, {5, 5, 1}, BYTES_INIT("BDAT is not offered")};
static const struct reply no_memory = {452, {4, 3, 1}, BYTES_INIT("out of memory, try again later")};

const char *smtp_server_protocol(const struct smtp_server *s)
{
    static const char *const words[2][2][2] = {
        /* utf8, tls, auth */
        {{"ESMTP", "ESMTPA"}, {"ESMTPS", "ESMTPSA"}},
        {{"UTF8SMTP", "UTF8SMTPA"}, {"UTF8SMTPS", "UTF8SMTPSA"}},
    };
    bool utf8 = s->transaction != NULL && s->transaction->smtputf8;

    if (s->peer.local)
        return "local";
    return s->esmtp ? words[utf8][s->peer.tls][s->authenticated] : "SMTP";
}

/* Our trace field, as the first of the body. */
static bool trace_give(struct smtp_server *s)
{
    struct smtp_transaction *t = s->transaction;
    struct received received = {
        .helo = smtp_server_helo(s),
        .rdns = s->peer.rdns,
        .address = s->peer.address,
        .local = s->peer.local,
        .login = s->peer.login,
        .uid = s->peer.uid,
        .hostname = s->config->hostname,
        .protocol = smtp_server_protocol(s),
        .tls_version = s->peer.tls ? s->peer.tls_version : none,
        .tls_cipher = s->peer.tls ? s->peer.tls_cipher : none,
        .tls_client = s->peer.tls ? s->peer.tls_client : none,
        .id = t->id,
        .only_rcpt = t->rcpt_count == 1 ? t->only_rcpt : none,
        .date = t->received_at,
    };
    struct buf field = s->scratch;
    void *memory;

    /* scratch is free now and nearly always large enough. */
    buf_reset(&field);
    if (!is_ok(received_put(&field, &received))) {
        if (!is_ok(arena_take(s->arena, RECEIVED_SIZE_MAX, &memory)))
            return false;
        buf_init(&field, memory, RECEIVED_SIZE_MAX);
        if (!is_ok(received_put(&field, &received)))
            return false;
    }
    server_event(s, SMTP_EVENT_BODY)->bytes = buf_bytes(&field);
    t->body_size = field.size;
    return true;
}

/* False when there is no memory for the trace field. */
static bool content_begin(struct smtp_server *s, bool chunking)
{
    struct smtp_transaction *t = s->transaction;
    bool convert = s->config->bare_newline_convert;
    enum data_mode mode =
        chunking ? (convert ? DATA_CHUNK_CONVERT : DATA_CHUNK) : (convert ? DATA_DOTS_CONVERT : DATA_DOTS);

    if (!trace_give(s))
        return false;
    t->content = true;
    t->chunking = chunking;
    data_reader_init(&t->data, mode, s->config->size_max);
    header_scan_init(&t->header);
    return true;
}

void server_data(struct smtp_server *s, struct instant now)
{
    struct smtp_transaction *t = s->transaction;
    const struct reply *refusal = t == NULL ? &no_mail : t->content ? &mixed : t->rcpt_count == 0 ? &no_rcpt : NULL;

    /* RFC 2920 3.1: DATA ends a group. What came with it was sent by somebody who does not read our answers, or is meant
     * for another server's idea of where a message ends. */
    if (s->input_left && s->config->strict_pipelining) {
        server_close_early(s);
        return;
    }
    if (refusal == NULL && !content_begin(s, false))
        refusal = &no_memory;
    if (refusal != NULL) {
        server_refuse(s, SMTP_STEP_DATA, refusal, none);
        return;
    }
    server_enter(s, now, SERVER_DATA);
    server_say(s, &(struct reply){.code = 354, .text = BYTES("send the message, end with <CRLF>.<CRLF>")});
}

/* The content is not wanted any more; what to say is kept for its end (C1). */
static void content_refuse(struct smtp_server *s, struct reply reply)
{
    struct smtp_transaction *t = s->transaction;

    ASSERT(!t->refused);
    t->refused = true;
    t->refusal = reply;
    server_event(s, SMTP_EVENT_ABORT);
}

static void fault_refuse(struct smtp_server *s)
{
    static const char *const words[] = {
        [DATA_FAULT_BARE_CR] = "bare CR", [DATA_FAULT_BARE_LF] = "bare LF", [DATA_FAULT_NUL] = "NUL"};
    struct smtp_transaction *t = s->transaction;
    struct buf text = BUF(t->refusal_text);
    struct reply reply = {.code = 550, .status = {5, 6, 0}};
    struct result r;

    if (t->refused)
        return;
    if (t->data.fault == DATA_FAULT_SIZE) {
        content_refuse(s, REPLY(552, 5, 3, 4, "message is larger than we take"));
        return;
    }
    if (t->data.fault == DATA_FAULT_LONG_LINE) {
        r = buf_put_str(&text, "line too long: line ");
    } else {
        r = buf_put_str(&text, words[t->data.fault]);
        if (is_ok(r))
            r = buf_put_str(&text, " not allowed: octet ");
        if (is_ok(r))
            r = buf_put_u64(&text, t->data.fault_octet);
        if (is_ok(r))
            r = buf_put_str(&text, " of line ");
    }
    if (is_ok(r))
        r = buf_put_u64(&text, t->data.fault_line);
    ASSERT(is_ok(r));
    reply.text = buf_bytes(&text);
    content_refuse(s, reply);
}

static void content_give(struct smtp_server *s, struct bytes content)
{
    struct smtp_transaction *t = s->transaction;

    if (t->refused || content.size == 0)
        return;
    size_t in_header = header_scan_feed(&t->header, content);
    if (s->config->received_max > 0 && t->header.received_count > s->config->received_max) {
        content_refuse(s, REPLY(554, 5, 4, 6, "too many Received fields: this message goes in circles"));
        return;
    }
    t->body_8bit = t->body_8bit || bytes_has_8bit(bytes_after(content, in_header));
    t->body_size += content.size;
    server_event(s, SMTP_EVENT_BODY)->bytes = content;
}

/* The last octet is there: ask for the commit, or say what was wrong. */
static void content_end(struct smtp_server *s, struct instant now)
{
    struct smtp_transaction *t = s->transaction;

    if (t->refused) {
        struct reply reply = t->refusal;
        server_enter(s, now, SERVER_READY);
        server_refuse(s, SMTP_STEP_CONTENT, &reply, none);
        if (s->state != SERVER_CLOSED)
            server_transaction_end(s);
        return;
    }
    server_enter(s, now, SERVER_WAIT_COMMIT);
    server_event(s, SMTP_EVENT_COMMIT)->commit = (struct smtp_commit){
        .id = t->id,
        .body_size = t->body_size,
        .rcpt_count = t->rcpt_count,
        .header_8bit = t->header.has_8bit,
        .body_8bit = t->body_8bit,
        .header_message_id = header_scan_value(&t->header.message_id),
        .header_subject = header_scan_value(&t->header.subject),
    };
}

void server_commit_answer(struct smtp_server *s, struct instant now, const struct smtp_answer *answer)
{
    struct smtp_transaction *t = s->transaction;
    uint8_t room[64];
    struct buf text = BUF(room);

    server_enter(s, now, SERVER_READY);
    t->opened = false; /* COMMIT closed it, whatever the answer */
    if (answer->kind == SMTP_ANSWER_YES) {
        struct result r = buf_put_str(&text, "ok: queued as ");
        if (is_ok(r))
            r = message_id_put(&text, t->id);
        ASSERT(is_ok(r));
        server_say(s, &(struct reply){.code = 250, .status = {2, 0, 0}, .text = buf_bytes(&text)});
        server_transaction_end(s);
    } else {
        server_transaction_end(s);
        server_refuse(s, SMTP_STEP_COMMIT, &answer->reply, none);
    }
}

/* --- BDAT --- */

static const struct reply *bdat_obstacle(const struct smtp_server *s)
{
    const struct smtp_transaction *t = s->transaction;

    if (!(s->config->extensions & SMTP_EXT_CHUNKING))
        return &no_chunking;
    if (s->config->tls_required && !s->peer.tls)
        return &no_tls;
    if (t == NULL)
        return &no_mail;
    if (t->content && !t->chunking)
        return &mixed;
    return t->rcpt_count == 0 ? &no_rcpt : NULL;
}

static void chunk_end(struct smtp_server *s, struct instant now)
{
    struct smtp_transaction *t = s->transaction;
    uint8_t room[64];
    struct buf text = BUF(room);
    struct bytes content;

    server_enter(s, now, SERVER_READY);
    if (s->chunk_refusal != NULL) {
        server_refuse(s, SMTP_STEP_DATA, s->chunk_refusal, none);
        return;
    }
    if (s->chunk_last && !t->refused) {
        data_finish(&t->data, &content);
        content_give(s, content);
        if (t->data.fault != DATA_FAULT_NONE)
            fault_refuse(s);
    }
    /* After a refused chunk there is no transaction: the chunks behind it are eaten and get 503 (RFC 3030 section 2). */
    if (s->chunk_last || t->refused) {
        content_end(s, now);
        return;
    }
    struct result r = buf_put_u64(&text, t->chunks_size);
    if (is_ok(r))
        r = buf_put_str(&text, " octets so far");
    ASSERT(is_ok(r));
    server_say(s, &(struct reply){.code = 250, .status = {2, 0, 0}, .text = buf_bytes(&text)});
}

void server_bdat(struct smtp_server *s, struct instant now, struct bytes argument)
{
    struct command_bdat bdat;
    struct reply refusal;

    if (!command_parse_bdat(argument, &bdat, &refusal)) {
        /* How many octets follow is not known, so nothing behind this line can be trusted to be a command. */
        server_close(s, SMTP_CLOSE_PROTOCOL, &refusal);
        return;
    }
    s->chunk_left = bdat.size;
    s->chunk_last = bdat.last;
    s->chunk_refusal = bdat_obstacle(s);
    if (s->chunk_refusal == NULL && !s->transaction->content && !content_begin(s, true))
        s->chunk_refusal = &no_memory;
    if (s->chunk_refusal == NULL)
        s->transaction->chunks_size += bdat.size;
    server_enter(s, now, SERVER_CHUNK);
    if (s->chunk_left == 0)
        chunk_end(s, now);
}

static size_t chunk_feed(struct smtp_server *s, struct instant now, struct bytes in)
{
    struct smtp_transaction *t = s->transaction;
    struct bytes piece = bytes_head(in, s->chunk_left < in.size ? (size_t)s->chunk_left : in.size);
    struct bytes content = BYTES_NONE;
    size_t eaten = piece.size;

    if (s->chunk_refusal == NULL) {
        (void)data_read(&t->data, piece, &eaten, &content);
        content_give(s, content);
        if (t->data.fault != DATA_FAULT_NONE)
            fault_refuse(s);
    }
    s->chunk_left -= eaten;
    if (s->chunk_left == 0)
        chunk_end(s, now);
    return eaten;
}

size_t server_content_feed(struct smtp_server *s, struct instant now, struct bytes in)
{
    struct smtp_transaction *t = s->transaction;
    struct bytes content;
    size_t eaten;

    server_enter(s, now, (enum server_state)s->state); /* data_block_timeout_ms begins anew */
    if (s->state == SERVER_CHUNK)
        return chunk_feed(s, now, in);
    bool end = data_read(&t->data, in, &eaten, &content);
    content_give(s, content);
    if (t->data.fault != DATA_FAULT_NONE)
        fault_refuse(s);
    if (end) {
        /* RFC 2920: only a peer that was offered PIPELINING may have sent the next command already. */
        s->early = s->config->strict_pipelining && !s->esmtp && eaten < in.size;
        content_end(s, now);
        if (s->state == SERVER_READY && s->early)
            server_close_early(s);
    }
    return eaten;
}
