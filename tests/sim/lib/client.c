#include "tests/sim/lib/client.h"

#include <stdarg.h>

#include "tests/sim/lib/client_letter.h"
#include "tests/sim/lib/kin.h"
#include "tests/sim/lib/login.h"

enum { CLIENT_PATIENCE_MS = 90 * MINUTE, BDAT_CHUNK = 20000 };

enum client_state {
    CLIENT_GREETING,
    CLIENT_EHLO,
    CLIENT_XCLIENT,
    CLIENT_STARTTLS,
    CLIENT_AUTH,
    CLIENT_MAIL,
    CLIENT_RCPT,
    CLIENT_DATA,
    CLIENT_CONTENT,
    CLIENT_RSET,
    CLIENT_QUIT,
};

struct client {
    struct net_end *net;
    struct heap_buf in, out;
    struct world_timer work; /* sends on, or gives up */
    struct world_timer patience;
    enum client_state state;
    unsigned letters_left;
    bool stranger, pipelines, bdat, slow, never_reads, early, over, in_content;
    uint64_t sent, abort_at; /* octets */
    struct letter *letter;
    uint32_t rcpt_at, rcpt_ok;
    struct heap_buf wire; /* the content as it travels */
    size_t wire_at;
    unsigned bdat_replies;
    uint32_t number;            /* its EHLO names it */
    struct dns_address address; /* who it is, however it comes */
    enum house_door door;
    bool wants_tls, has_tls, wants_login, logged_in, xclient;
    bool offered_tls, offered_auth; /* by the last EHLO */
    struct login login;
    bool content_dropped; /* it must be sent, but nothing of it is wanted */
};

static size_t clients_open;
static uint32_t clients_ever;

static void client_go_on(struct client *c);
static void mail_begin(struct client *c);

void clients_begin(bool heavy)
{
    clients_ever = 0;
    letters_begin(heavy);
}

size_t client_count(void)
{
    return clients_open;
}

/* May send to nobody but us. */
static bool is_foreign(const struct client *c)
{
    return c->stranger && !c->logged_in;
}

/* --- the end --- */

static void client_free(struct client *c)
{
    world_timer_stop(&c->work);
    world_timer_stop(&c->patience);
    heap_buf_free(&c->in);
    heap_buf_free(&c->out);
    heap_buf_free(&c->wire);
    free(c);
    clients_open--;
}

static void on_gone(void *ctx)
{
    struct client *c = ctx;

    net_close(c->net, world_chance(200));
    client_free(c);
}

static void client_end(struct client *c)
{
    if (c->over)
        return;
    c->over = true;
    world_timer_stop(&c->patience);
    c->work.fn = on_gone;
    world_timer_set(&c->work, world.now_ms);
}

static void on_patience(void *ctx)
{
    struct client *c = ctx;

    if (!c->never_reads && !net_is_hole(c->net))
        world_wrong("a client got no answer for %d minutes in state %d", CLIENT_PATIENCE_MS / MINUTE, (int)c->state);
    client_end(c);
}

/* --- sending --- */

static void say(struct client *c, const char *format, ...) __attribute__((format(printf, 2, 3)));

static void say(struct client *c, const char *format, ...)
{
    char text[1200];
    va_list list;

    va_start(list, format);
    int size = vsnprintf(text, sizeof text, format, list);
    va_end(list);
    ASSERT(size >= 0 && (size_t)size < sizeof text);
    world_say("client -> %.*s", size > 300 ? 300 : size, text);
    heap_buf_put(&c->out, (struct bytes){(const uint8_t *)text, (size_t)size});
    heap_buf_put(&c->out, BYTES("\r\n"));
}

