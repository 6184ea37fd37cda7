#include "tests/sim/lib/sink.h"

#include <stdarg.h>

#include "smtp/esmtp.h"
#include "tests/sim/lib/ledger.h"

enum { SINK_RCPTS_MAX = 256, SINK_IDLE_MS = 20 * MINUTE };

enum sink_state { SINK_COMMAND, SINK_DATA, SINK_BDAT };

#define TAKEN "250 2.0.0 taken"

struct sink {
    struct host *host;
    struct net_end *net;
    struct heap_buf in, out, body;
    struct world_timer answer; /* `out` leaves */
    struct world_timer idle;
    enum sink_state state;
    bool greeted, esmtp, in_mail, over, silent, close_due, tls;
    bool garbled;      /* it has said what nobody can read: nothing after it counts */
    bool after_group;  /* the last command may be followed by others without waiting */
    struct bytes from; /* in `text` */
    char from_room[600];
    struct seen_rcpt rcpts[SINK_RCPTS_MAX];
    uint32_t rcpt_count, transactions;
    uint64_t bdat_left;
    bool bdat_last, bdat_refused;
    bool body_8bit_said, utf8_said;
    struct receipt *receipt;  /* the last one and its mates: whether their replies have arrived */
    unsigned receipt_replies; /* LMTP: how many of them are answered at all */
};

static size_t sinks_open;

static void sink_process(struct sink *s);

size_t sink_count(void)
{
    return sinks_open;
}

/* --- the end --- */

static void receipt_settle(struct sink *s)
{
    for (struct receipt *r = s->receipt; r != NULL; r = r->mate)
        if (r->at > 0 && net_arrived(s->net) >= r->at)
            r->arrived = true;
}

static void receipt_close(struct sink *s)
{
    receipt_settle(s);
    for (struct receipt *r = s->receipt; r != NULL; r = r->mate)
        r->open = NULL;
    s->receipt = NULL;
}

static void receipt_never(struct sink *s)
{
    for (struct receipt *r = s->receipt; r != NULL; r = r->mate)
        r->at = UINT64_MAX;
}

/* All is said: each reply is a line of one size, the last one ends here. */
static void receipt_said(struct sink *s)
{
    unsigned left = s->receipt_replies;

    for (struct receipt *r = s->receipt; r != NULL; r = r->mate) {
        if (r->at == 0)
            r->at = left == 0 ? UINT64_MAX : net_written(s->net) - (left - 1) * (sizeof TAKEN + 1);
        left -= left > 0;
    }
}

static void sink_free(struct sink *s, bool reset)
{
    receipt_close(s);
    world_timer_stop(&s->answer);
    world_timer_stop(&s->idle);
    net_close(s->net, reset);
    heap_buf_free(&s->in);
    heap_buf_free(&s->out);
    heap_buf_free(&s->body);
    free(s);
    sinks_open--;
}

static void on_gone(void *ctx)
{
    sink_free(ctx, false);
}

/* Not at once: its own calls are on the stack. */
static void sink_end(struct sink *s)
{
    s->over = true;
    s->answer.fn = on_gone;
    world_timer_set(&s->answer, world.now_ms);
}

/* --- replies --- */

static void on_answer(void *ctx)
{
    struct sink *s = ctx;

    heap_buf_drop(&s->out, net_write(s->net, heap_buf_bytes(&s->out)));
    if (s->out.size > 0)
        return; /* on_room goes on */
    receipt_said(s);
    if (s->close_due) {
        sink_end(s);
        return;
    }
    sink_process(s);
}

static void reply_after(struct sink *s, int64_t after_ms, const char *format, ...)
    __attribute__((format(printf, 3, 4)));

static void reply_after(struct sink *s, int64_t after_ms, const char *format, ...)
{
    char text[512];
    va_list list;

    if (s->over || s->silent)
        return;
    va_start(list, format);
    int size = vsnprintf(text, sizeof text, format, list);
    va_end(list);
    ASSERT(size > 0 && (size_t)size < sizeof text);
    world_say("  %s -> %s", s->host->name, text);
    heap_buf_put_text(&s->out, "%s\r\n", text);
    if (s->answer.place == 0)
        world_timer_set(&s->answer, world.now_ms + after_ms);
}

