#include "tests/sim/lib/client_letter.h"

#include "tests/sim/lib/kin.h"

enum { RCPTS_MAX = 200 };

/* aliases_from: with which alias the letter begins, so that it names none twice. */
static void address_any(
    char *out, size_t room, uint32_t n, const struct letter_plan *plan, bool utf8, uint32_t aliases_from)
{
    static const char *const kinds[] = {"ok", "ok", "ok", "ok", "ok", "ok", "ok", "ok", "ok", "ok", "ok", "ok", "grey",
        "grey", "no", "no", "full", "flaky", "never", "forbid"};
    const struct domain *d;

    do
        d = &places.domains[world_below(places.domain_count)];
    while ((d->kind != DOMAIN_MX && d->kind != DOMAIN_IMPLICIT && d->kind != DOMAIN_HOME && d->kind != DOMAIN_LOCAL &&
               world_chance(850)) ||
           (plan->foreign && d->kind != DOMAIN_HOME && d->kind != DOMAIN_LOCAL && world_chance(900)));
    if (d->kind != DOMAIN_LOCAL)
        (void)snprintf(out, room, "%s%s%u@%s", kinds[world_below(COUNT_OF(kinds))],
            utf8 && world_chance(400) ? "\xc3\xa4" : "", n, d->name);
    else if (world_chance(400))
        (void)snprintf(out, room, "ok%u@%s", n, d->name);
    else
        kin_address(n + aliases_from, out, room);
}

static void sender_any(char *out, size_t room, bool utf8)
{
    static const char *const kinds[] = {"ok", "ok", "ok", "ok", "ok", "ok", "ok", "ok", "grey", "no", "full"};
    const struct domain *d;

    if (world_chance(80)) {
        out[0] = 0;
        return;
    }
    do
        d = &places.domains[world_below(places.domain_count)];
    while (d->kind != DOMAIN_MX && d->kind != DOMAIN_HOME && d->kind != DOMAIN_LOCAL &&
           !(d->kind == DOMAIN_GONE && world_chance(100)));
    if (d->kind == DOMAIN_LOCAL)
        (void)snprintf(out, room, "oks%u@%s", (unsigned)world_below(9), d->name);
    else
        (void)snprintf(out, room, "%ss%s%u@%s", kinds[world_below(COUNT_OF(kinds))],
            utf8 && world_chance(500) ? "\xe2\x82\xac" : "", (unsigned)world_below(9), d->name);
}

static uint32_t rcpt_count_any(void)
{
    uint64_t pick = world_below(100);

    return (uint32_t)(pick < 55   ? 1
                      : pick < 85 ? world_between(2, 5)
                      : pick < 97 ? world_between(6, 30)
                                  : world_between(31, RCPTS_MAX));
}

static bool heavy_bodies;

void letters_begin(bool heavy)
{
    heavy_bodies = heavy;
}

static size_t size_any(void)
{
    uint64_t pick = world_below(1000);

    if (heavy_bodies && world_chance(700))
        return (size_t)world_between(262000, 2000000);

    return (size_t)(pick < 930   ? world_between(0, 2500)
                    : pick < 985 ? world_between(2500, 70000)
                                 : world_between(262000, 700000));
}

/* Lines of every shape; never a bare CR or LF. */
static void body_fill(struct heap_buf *b, size_t size, bool eight_bit)
{
    static const char *const lines[] = {"", ".", "..", ".leading dot", "plain words", "From the start", "-- ", "a\tb",
        " leading space", "QUIT", "DATA", ". ", "=3D"};
    char line[1200];

    while (size > 0) {
        size_t length;
        if (world_chance(300)) {
            const char *text = lines[world_below(COUNT_OF(lines))];
            length = strlen(text);
            memcpy(line, text, length);
        } else {
            length = (size_t)world_below(world_chance(980) ? 90 : 1100);
            memset(line, 'a' + (int)world_below(26), length);
            if (eight_bit && length > 3)
                memcpy(line, "\xc3\xa4", 2);
        }
        heap_buf_put(b, (struct bytes){(const uint8_t *)line, length});
        heap_buf_put(b, BYTES("\r\n"));
        size = size > length + 2 ? size - length - 2 : 0;
    }
}

/* What may never be taken: the end of a message is CRLF . CRLF and nothing else. */
static void body_spoil(struct letter *l)
{
    static const char *const evil[] = {"bare\nline\r\n", "bare\rreturn\r\n", "\n.\r\nMAIL FROM:<evil@d0.test>\r\n",
        "x\n.\nRCPT TO:<evil@d0.test>\r\n", "\r.\r\nQUIT\r\n", "a\r\n.\nb\r\n", "a\r\r\nb\r\n"};

    world_fault(FAULT_CLIENT_BARE_LF);
    l->must_fail = true;
    heap_buf_put(&l->body, bytes_of(evil[world_below(COUNT_OF(evil))]));
}