/* The content made transparent, or in chunks. */
static void wire_make(struct client *c)
{
    struct bytes body = heap_buf_bytes(&c->letter->body);

    c->wire.size = c->wire_at = 0;
    c->bdat_replies = 0;
    if (c->bdat) {
        while (body.size > 0) {
            size_t size = 1 + (size_t)world_below(body.size < BDAT_CHUNK ? body.size : BDAT_CHUNK);
            bool last = size == body.size && world_chance(800);
            heap_buf_put_text(&c->wire, "BDAT %zu%s\r\n", size, last ? " LAST" : "");
            heap_buf_put(&c->wire, bytes_head(body, size));
            body = bytes_after(body, size);
            c->bdat_replies++;
            if (body.size == 0 && !last) {
                heap_buf_put_text(&c->wire, "BDAT 0 LAST\r\n");
                c->bdat_replies++;
            }
        }
        return;
    }
    for (bool start = true; body.size > 0;) {
        ptrdiff_t end = bytes_find(body, BYTES("\r\n"));
        size_t size = end < 0 ? body.size : (size_t)end + 2;
        if (start && body.data[0] == '.')
            heap_buf_put(&c->wire, BYTES("."));
        heap_buf_put(&c->wire, bytes_head(body, size));
        body = bytes_after(body, size);
    }
    heap_buf_put(&c->wire, BYTES(".\r\n"));
}

static void content_begin(struct client *c)
{
    c->in_content = true;
    c->state = CLIENT_CONTENT;
}

static void client_abort(struct client *c)
{
    world_fault(FAULT_CLIENT_ABORT);
    world_say("client hangs up");
    client_end(c);
}

static bool write_some(struct client *c, struct bytes out, size_t *used)
{
    if (c->sent + out.size > c->abort_at)
        out = bytes_head(out, (size_t)(c->abort_at - c->sent));
    *used = net_write(c->net, out);
    c->sent += *used;
    if (c->sent >= c->abort_at) {
        client_abort(c);
        return false;
    }
    return *used == out.size;
}

/* Everything that may leave now; what the window does not take waits for on_room. */
static void on_work(void *ctx)
{
    struct client *c = ctx;
    size_t used;

    if (c->out.size > 0) {
        bool all = write_some(c, heap_buf_bytes(&c->out), &used);
        if (c->over)
            return;
        heap_buf_drop(&c->out, used);
        if (!all)
            return;
    }
    while (c->in_content && c->wire_at < c->wire.size) {
        struct bytes rest = bytes_after(heap_buf_bytes(&c->wire), c->wire_at);
        struct bytes piece = bytes_head(rest, c->slow ? 1 + (size_t)world_below(2000) : 8192);
        bool all = write_some(c, piece, &used);
        c->wire_at += used;
        if (c->wire_at == c->wire.size)
            c->letter->whole = true;
        if (!all || c->over)
            return;
        if (c->slow) {
            world_timer_set(&c->work, world.now_ms + world_between(100, 20000));
            return;
        }
    }
}

static void send_soon(struct client *c)
{
    int64_t after_ms = world_chance(950) ? world_between(0, 30) : world_between(0, 5000);

    if (!c->over && c->work.place == 0)
        world_timer_set(&c->work, world.now_ms + after_ms);
}

/* --- the dialogue --- */

static void say_mail(struct client *c)
{
    struct letter *l = c->letter;
    char ret[40] = "", envid[60] = "", size[40] = "";

    if (l->ret != DSN_RET_NONE)
        (void)snprintf(ret, sizeof ret, " RET=%s", l->ret == DSN_RET_HDRS ? "HDRS" : "FULL");
    if (l->envid != NULL)
        (void)snprintf(envid, sizeof envid, " ENVID=QQ+3D31+2Bx");
    if (world_chance(500))
        (void)snprintf(size, sizeof size, " SIZE=%zu", l->body.size);
    say(c, "MAIL FROM:<%s>%s%s%s%s%s", l->from, size, l->eight_bit ? " BODY=8BITMIME" : "", l->utf8 ? " SMTPUTF8" : "",
        ret, envid);
}