static int64_t think(void)
{
    return world_chance(900) ? world_between(0, 40) : world_between(0, 3000);
}

/* An answer about one recipient (or, with rcpt NULL, about all): the ledger may find its words again in a notification. */
static void reply_token(struct sink *s, const char *address, unsigned code, const char *status, const char *words)
{
    uint64_t token = ledger_token(address, code);

    if (world_chance(100))
        reply_after(s, think(), "%u-%s tok=%" PRIu64 ";\r\n%u %s %s", code, status, token, code, status, words);
    else
        reply_after(s, think(), "%u %s tok=%" PRIu64 "; %s", code, status, token, words);
}

static void sink_421(struct sink *s)
{
    world_fault(FAULT_HOST_421);
    reply_token(s, NULL, 421, "4.3.2", "going down");
    s->close_due = true;
}

/* True: a fault takes the place of the answer. */
static bool sink_trouble(struct sink *s)
{
    if (places.calm || s->host->steady || !world_chance(s->host->trouble))
        return false;
    switch (world_below(7)) {
    case 0:
        sink_421(s);
        return true;
    case 1:
        world_fault(FAULT_HOST_CLOSED);
        sink_end(s);
        return true;
    case 2:
        world_fault(FAULT_HOST_SILENT);
        s->silent = true;
        return true;
    case 3:
        world_fault(FAULT_HOST_NEVER_READS);
        s->silent = true;
        net_pause(s->net, true);
        return true;
    case 4: {
        static const char *const garbage[] = {"2 5 0", "hello", "999 what", "25", "250-a\r\n350 b", "\x01\x80\xff"};
        world_fault(FAULT_HOST_GARBAGE);
        s->garbled = true;
        reply_after(s, think(), "%s", garbage[world_below(COUNT_OF(garbage))]);
        return true;
    }
    default:
        world_fault(FAULT_HOST_SLOW);
        if (s->answer.place == 0)
            world_timer_set(&s->answer, world.now_ms + world_between(MINUTE, 7 * (int64_t)MINUTE));
        return false;
    }
}

/* --- commands --- */

static void transaction_end(struct sink *s)
{
    s->in_mail = false;
    s->rcpt_count = 0;
    s->body.size = 0;
    s->bdat_refused = false;
}

static void on_ehlo(struct sink *s)
{
    uint32_t offers = s->host->offers;
    struct heap_buf text = {0};

    transaction_end(s);
    s->esmtp = true;
    heap_buf_put_text(&text, "250-%s greets you", s->host->name);
    static const struct {
        uint32_t extension;
        const char *words;
    } table[] = {{SMTP_EXT_PIPELINING, "PIPELINING"}, {SMTP_EXT_SIZE, "SIZE 40000000"}, {SMTP_EXT_8BITMIME, "8BITMIME"},
        {SMTP_EXT_SMTPUTF8, "SMTPUTF8"}, {SMTP_EXT_DSN, "DSN"}, {SMTP_EXT_CHUNKING, "CHUNKING"},
        {SMTP_EXT_ENHANCEDSTATUSCODES, "ENHANCEDSTATUSCODES"}};
    for (size_t i = 0; i < COUNT_OF(table); i++)
        if (offers & table[i].extension)
            heap_buf_put_text(&text, "\r\n250-%s", table[i].words);
    if ((offers & SMTP_EXT_STARTTLS) && !s->tls)
        heap_buf_put_text(&text, "\r\n250-STARTTLS");
    heap_buf_put_text(&text, "\r\n250 HELP");
    reply_after(s, think(), "%.*s", (int)text.size, (const char *)text.data);
    heap_buf_free(&text);
}

static bool offered(const struct sink *s, uint32_t extension)
{
    return s->esmtp && (s->host->offers & extension) != 0;
}