/* Some of those who stand for nobody else are named in Bcc, and in no other field; the rest in To. */
static void recipients_write(struct letter *l)
{
    unsigned chance = world_chance(500) ? 0 : 400;
    struct heap_buf to = {0}, bcc = {0};

    for (uint32_t i = 0; i < l->rcpt_count; i++) {
        struct fate *f = &l->fates[i];
        f->blind = !f->expands && world_chance(chance);
        struct heap_buf *field = f->blind ? &bcc : &to;
        heap_buf_put_text(field, "%s%s", field->size > 0 ? ",\r\n " : f->blind ? "Bcc: " : "To: ", f->address);
    }
    if (bcc.size > 0)
        world_fault(FAULT_CLIENT_BLIND);
    for (unsigned i = 0, first = world_chance(500); i < 2; i++) {
        struct heap_buf *field = i == first ? &bcc : &to;
        heap_buf_put(&l->body, heap_buf_bytes(field));
        heap_buf_put(&l->body, field->size > 0 ? BYTES("\r\n") : BYTES_NONE);
    }
    heap_buf_free(&to);
    heap_buf_free(&bcc);
}

static void letter_write(struct letter *l, bool addressed)
{
    heap_buf_put_text(&l->body, "From: <%s>\r\nSubject: %s %u\r\n", l->from,
        l->utf8 ? "\xd0\xbf\xd0\xb8\xd1\x81\xd1\x8c\xd0\xbc\xd0\xbe" : "letter", l->number);
    if (addressed)
        recipients_write(l);
    if (!l->submitted || world_chance(700))
        heap_buf_put_text(&l->body, "Message-ID: <%u@sim.test>\r\n", l->number);
    if (l->submitted && world_chance(300))
        heap_buf_put_text(&l->body, "Date: Tue, 1 Jan 2026 00:00:00 +0000\r\n");
    heap_buf_put_text(&l->body, "X-Sim: %u\r\n", l->number);
    if (world_chance(200))
        heap_buf_put_text(&l->body, "Received: from somewhere by elsewhere;\r\n\tTue, 1 Jan 2026 00:00:00 +0000\r\n");
    heap_buf_put_text(&l->body, "\r\nBODY-MARK-%u\r\n", l->number);
    body_fill(&l->body, size_any(), l->eight_bit);
    if (world_chance(40))
        body_spoil(l);
}

struct letter *letter_any(const struct letter_plan *plan)
{
    static const uint8_t notifies[] = {0, 0, 0, 0, DSN_NOTIFY_NEVER, DSN_NOTIFY_FAILURE, DSN_NOTIFY_SUCCESS,
        DSN_NOTIFY_DELAY, DSN_NOTIFY_SUCCESS | DSN_NOTIFY_FAILURE | DSN_NOTIFY_DELAY};
    uint32_t count = rcpt_count_any();
    char from[80];

    bool utf8 = world_chance(80);
    sender_any(from, sizeof from, utf8);
    struct letter *l = ledger_letter(from, count);
    l->utf8 = utf8;
    if (utf8)
        world_fault(FAULT_CLIENT_UTF8);
    bool dsn = world_chance(300);
    uint32_t aliases_from = (uint32_t)world_below(30);
    for (uint32_t i = 0; i < count; i++) {
        struct fate *f = &l->fates[i];
        address_any(f->address, sizeof f->address, i, plan, utf8, aliases_from);
        f->notify = dsn ? notifies[world_below(COUNT_OF(notifies))] : 0;
        if (dsn && world_chance(400))
            (void)snprintf(f->orcpt, sizeof f->orcpt, "first+name@old.test");
        f->expands =
            domain_of(bytes_of(f->address))->kind == DOMAIN_LOCAL && kin_ask(bytes_of(f->address)) == KIN_ALIAS;
    }
    if (dsn && world_chance(400))
        l->envid = "QQ=31+x";
    if (dsn && world_chance(500))
        l->ret = world_chance(500) ? DSN_RET_HDRS : DSN_RET_FULL;
    l->eight_bit = world_chance(150);
    l->client = plan->client;
    l->submitted = plan->door != DOOR_RELAY;
    if (l->submitted) {
        world_fault(FAULT_CLIENT_SUBMITTED);
        l->sender = plan->sender;
    }
    bool addressed = world_chance(400);
    l->split = addressed && plan->door == DOOR_SUBMISSIONS;
    letter_write(l, addressed);
    return l;
}