static void say_rcpt(struct client *c, const struct fate *f)
{
    char notify[60] = "";

    if (f->notify != 0)
        (void)snprintf(notify, sizeof notify, " NOTIFY=%s",
            f->notify == DSN_NOTIFY_NEVER     ? "NEVER"
            : f->notify == DSN_NOTIFY_FAILURE ? "FAILURE"
            : f->notify == DSN_NOTIFY_SUCCESS ? "SUCCESS"
            : f->notify == DSN_NOTIFY_DELAY   ? "DELAY"
                                              : "SUCCESS,FAILURE,DELAY");
    say(c, "RCPT TO:<%s>%s%s", f->address, notify, f->orcpt[0] != 0 ? " ORCPT=rfc822;first+2Bname@old.test" : "");
}

static void say_content(struct client *c)
{
    if (c->bdat)
        content_begin(c);
    else
        say(c, "DATA");
}

static void mail_begin(struct client *c)
{
    c->letters_left--;
    c->letter = letter_any(&(struct letter_plan){.foreign = is_foreign(c),
        .client = c->number,
        .door = c->door,
        .sender = c->logged_in ? login_sender(bytes_of(c->login.user)) : NULL});
    c->bdat = world_chance(250);
    c->rcpt_at = c->rcpt_ok = 0;
    c->content_dropped = false;
    wire_make(c);
    say_mail(c);
    c->state = CLIENT_MAIL;
    if (c->pipelines) {
        for (uint32_t i = 0; i < c->letter->rcpt_count; i++)
            say_rcpt(c, &c->letter->fates[i]);
        say_content(c);
        c->state = CLIENT_MAIL;
    }
    send_soon(c);
}

static void letter_over(struct client *c, bool clean)
{
    c->in_content = false;
    c->letter = NULL;
    if (c->letters_left > 0) {
        if (!clean || world_chance(200)) {
            say(c, "RSET");
            c->state = CLIENT_RSET;
        } else {
            mail_begin(c);
        }
    } else {
        say(c, "QUIT");
        c->state = CLIENT_QUIT;
    }
    send_soon(c);
}

static void on_rcpt_reply(struct client *c, unsigned code)
{
    struct fate *f = &c->letter->fates[c->rcpt_at++];
    const struct domain *d = domain_of(bytes_of(f->address));

    bool nobody = d->kind == DOMAIN_LOCAL && kin_ask(bytes_of(f->address)) == KIN_NOBODY;

    if (code == 250) {
        c->rcpt_ok++;
        f->accepted = true;
        if (nobody)
            world_wrong("%s is accepted, who is nobody", f->address);
        if (is_foreign(c) && d->kind != DOMAIN_HOME && d->kind != DOMAIN_LOCAL)
            world_wrong("a stranger may send to %s", f->address);
        if (d->kind == DOMAIN_REFUSED)
            world_wrong("%s is accepted although its route refuses it", f->address);
    } else if (code == 550 && !nobody && d->kind != DOMAIN_REFUSED &&
               (!is_foreign(c) || d->kind == DOMAIN_HOME || d->kind == DOMAIN_LOCAL)) {
        world_wrong("%s is refused: %u", f->address, code);
    }
    if (c->rcpt_at < c->letter->rcpt_count) {
        if (!c->pipelines)
            say_rcpt(c, &c->letter->fates[c->rcpt_at]);
        return;
    }
    c->state = c->bdat ? CLIENT_CONTENT : CLIENT_DATA;
    if (c->pipelines)
        return;
    if (c->rcpt_ok == 0) {
        letter_over(c, false);
        return;
    }
    say_content(c);
}

static void on_final(struct client *c, unsigned code)
{
    struct letter *l = c->letter;

    if (c->rcpt_ok == 0 || l->must_fail) {
        if (code / 100 == 2)
            world_wrong("letter %u is taken with %u", l->number, code);
        letter_over(c, false);
        return;
    }
    if (code == 250)
        ledger_told(l, TOLD_YES, code);
    else if (code / 100 == 4)
        ledger_told(l, TOLD_LATER, code);
    else {
        ledger_told(l, TOLD_NO, code);
        world_wrong("letter %u is refused with %u", l->number, code);
    }
    letter_over(c, code == 250);
}