/* "<path> PARAMETERS": the path, and the parameters checked against what was offered. */
static bool path_read(struct sink *s, struct bytes rest, char *path_out, size_t room, struct bytes *parameters_out)
{
    ptrdiff_t open = bytes_index(rest, '<'), close = bytes_rindex(rest, '>');

    if (open != 0 || close < 0 || (size_t)close >= room) {
        world_wrong("%s: a path that is none: %.*s", s->host->name, BYTES_ARG(rest));
        return false;
    }
    memcpy(path_out, rest.data + 1, (size_t)close - 1);
    path_out[close - 1] = 0;
    *parameters_out = bytes_after(rest, (size_t)close + 1);
    static const struct {
        struct bytes word;
        uint32_t extension;
    } table[] = {{BYTES_INIT(" SIZE="), SMTP_EXT_SIZE}, {BYTES_INIT(" BODY="), SMTP_EXT_8BITMIME},
        {BYTES_INIT(" SMTPUTF8"), SMTP_EXT_SMTPUTF8}, {BYTES_INIT(" RET="), SMTP_EXT_DSN},
        {BYTES_INIT(" ENVID="), SMTP_EXT_DSN}, {BYTES_INIT(" NOTIFY="), SMTP_EXT_DSN},
        {BYTES_INIT(" ORCPT="), SMTP_EXT_DSN}};
    for (size_t i = 0; i < COUNT_OF(table); i++)
        if (bytes_find(*parameters_out, table[i].word) >= 0 && !offered(s, table[i].extension))
            world_wrong("%s: a parameter that was not offered: %.*s", s->host->name, BYTES_ARG(*parameters_out));
    return true;
}

static void on_mail(struct sink *s, struct bytes rest)
{
    struct bytes parameters;

    if (!path_read(s, rest, s->from_room, sizeof s->from_room, &parameters))
        return;
    s->from = bytes_of(s->from_room);
    if (s->in_mail)
        world_wrong("%s: MAIL inside a transaction", s->host->name);
    if (s->transactions >= s->host->transactions_per_session && !places.calm) {
        sink_421(s);
        return;
    }
    if (s->host->mood == MOOD_FLAKY && !places.calm && world_chance(150)) {
        world_fault(FAULT_MAIL_4XX);
        reply_token(s, NULL, 451, "4.3.0", "not now");
        return;
    }
    s->transactions++;
    s->in_mail = true;
    reply_after(s, think(), "250 2.1.0 sender ok");
}

static void on_rcpt(struct sink *s, struct bytes rest)
{
    struct seen_rcpt rcpt = {0};
    struct bytes parameters;

    if (!path_read(s, rest, rcpt.address, sizeof rcpt.address, &parameters))
        return;
    if (!s->in_mail) { /* pipelined behind a refused MAIL */
        reply_token(s, NULL, 503, "5.5.1", "MAIL first");
        return;
    }
    rcpt.has_dsn = bytes_find(parameters, BYTES("NOTIFY=")) >= 0;
    ledger_offered(s->host, s->from, bytes_of(rcpt.address));
    if (s->rcpt_count >= s->host->rcpts_per_transaction || s->rcpt_count == SINK_RCPTS_MAX) {
        world_fault(FAULT_RCPT_TOO_MANY);
        reply_token(s, rcpt.address, 452, "4.5.3", "too many recipients");
        return;
    }
    switch (box_ask(bytes_of(rcpt.address))) {
    case BOX_LATER:
        world_fault(FAULT_RCPT_4XX);
        reply_token(s, rcpt.address, 451, "4.7.1", "greylisted");
        return;
    case BOX_FULL:
        world_fault(FAULT_RCPT_4XX);
        reply_token(s, rcpt.address, 452, "4.2.2", "mailbox is full");
        return;
    case BOX_UNKNOWN:
        world_fault(FAULT_RCPT_5XX);
        reply_token(s, rcpt.address, 550, "5.1.1", "no such user");
        return;
    case BOX_FORBIDS:
        world_fault(FAULT_RCPT_5XX);
        reply_token(s, rcpt.address, 554, "5.7.1", "you may not");
        return;
    case BOX_TAKES:
        s->rcpts[s->rcpt_count++] = rcpt;
        reply_after(s, think(), "250 2.1.5 recipient ok");
        return;
    }
}

/* --- content --- */

static void content_reply(struct sink *s, unsigned code, const char *status, const char *words)
{
    for (uint32_t i = 0; i < (s->host->lmtp ? s->rcpt_count : 1); i++)
        if (code == 250)
            reply_after(s, think(), TAKEN);
        else
            reply_token(s, s->host->lmtp ? s->rcpts[i].address : NULL, code, status, words);
}

static void content_taken(struct sink *s, unsigned replies)
{
    s->receipt_replies = replies;
    s->receipt = ledger_take(&(struct seen){.host = s->host,
        .from = s->from,
        .rcpts = s->rcpts,
        .rcpt_count = s->rcpt_count,
        .content = heap_buf_bytes(&s->body),
        .dsn_offered = offered(s, SMTP_EXT_DSN),
        .eight_bit_offered = offered(s, SMTP_EXT_8BITMIME),
        .eight_bit_said = s->body_8bit_said,
        .utf8_said = s->utf8_said});
    for (struct receipt *r = s->receipt; r != NULL; r = r->mate)
        r->open = s;
    if (s->garbled)
        receipt_never(s);
}

bool sink_reply_arrived(struct sink *s, struct receipt *receipt)
{
    receipt_settle(s);
    return receipt->arrived;
}

static void content_end(struct sink *s)
{
    bool trouble = !places.calm && !s->host->steady;

    receipt_close(s);
    if (trouble && world_chance(s->host->trouble)) {
        world_fault(FAULT_REPLY_LOST);
        content_taken(s, 1);
        switch (world_below(4)) {
        case 0:
            receipt_never(s);
            sink_end(s);
            break;
        case 1:
            receipt_never(s);
            s->silent = true;
            break;
        case 2:
            reply_after(s, world_between(11 * MINUTE, 30 * (int64_t)MINUTE), "250 2.0.0 at last");
            break;
        default:
            reply_after(s, think(), "garbage");
            receipt_never(s);
            break;
        }
    } else if (trouble && world_chance(30)) {
        world_fault(FAULT_CONTENT_4XX);
        content_reply(s, 451, "4.3.0", "the filter is away");
    } else if (trouble && world_chance(15)) {
        world_fault(FAULT_CONTENT_5XX);
        content_reply(s, 554, "5.7.1", "we do not like the content");
    } else if (!sink_trouble(s)) {
        content_taken(s, s->host->lmtp ? s->rcpt_count : 1);
        content_reply(s, 250, NULL, NULL);
    }
    transaction_end(s);
}

static void on_data(struct sink *s)
{
    if (!s->in_mail || s->rcpt_count == 0) {
        if (s->in_mail && world_chance(300)) { /* some say 354 all the same (RFC 2920 3.1) */
            s->state = SINK_DATA;
            reply_after(s, think(), "354 go ahead, for nobody");
            return;
        }
        reply_after(s, think(), "554 5.5.1 no valid recipients");
        transaction_end(s);
        return;
    }
    if (sink_trouble(s))
        return;
    if (!s->host->steady && !places.calm && world_chance(5)) {
        reply_token(s, NULL, 451, "4.3.0", "no room for data");
        transaction_end(s);
        return;
    }
    s->state = SINK_DATA;
    reply_after(s, think(), "354 go ahead");
}

static void on_bdat(struct sink *s, struct bytes rest)
{
    ptrdiff_t space = bytes_index(rest, ' ');
    struct bytes number = space < 0 ? rest : bytes_head(rest, (size_t)space);
    struct result r = bytes_to_u64(number, UINT32_MAX, &s->bdat_left);

    if (!offered(s, SMTP_EXT_CHUNKING) || !is_ok(r))
        world_wrong("%s: BDAT %.*s", s->host->name, BYTES_ARG(rest));
    s->bdat_last = space >= 0;
    s->bdat_refused = !s->in_mail || s->rcpt_count == 0;
    s->state = SINK_BDAT;
}