static void on_mail_reply(struct client *c, unsigned code)
{
    bool locked = c->door != DOOR_RELAY && is_foreign(c); /* RFC 6409 4.3: who submits says who he is */

    if (locked && code != 530 && code / 100 != 4)
        world_wrong("a stranger who has not logged in may submit: %u", code);
    if (!locked && code != 250 && code / 100 != 4)
        world_wrong("MAIL from <%s> is answered %u", c->letter->from, code);
    c->state = CLIENT_RCPT;
    if (c->pipelines)
        return;
    if (code != 250)
        letter_over(c, false);
    else
        say_rcpt(c, &c->letter->fates[0]);
}

/* --- who it is --- */

static void say_ehlo(struct client *c)
{
    c->offered_tls = c->offered_auth = false;
    say(c, "EHLO c%u.client.test", c->number);
    c->state = CLIENT_EHLO;
}

static void say_auth(struct client *c)
{
    login_any(&c->login, true);
    world_fault(c->login.wrong ? FAULT_CLIENT_WRONG_LOGIN : FAULT_CLIENT_LOGIN);
    say(c, "AUTH %s", login_first(&c->login));
    c->state = CLIENT_AUTH;
}

static void after_ehlo(struct client *c)
{
    if (c->xclient) {
        c->xclient = false;
        say(c, "XCLIENT ADDR=%u.0.113.%u NAME=[UNAVAILABLE] HELO=behind.test", c->address.octets[0],
            c->address.octets[3]);
        c->state = CLIENT_XCLIENT;
    } else if (c->wants_tls && !c->has_tls) {
        if (!c->offered_tls)
            world_wrong("STARTTLS is not offered");
        say(c, "STARTTLS");
        c->state = CLIENT_STARTTLS;
    } else if (c->wants_login && !c->logged_in) {
        if (!c->offered_auth)
            world_wrong("AUTH is not offered under TLS");
        say_auth(c);
    } else {
        mail_begin(c);
    }
}

static void on_xclient_reply(struct client *c, unsigned code)
{
    if (code != 220) {
        world_wrong("XCLIENT is answered %u", code);
        client_end(c);
        return;
    }
    world_fault(FAULT_CLIENT_XCLIENT);
    say_ehlo(c);
}

static void on_starttls_reply(struct client *c, unsigned code)
{
    if (code != 220) {
        world_wrong("STARTTLS is answered %u", code);
        client_end(c);
        return;
    }
    c->has_tls = true;
    world_fault(FAULT_CLIENT_TLS);
    if (!places.calm && world_chance(30))
        client_abort(c); /* in the middle of the handshake */
    else
        say_ehlo(c);
}

static void on_auth_reply(struct client *c, unsigned code, struct bytes line)
{
    if (code == 334) {
        say(c, "%s", login_next(&c->login, bytes_after(line, 4)));
        return;
    }
    c->logged_in = code == 235;
    if (c->logged_in && c->login.wrong)
        world_wrong("%s is let in with a wrong password or proof", c->login.user);
    if (code == 454 && !house_was_down(0) && !c->login.wrong && bytes_find(line, BYTES("out of memory")) < 0)
        world_wrong("a login is put off: %.*s", BYTES_ARG(line));
    if (code != 235 && code != 535 && code != 454)
        world_wrong("AUTH is answered %.*s", BYTES_ARG(line));
    if (code == 535 && !c->login.wrong)
        world_wrong("%s is not let in with his password", c->login.user);
    if (c->logged_in || (code == 535 && world_chance(300))) {
        if (!c->logged_in && is_foreign(c))
            world_fault(FAULT_CLIENT_NO_LOGIN);
        mail_begin(c); /* or he tries it without */
    } else if (code == 535 && world_chance(700)) {
        say_auth(c);
    } else {
        say(c, "QUIT");
        c->state = CLIENT_QUIT;
    }
}