static void bdat_end(struct sink *s)
{
    s->state = SINK_COMMAND;
    if (s->bdat_refused) {
        reply_after(s, think(), "554 5.5.1 no valid recipients");
        transaction_end(s);
    } else if (s->bdat_last) {
        content_end(s);
    } else if (!sink_trouble(s)) {
        reply_after(s, think(), "250 2.0.0 chunk");
    }
}

/* --- input --- */

static void starttls(struct sink *s)
{
    reply_after(s, think(), "220 2.0.0 go ahead");
    net_tls_set(s->net, s->host->tls);
    s->tls = true;
    s->esmtp = s->greeted = false;
    transaction_end(s);
    s->greeted = true;
}

static void on_line(struct sink *s, struct bytes line)
{
    bool group = s->after_group;

    world_say("  %s <- %.*s", s->host->name, BYTES_ARG(bytes_head(line, 300)));
    if (!s->greeted)
        world_wrong("%s: a command before the greeting", s->host->name);
    if (s->out.size > 0 && !(group && offered(s, SMTP_EXT_PIPELINING)))
        world_wrong("%s: a command before its turn: %.*s", s->host->name, BYTES_ARG(line));
    s->after_group = bytes_starts(line, BYTES("MAIL")) || bytes_starts(line, BYTES("RCPT")) ||
                     bytes_starts(line, BYTES("RSET")) || bytes_starts(line, BYTES("BDAT"));
    if (bytes_starts(line, BYTES("MAIL FROM:"))) { /* for all that follows, whatever becomes of MAIL itself */
        s->body_8bit_said = bytes_find(line, BYTES(" BODY=8BITMIME")) >= 0;
        s->utf8_said = bytes_find(line, BYTES(" SMTPUTF8")) >= 0;
    }
    if (bytes_has_8bit(line) && !s->utf8_said)
        world_wrong("%s: 8-bit text in a command without SMTPUTF8", s->host->name);
    if (line.size > 2048)
        world_wrong("%s: a line of %zu octets", s->host->name, line.size);
    if (bytes_starts(line, BYTES("BDAT "))) {
        on_bdat(s, bytes_after(line, 5));
        return;
    }
    if (bytes_equal(line, BYTES("DATA"))) {
        on_data(s);
        return;
    }
    if (!bytes_equal(line, BYTES("QUIT")) && sink_trouble(s)) {
        if (bytes_starts(line, BYTES("RSET")))
            transaction_end(s);
        return;
    }
    if (bytes_starts(line, s->host->lmtp ? BYTES("LHLO ") : BYTES("EHLO "))) {
        if (s->host->no_ehlo)
            reply_after(s, think(), "500 5.5.1 what is that?");
        else
            on_ehlo(s);
    } else if (bytes_starts(line, BYTES("HELO "))) {
        s->esmtp = false;
        reply_after(s, think(), "250 %s", s->host->name);
    } else if (bytes_starts(line, BYTES("MAIL FROM:"))) {
        on_mail(s, bytes_after(line, 10));
    } else if (bytes_starts(line, BYTES("RCPT TO:"))) {
        on_rcpt(s, bytes_after(line, 8));
    } else if (bytes_equal(line, BYTES("RSET"))) {
        transaction_end(s);
        reply_after(s, think(), "250 2.0.0 reset");
    } else if (bytes_equal(line, BYTES("QUIT"))) {
        reply_after(s, think(), "221 2.0.0 bye");
        s->close_due = true;
    } else if (bytes_equal(line, BYTES("STARTTLS")) && offered(s, SMTP_EXT_STARTTLS)) {
        starttls(s);
    } else {
        world_wrong("%s: an unknown command: %.*s", s->host->name, BYTES_ARG(line));
        reply_after(s, think(), "500 5.5.1 what?");
    }
}

/* One line of DATA; false: it was the end. */
static bool data_line(struct sink *s, struct bytes line)
{
    if (s->out.size > 0)
        world_wrong("%s: content before 354", s->host->name);
    if (line.size == 3 && line.data[0] == '.')
        return false;
    if (line.data[0] == '.')
        line = bytes_after(line, 1);
    if (s->rcpt_count == 0 && line.size > 0)
        world_wrong("%s: content for nobody", s->host->name);
    heap_buf_put(&s->body, line);
    return true;
}

/* Whole lines, DATA or commands; how many octets were used. */
static size_t line_take(struct sink *s, struct bytes in)
{
    ptrdiff_t end = bytes_index(in, '\n');

    if (end < 0)
        return 0;
    struct bytes line = bytes_head(in, (size_t)end + 1);
    if (end == 0 || line.data[end - 1] != '\r' || bytes_index(bytes_head(line, (size_t)end - 1), '\r') >= 0)
        world_wrong("%s: a bare CR or LF", s->host->name);
    if (s->state == SINK_COMMAND)
        on_line(s, bytes_head(line, end > 0 ? (size_t)end - 1 : 0));
    else if (!data_line(s, line)) {
        s->state = SINK_COMMAND;
        s->after_group = false;
        if (s->rcpt_count == 0) {
            reply_after(s, think(), "554 5.5.1 no valid recipients");
            transaction_end(s);
        } else {
            content_end(s);
        }
    }
    return line.size;
}

static void sink_process(struct sink *s)
{
    size_t used = 0;

    while (!s->over && !s->close_due && used < s->in.size) {
        struct bytes in = bytes_after(heap_buf_bytes(&s->in), used);
        size_t took;
        if (s->silent) {
            took = in.size;
        } else if (s->state == SINK_BDAT) {
            took = in.size < s->bdat_left ? in.size : (size_t)s->bdat_left;
            if (!s->bdat_refused)
                heap_buf_put(&s->body, bytes_head(in, took));
            s->bdat_left -= took;
        } else {
            took = line_take(s, in);
            if (took == 0)
                break;
        }
        used += took;
        if (s->state == SINK_BDAT && s->bdat_left == 0)
            bdat_end(s);
    }
    heap_buf_drop(&s->in, used);
}

static void on_idle(void *ctx)
{
    struct sink *s = ctx;

    s->answer.fn = on_gone;
    s->over = true;
    world_timer_set(&s->answer, world.now_ms);
}

static void on_net_data(void *owner, struct bytes in)
{
    struct sink *s = owner;

    if (s->over)
        return;
    world_timer_set(&s->idle, world.now_ms + SINK_IDLE_MS);
    heap_buf_put(&s->in, in);
    sink_process(s);
}

static void on_net_end(void *owner)
{
    sink_end(owner);
}

static void on_net_room(void *owner)
{
    struct sink *s = owner;

    if (!s->over && s->out.size > 0 && s->answer.place == 0)
        world_timer_set(&s->answer, world.now_ms);
}

static const struct net_handler sink_net_handler = {on_net_data, on_net_end, on_net_end, on_net_room};

static void sink_greet(struct sink *s)
{
    s->greeted = true;
    if (s->host->mood == MOOD_GREETS_4XX) {
        world_fault(FAULT_HOST_GREET_4XX);
        reply_token(s, NULL, world_chance(700) ? 421 : 450, "4.3.2", "too busy");
        s->close_due = true;
    } else if (s->host->mood == MOOD_GREETS_5XX) {
        world_fault(FAULT_HOST_GREET_5XX);
        reply_token(s, NULL, 554, "5.3.2", "no mail here");
    } else if (!sink_trouble(s)) {
        reply_after(s, think(), "220 %s ready", s->host->name);
    }
}

struct net_end *sink_connect(struct host *host)
{
    struct sink *s = world_take(sizeof *s);
    bool rough = !places.calm && !host->steady;
    struct net_traits traits = {.delay_ms = world_between(0, 80),
        .jitter_ms = world_between(0, 60),
        .split = (unsigned)world_between(0, 300),
        .break_chance = rough ? 25 : 0};
    struct net_end *near;

    s->host = host;
    s->answer = (struct world_timer){.fn = on_answer, .ctx = s};
    s->idle = (struct world_timer){.fn = on_idle, .ctx = s};
    net_pair(&traits, &near, &s->net);
    net_take(s->net, &sink_net_handler, s);
    world_timer_set(&s->idle, world.now_ms + SINK_IDLE_MS);
    sinks_open++;
    sink_greet(s);
    return near;
}