static void on_reply(struct client *c, unsigned code, struct bytes line)
{
    if (code == 421) {
        if (bytes_starts(line, BYTES("421 4.4.2")) && c->in_content && c->wire_at < c->wire.size && !c->slow &&
            !c->never_reads && !net_is_hole(c->net) && !house_was_down(0))
            world_wrong("a client whose content is not read is told %.*s", BYTES_ARG(line));
        client_end(c);
        return;
    }
    switch (c->state) {
    case CLIENT_GREETING:
        if (code != 220)
            client_end(c);
        else if (!c->early)
            say_ehlo(c);
        c->state = CLIENT_EHLO;
        break;
    case CLIENT_EHLO:
        if (code != 250)
            world_wrong("EHLO is answered %u", code);
        after_ehlo(c);
        break;
    case CLIENT_XCLIENT:
        c->stranger = c->address.octets[0] != 10;
        on_xclient_reply(c, code);
        break;
    case CLIENT_STARTTLS:
        on_starttls_reply(c, code);
        break;
    case CLIENT_AUTH:
        on_auth_reply(c, code, line);
        break;
    case CLIENT_MAIL:
        on_mail_reply(c, code);
        break;
    case CLIENT_RCPT:
        on_rcpt_reply(c, code);
        break;
    case CLIENT_DATA:
        if (code == 354) {
            if (c->rcpt_ok == 0) {
                c->wire.size = 0;
                heap_buf_put(&c->wire, BYTES(".\r\n"));
            }
            content_begin(c);
        } else {
            if (c->rcpt_ok > 0 && code / 100 != 4)
                world_wrong("DATA is answered %u", code);
            letter_over(c, false);
        }
        break;
    case CLIENT_CONTENT:
        if (c->bdat && --c->bdat_replies > 0)
            break; /* each chunk is on its way and has its reply */
        on_final(c, code);
        break;
    case CLIENT_RSET:
        mail_begin(c);
        break;
    case CLIENT_QUIT:
        client_end(c);
        return;
    }
    send_soon(c);
}

static void client_go_on(struct client *c)
{
    while (!c->over) {
        struct bytes in = heap_buf_bytes(&c->in);
        ptrdiff_t end = bytes_find(in, BYTES("\r\n"));
        uint64_t code;
        if (end < 0)
            return;
        struct bytes line = bytes_head(in, (size_t)end);
        struct result r = bytes_to_u64(bytes_head(line, 3), 599, &code);
        world_say("client <- %.*s", BYTES_ARG(line));
        if (!is_ok(r) || line.size > 510 || (line.size > 3 && line.data[3] != ' ' && line.data[3] != '-')) {
            world_wrong("a client is answered %.*s", BYTES_ARG(line));
            client_end(c);
            return;
        }
        if (c->state == CLIENT_EHLO && line.size > 4) {
            c->offered_tls = c->offered_tls || bytes_equal(bytes_after(line, 4), BYTES("STARTTLS"));
            c->offered_auth = c->offered_auth || bytes_starts(bytes_after(line, 4), BYTES("AUTH "));
        }
        if (line.size <= 3 || line.data[3] != '-')
            on_reply(c, (unsigned)code, line);
        heap_buf_drop(&c->in, (size_t)end + 2);
    }
}

static void on_net_data(void *owner, struct bytes in)
{
    struct client *c = owner;

    if (c->over)
        return;
    world_timer_set(&c->patience, world.now_ms + CLIENT_PATIENCE_MS);
    heap_buf_put(&c->in, in);
    client_go_on(c);
}

static void on_net_end(void *owner)
{
    client_end(owner);
}

static void on_net_room(void *owner)
{
    struct client *c = owner;

    if (!c->over)
        send_soon(c);
}

static const struct net_handler client_net_handler = {on_net_data, on_net_end, on_net_end, on_net_room};

static void proxy_v2_put(struct heap_buf *out, const struct dns_address *from)
{
    uint8_t header[28] = {0x0d, 0x0a, 0x0d, 0x0a, 0x00, 0x0d, 0x0a, 0x51, 0x55, 0x49, 0x54, 0x0a, 0x21, 0x11, 0,
        12, [20] = 192, 0, 2, 1, 0x9c, 0x40, 0, 25};

    memcpy(header + 16, from->octets, 4);
    heap_buf_put(out, (struct bytes){header, sizeof header});
}

/* Which listener, and what it does there before its mail. */
static void door_choose(struct client *c)
{
    uint64_t pick = world_below(100);

    c->door = pick < 70 ? DOOR_RELAY : pick < 85 ? DOOR_SUBMISSION : DOOR_SUBMISSIONS;
    c->wants_tls = c->door != DOOR_RELAY || world_chance(100);
    c->has_tls = c->door == DOOR_SUBMISSIONS;
    c->wants_login = c->door != DOOR_RELAY && world_chance(850);
    c->xclient = c->door == DOOR_RELAY && world_chance(50);
    if (c->has_tls)
        world_fault(FAULT_CLIENT_TLS);
    if (!c->wants_login && c->door != DOOR_RELAY && c->stranger)
        world_fault(FAULT_CLIENT_NO_LOGIN);
}

static void tls_trouble(struct client *c)
{
    if (c->wants_tls && !places.calm && world_chance(60))
        net_tls_set(c->net, world_chance(700) ? NET_TLS_FAILS : NET_TLS_HANGS);
}

void client_start(unsigned letter_count)
{
    struct net_traits traits = {.delay_ms = world_between(0, 80),
        .jitter_ms = world_between(0, 60),
        .split = (unsigned)world_between(0, 300),
        .break_chance = places.calm ? 0 : 25};
    struct client *c = world_take(sizeof *c);

    c->stranger = world_chance(150);
    struct dns_address address = {.family = 4, .octets = {c->stranger ? 203 : 10, 0, 113, (uint8_t)world_below(250)}};
    clients_open++;
    *c = (struct client){.stranger = c->stranger,
        .pipelines = world_chance(500),
        .slow = world_chance(30),
        .letters_left = letter_count,
        .number = ++clients_ever,
        .address = address,
        .abort_at = UINT64_MAX};
    door_choose(c);
    c->work = (struct world_timer){.fn = on_work, .ctx = c};
    c->patience = (struct world_timer){.fn = on_patience, .ctx = c};
    struct dns_address balancer = {.family = 4, .octets = {172, 16, 0, 1}};
    struct dns_address front = {.family = 4, .octets = {172, 17, 0, 1}};
    bool proxied = c->door == DOOR_RELAY && !c->xclient && world_chance(100);
    c->net = house_connect(c->door, proxied ? &balancer : c->xclient ? &front : &address, &traits);
    if (c->net == NULL) {
        client_free(c); /* nobody listens */
        return;
    }
    net_take(c->net, &client_net_handler, c);
    tls_trouble(c);
    world_timer_set(&c->patience, world.now_ms + CLIENT_PATIENCE_MS);
    if (proxied) { /* a load balancer says who it is; in every way that counts it is that one */
        world_fault(FAULT_CLIENT_PROXIED);
        if (world_chance(500))
            say(c, "PROXY TCP4 %u.0.113.%u 192.0.2.1 40000 25", address.octets[0], address.octets[3]);
        else
            proxy_v2_put(&c->out, &address);
        send_soon(c);
    }
    if (c->slow)
        world_fault(FAULT_CLIENT_SLOW);
    if (!places.calm && world_chance(60))
        c->abort_at = 1 + world_below(world_chance(500) ? 300 : 5000);
    if (c->door != DOOR_RELAY || c->xclient || c->wants_tls)
        return;
    if (!places.calm && world_chance(15)) {
        world_fault(FAULT_CLIENT_NEVER_READS);
        c->never_reads = c->pipelines = c->early = true;
        net_pause(c->net, true);
        say_ehlo(c);
        mail_begin(c);
    } else if (!places.calm && world_chance(10)) {
        world_fault(FAULT_CLIENT_EARLY);
        c->early = true;
        say_ehlo(c);
        c->state = CLIENT_GREETING;
        send_soon(c);
    }
}
