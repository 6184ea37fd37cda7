#include "daemon/queued/wards.h"

#include "daemon/base/rate.h"
#include "daemon/config/value.h"
#include "daemon/queued/engine_parts.h"

enum {
    SAVE_MS = 1000,
    FORGET_MS = 3600000, /* how long an ended ban still makes the next one longer (auth/guard.h) */
    ALERT_EVERY_MS = 86400000,
    SCAN_MAX = 2000,     /* recipients looked at in one turn */
    SAVED_AT_ONCE = 200, /* memos in one transaction */
    ALERT_SIZE_MAX = 4096,
};
static const int64_t FOR_EVER_MS = INT64_MAX / 4;

struct ward_ban {
    uint64_t block;
    struct walltime until;
    uint32_t count;
    bool by_hand, dirty, gone;
    uint8_t text_size;
    uint8_t text[WARD_TEXT_SIZE_MAX];
};

struct ward_login {
    uint64_t bucket;
    struct walltime alerted;
    bool held, dirty, wants_alert, wants_scan;
    uint16_t size;
    uint8_t name[LOCAL_PART_SIZE_MAX];
};

struct wards {
    struct ward_ban *bans;
    size_t ban_count;
    struct ward_login *logins;
    size_t login_count;
    struct walltime save_after;
    bool dirty, alerts;
    size_t scanned; /* logins[scanned] has its backlog held; past the last: none */
    bool scanning;
    struct store_place place; /* how far */
    struct walltime scan_after;
};

struct wards *wards_new(void)
{
    struct wards *w = mem_take_zero(sizeof *w);

    if (w == NULL)
        return NULL;
    w->bans = mem_take_zero(WARDS_BAN_MAX * sizeof *w->bans);
    w->logins = mem_take_zero(WARDS_LOGIN_MAX * sizeof *w->logins);
    if (w->bans == NULL || w->logins == NULL)
        wards_free(&w);
    return w;
}

void wards_free(struct wards **wards)
{
    if (*wards == NULL)
        return;
    mem_free((*wards)->bans);
    mem_free((*wards)->logins);
    mem_free(*wards);
    *wards = NULL;
}

static struct bytes ban_text(const struct ward_ban *b)
{
    return (struct bytes){b->text, b->text_size};
}

static struct bytes login_name(const struct ward_login *l)
{
    return (struct bytes){l->name, l->size};
}

static bool ban_is_login(const struct ward_ban *b)
{
    return (b->block & BAN_LOGIN_BITS) == BAN_LOGIN_BITS;
}

static void save_soon(struct wards *w, struct walltime now)
{
    if (!w->dirty)
        w->save_after = walltime_after(now, SAVE_MS);
    w->dirty = true;
}

/* --- memos: "ban/" and the block's octets; "login/" and the name --- */

static RESULT ban_name(const struct ward_ban *b, struct buf *name)
{
    TRY(buf_put_str(name, "ban/"));
    return wire_put_u64(name, b->block);
}

static RESULT ban_save(struct engine *e, const struct ward_ban *b)
{
    uint8_t name_room[16], room[STORE_MEMO_SIZE_MAX];
    struct buf name = BUF(name_room), value = BUF(room);

    TRY(ban_name(b, &name));
    if (b->gone)
        return store_memo_delete(e->store, buf_bytes(&name));
    TRY(wire_put_u64(&value, (uint64_t)b->until.ms));
    TRY(wire_put_u32(&value, b->count));
    TRY(buf_put_octet(&value, b->by_hand));
    TRY(buf_put(&value, ban_text(b)));
    return store_memo_put(e->store, buf_bytes(&name), buf_bytes(&value));
}

static RESULT login_save(struct engine *e, const struct ward_login *l, struct walltime now)
{
    uint8_t name_room[STORE_MEMO_NAME_SIZE_MAX], room[STORE_MEMO_SIZE_MAX];
    struct buf name = BUF(name_room), value = BUF(room);

    TRY(buf_put_str(&name, "login/"));
    TRY(buf_put(&name, login_name(l)));
    if (!l->held && l->bucket <= (uint64_t)now.ms * 1000)
        return store_memo_delete(e->store, buf_bytes(&name));
    TRY(wire_put_u64(&value, l->bucket));
    TRY(wire_put_u64(&value, (uint64_t)l->alerted.ms));
    TRY(buf_put_octet(&value, l->held));
    return store_memo_put(e->store, buf_bytes(&name), buf_bytes(&value));
}

static RESULT save_rows(struct engine *e, void *context, struct walltime now, uint32_t *count_out)
{
    struct wards *w = e->wards;

    (void)context;
    for (size_t i = 0; i < w->ban_count && *count_out < SAVED_AT_ONCE; i++)
        if (w->bans[i].dirty) {
            TRY(ban_save(e, &w->bans[i]));
            (*count_out)++;
        }
    for (size_t i = 0; i < w->login_count && *count_out < SAVED_AT_ONCE; i++)
        if (w->logins[i].dirty) {
            TRY(login_save(e, &w->logins[i], now));
            (*count_out)++;
        }
    return OK;
}

/* After the commit: the same rows in the same order are clean. */
static void saved(struct wards *w, uint32_t count)
{
    for (size_t i = 0; i < w->ban_count && count > 0;) {
        struct ward_ban *b = &w->bans[i];
        count -= b->dirty;
        if (b->dirty && b->gone) {
            *b = w->bans[--w->ban_count];
            continue; /* one that came from the end is saved with the next */
        }
        b->dirty = false;
        i++;
    }
    for (size_t i = 0; i < w->login_count && count > 0; i++) {
        count -= w->logins[i].dirty;
        w->logins[i].dirty = false;
    }
    w->dirty = false;
    for (size_t i = 0; i < w->ban_count; i++)
        w->dirty = w->dirty || w->bans[i].dirty;
    for (size_t i = 0; i < w->login_count; i++)
        w->dirty = w->dirty || w->logins[i].dirty;
}

static RESULT wards_save(struct engine *e, struct walltime now)
{
    uint32_t count;

    while (e->wards->dirty) {
        TRY(portion_commit(e, save_rows, NULL, now, &count));
        saved(e->wards, count);
        LOG(WARDS_SAVED, LOG_NUM("count", count));
        if (count == 0)
            break;
    }
    return OK;
}

static void ban_load(struct wards *w, struct bytes name, struct bytes value)
{
    struct ward_ban *b = &w->bans[w->ban_count];
    uint64_t until = 0;
    uint32_t count = 0;

    if (w->ban_count == WARDS_BAN_MAX || name.size != 12 || value.size < 13 || value.size > 13 + WARD_TEXT_SIZE_MAX)
        return;
    until = wire_load_u64(value.data);
    count = (uint32_t)(wire_load_u64(value.data + 4) & UINT32_MAX);
    *b = (struct ward_ban){.block = wire_load_u64(name.data + 4),
        .until = {(int64_t)(until & INT64_MAX)},
        .count = count,
        .by_hand = value.data[12] != 0,
        .text_size = (uint8_t)(value.size - 13)};
    memcpy(b->text, value.data + 13, b->text_size);
    w->ban_count += b->block != 0;
}

static void login_load(struct wards *w, struct bytes name, struct bytes value)
{
    struct ward_login *l = &w->logins[w->login_count];
    struct bytes login = bytes_after(name, 6);

    if (w->login_count == WARDS_LOGIN_MAX || login.size == 0 || login.size > sizeof l->name || value.size != 17)
        return;
    *l = (struct ward_login){.bucket = wire_load_u64(value.data),
        .alerted = {(int64_t)(wire_load_u64(value.data + 8) & INT64_MAX)},
        .held = value.data[16] != 0,
        .size = (uint16_t)login.size};
    memcpy(l->name, login.data, login.size);
    w->login_count++;
}

RESULT wards_start(struct engine *e, struct walltime now)
{
    uint8_t room[STORE_MEMO_NAME_SIZE_MAX];
    struct buf after = BUF(room);
    struct bytes name, value;

    (void)now;
    TRY(store_read_begin(e->store));
    while (is_ok(store_memo_next(e->store, buf_bytes(&after), &name, &value))) {
        if (bytes_starts(name, BYTES("ban/")))
            ban_load(e->wards, name, value);
        else if (bytes_starts(name, BYTES("login/")))
            login_load(e->wards, name, value);
        buf_reset(&after);
        if (!is_ok(buf_put(&after, name)))
            break;
    }
    store_read_end(e->store);
    return OK;
}

/* --- bans --- */

static void ban_say(struct engine *e, struct engine_peer *peer, const struct ward_ban *b)
{
    engine_send(e, peer,
        &(struct msg){.kind = MSG_ban_set,
            .ban_set = {.block = b->block,
                .until = b->gone ? 0 : (uint64_t)b->until.ms,
                .count = b->gone ? 0 : b->count,
                .by_hand = b->by_hand}});
}

static void ban_changed(struct engine *e, struct ward_ban *b, struct walltime now)
{
    b->dirty = true;
    save_soon(e->wards, now);
    for (struct engine_peer *p = e->peers; p != NULL; p = p->next)
        if (p->role == ROLE_INBOUND)
            ban_say(e, p, b);
}

void wards_peer_added(struct engine *e, struct engine_peer *peer)
{
    for (size_t i = 0; i < e->wards->ban_count; i++)
        if (!e->wards->bans[i].gone)
            ban_say(e, peer, &e->wards->bans[i]);
}

static struct ward_ban *ban_find(struct wards *w, uint64_t block)
{
    for (size_t i = 0; i < w->ban_count; i++)
        if (w->bans[i].block == block)
            return &w->bans[i];
    return NULL;
}

static struct ward_ban *ban_take(struct wards *w, uint64_t block)
{
    struct ward_ban *b = ban_find(w, block);

    if (b == NULL && w->ban_count < WARDS_BAN_MAX)
        b = &w->bans[w->ban_count++];
    for (size_t i = 0; b == NULL || (i < w->ban_count && w->ban_count == WARDS_BAN_MAX && b->block != block); i++)
        if (b == NULL || (!w->bans[i].by_hand && w->bans[i].until.ms < b->until.ms))
            b = &w->bans[i];
    if (b->block != block || b->gone)
        *b = (struct ward_ban){.block = block};
    return b;
}

static void text_keep(struct ward_ban *b, struct bytes text)
{
    text = bytes_head(text, sizeof b->text);
    memcpy(b->text, text.data, text.size);
    b->text_size = (uint8_t)text.size;
}

RESULT wards_receive(struct engine *e, const struct msg_ban_report *report, struct walltime now)
{
    uint8_t room[WARD_TEXT_SIZE_MAX];
    struct buf text = BUF(room);
    struct ward_ban *b;

    if (report->block == 0 || report->until > INT64_MAX / 2)
        return FAIL(CODE_REFUSED, "a ban of nobody, or without end");
    if ((b = ban_find(e->wards, report->block)) != NULL && b->by_hand && !b->gone)
        return OK; /* the postmaster's word stands */
    b = ban_take(e->wards, report->block);
    b->until.ms = (int64_t)report->until;
    b->count = report->count;
    if (ban_is_login(b))
        text_keep(b, report->client);
    else if (is_ok(config_client_block_put(e->cfg, report->block, &text)))
        text_keep(b, buf_bytes(&text));
    e->doors.bans_by_guessing++;
    LOG(BANNED, LOG_TEXT("client", ban_text(b)), LOG_NUM("for_s", (b->until.ms - now.ms) / 1000),
        LOG_NUM("count", b->count), LOG_STR("by", "failed logins"));
    ban_changed(e, b, now);
    return OK;
}

static bool block_read(const struct config *cfg, struct bytes who, uint64_t *block_out)
{
    uint8_t room[WARD_TEXT_SIZE_MAX];
    struct buf text = BUF(room);
    struct config_network network;

    if (!is_ok(value_network(who, &network)))
        return false;
    *block_out = config_client_block(cfg, network.address);
    /* A network is good only when it is the block itself: others cannot be looked up by one number. */
    return network.prefix_bits == 128 ||
           (is_ok(config_client_block_put(cfg, *block_out, &text)) && bytes_equal(buf_bytes(&text), who));
}

RESULT engine_ban(struct engine *e, struct bytes who, int64_t for_ms, struct walltime now)
{
    uint8_t room[WARD_TEXT_SIZE_MAX];
    struct buf text = BUF(room);
    uint64_t block;

    if (!block_read(e->cfg, who, &block))
        return FAIL(CODE_SYNTAX, "expected an address, or a block as rates.ipv4_bits and ipv6_bits make them");
    TRY(config_client_block_put(e->cfg, block, &text));
    struct ward_ban *b = ban_take(e->wards, block);
    b->until.ms = for_ms == 0 ? FOR_EVER_MS : now.ms + for_ms;
    b->by_hand = true;
    e->doors.bans_by_hand++;
    text_keep(b, buf_bytes(&text));
    LOG(BANNED, LOG_TEXT("client", ban_text(b)), LOG_NUM("for_s", for_ms / 1000), LOG_NUM("count", b->count),
        LOG_STR("by", "postmaster"));
    ban_changed(e, b, now);
    return wards_save(e, now);
}

/* --- logins --- */

static struct ward_login *login_find(struct wards *w, struct bytes name)
{
    for (size_t i = 0; i < w->login_count; i++)
        if (bytes_equal(login_name(&w->logins[i]), name))
            return &w->logins[i];
    return NULL;
}

static struct ward_login *login_take(struct wards *w, struct bytes name, struct walltime now)
{
    struct ward_login *l = login_find(w, name);

    if (l != NULL || name.size > sizeof l->name)
        return l;
    if (w->login_count < WARDS_LOGIN_MAX) {
        l = &w->logins[w->login_count++];
    } else {
        for (size_t i = 0; i < w->login_count; i++) {
            struct ward_login *other = &w->logins[i];
            if (!other->held && (l == NULL || other->bucket < l->bucket))
                l = other;
        }
        if (l == NULL)
            return NULL;
        l->bucket = 0;
        (void)now;
    }
    *l = (struct ward_login){.size = (uint16_t)name.size};
    memcpy(l->name, name.data, name.size);
    return l;
}

bool wards_login_is_held(struct engine *e, struct bytes login, uint32_t recipients, struct walltime now)
{
    const struct rate *quota = &e->cfg->rates.login_quota;
    struct ward_login *l;

    if (login.size == 0 || (quota->count == 0 && e->wards->login_count == 0))
        return false;
    l = quota->count > 0 ? login_take(e->wards, login, now) : login_find(e->wards, login);
    if (l == NULL || l->held)
        return l != NULL;
    if (quota->count == 0)
        return false;
    l->dirty = true;
    save_soon(e->wards, now);
    if (rate_take(quota, &l->bucket, now.ms, recipients))
        return false;
    l->held = l->wants_scan = true;
    l->wants_alert = now.ms - l->alerted.ms >= ALERT_EVERY_MS;
    e->wards->alerts = true;
    LOG(LOGIN_HELD, LOG_TEXT("login", login), LOG_NUM("recipients", recipients));
    return true;
}

/* By what the list calls it. */
static struct ward_ban *login_ban_find(struct wards *w, struct bytes who)
{
    for (size_t i = 0; i < w->ban_count; i++)
        if (ban_is_login(&w->bans[i]) && bytes_equal(ban_text(&w->bans[i]), who))
            return &w->bans[i];
    return NULL;
}

RESULT engine_unban(struct engine *e, struct bytes who, struct walltime now, uint32_t *count_out)
{
    struct ward_login *l = login_find(e->wards, who);
    struct ward_ban *b;
    uint64_t block;

    *count_out = 0;
    if (l != NULL && l->held) {
        l->held = l->wants_scan = l->wants_alert = false;
        l->bucket = 0;
        l->dirty = true;
        *count_out = 1;
    }
    b = block_read(e->cfg, who, &block) ? ban_find(e->wards, block) : login_ban_find(e->wards, who);
    if (b != NULL && !b->gone) {
        b->gone = true;
        ban_changed(e, b, now);
        *count_out = 1;
    }
    if (*count_out == 0)
        return OK;
    LOG(BAN_LIFTED, LOG_TEXT("client", who));
    save_soon(e->wards, now);
    return wards_save(e, now);
}

void wards_count(struct engine *e, struct walltime now, uint64_t *bans_out, uint64_t *held_out)
{
    struct ward_view view;

    *bans_out = *held_out = 0;
    for (size_t cursor = 0; engine_ban_next(e, &cursor, now, &view);)
        (*(view.held ? held_out : bans_out))++;
}

bool engine_ban_next(struct engine *e, size_t *cursor, struct walltime now, struct ward_view *view_out)
{
    struct wards *w = e->wards;

    while (*cursor < w->ban_count) {
        const struct ward_ban *b = &w->bans[(*cursor)++];
        if (b->gone || b->until.ms <= now.ms)
            continue;
        *view_out = (struct ward_view){
            .who = ban_text(b), .login = ban_is_login(b), .by_hand = b->by_hand, .until = b->until, .count = b->count};
        if (b->until.ms == FOR_EVER_MS)
            view_out->until.ms = 0;
        return true;
    }
    while (*cursor - w->ban_count < w->login_count) {
        const struct ward_login *l = &w->logins[(*cursor)++ - w->ban_count];
        if (!l->held)
            continue;
        *view_out = (struct ward_view){.who = login_name(l), .login = true, .held = true};
        return true;
    }
    return false;
}

/* --- what follows from a quota that is used up --- */

static RESULT alert_write(struct engine *e, const struct ward_login *l, struct message_id id, struct walltime now,
    struct bytes to, struct buf *out)
{
    TRY(buf_put_str(out, "Date: "));
    TRY(walltime_put_date(out, now));
    TRY(buf_put_str(out, "\r\nFrom: Mail Delivery System <MAILER-DAEMON@"));
    TRY(buf_put(out, e->cfg->hostname));
    TRY(buf_put_str(out, ">\r\nTo: <"));
    TRY(buf_put(out, to));
    TRY(buf_put_str(out, ">\r\nMessage-ID: <"));
    TRY(message_id_put(out, id));
    TRY(buf_put_str(out, ".quota@"));
    TRY(buf_put(out, e->cfg->hostname));
    TRY(buf_put_str(out, ">\r\nAuto-Submitted: auto-generated\r\nMIME-Version: 1.0\r\n"
                         "Content-Type: text/plain; charset=utf-8\r\nContent-Transfer-Encoding: 8bit\r\n"
                         "Subject: A login sends more than it may; its mail is held\r\n\r\n"
                         "The login\r\n\r\n    "));
    for (size_t i = 0; i < l->size; i++)
        TRY(buf_put_octet(out, l->name[i] < ' ' || l->name[i] == 0x7f ? '?' : l->name[i]));
    return buf_put_str(out,
        "\r\n\r\nhas used up its quota (rates.login_quota). Its password may be stolen. What it has in the\r\n"
        "queue and what it still sends is held.\r\n\r\n"
        "Look:      queuectl list held\r\n"
        "Password:  queuectl user passwd LOGIN\r\n"
        "All well:  queuectl ban clear LOGIN, then queuectl release FILTER\r\n"
        "Stolen:    queuectl delete FILTER, then queuectl ban clear LOGIN\r\n");
}

static RESULT alert_rows(struct engine *e, void *context, struct walltime now, uint32_t *count_out)
{
    uint8_t lane_room[LANE_NAME_SIZE_MAX], to_room[DOMAIN_SIZE_MAX + 16], room[ALERT_SIZE_MAX];
    struct buf lane = BUF(lane_room), to = BUF(to_room), body = BUF(room);
    const struct ward_login *l = context;
    struct route_choice choice;
    struct message_id id;

    (void)count_out;
    TRY(buf_put_str(&to, "postmaster@"));
    TRY(buf_put(&to, e->cfg->hostname));
    TRY(engine_route_first(e, BYTES_NONE, &(struct recipient){.forward_path = buf_bytes(&to)}, &lane, &choice));
    if (choice.kind == ROUTE_CHOICE_DISCARD || choice.kind == ROUTE_CHOICE_ERROR)
        return OK; /* nobody reads it; the event is in the log */
    TRY(engine_take_id(e, &id));
    TRY(alert_write(e, l, id, now, buf_bytes(&to), &body));
    struct envelope_head head = {.id = id,
        .arrival = now,
        .body_size = body.size,
        .rcpt_count = 1,
        .body_type = BODY_8BITMIME,
        .flags = ENVELOPE_BODY_8BIT,
        .origin = ORIGIN_DSN,
        .client = BYTES("queue")};
    struct recipient rcpt = {.forward_path = buf_bytes(&to),
        .notify = DSN_NOTIFY_NEVER,
        .lane = choice.lane,
        .state = choice.kind == ROUTE_CHOICE_HOLD ? RECIPIENT_HELD : RECIPIENT_WAITING,
        .next_try = now};
    TRY(store_body_put(e->store, id, 0, buf_bytes(&body)));
    TRY(store_message_put(e->store, &head));
    TRY(store_recipient_put(e->store, id, &rcpt));
    if (rcpt.state == RECIPIENT_HELD)
        return OK;
    return effect_add(e, &(struct effect){.kind = EFFECT_LANE_DUE, .lane = choice.lane, .due = now});
}

static void alerts_send(struct engine *e, struct walltime now)
{
    struct wards *w = e->wards;
    uint32_t count;

    w->alerts = false;
    for (size_t i = 0; i < w->login_count; i++) {
        struct ward_login *l = &w->logins[i];
        if (l->wants_scan && !w->scanning) {
            w->scanning = true;
            w->scanned = i;
            w->place = (struct store_place){{0}, 0};
        }
        if (!l->wants_alert)
            continue;
        if (!is_ok(portion_commit(e, alert_rows, l, now, &count)))
            return; /* the event is there; with the next one it is tried again */
        l->wants_alert = false;
        l->alerted = now;
        l->dirty = true;
        save_soon(w, now);
    }
}

/* The next of the login's recipients in the queue, up to one transaction's worth; true at the end of the queue. */
static bool backlog_find(struct engine *e, struct bytes login, struct order_target *targets, size_t *count_out)
{
    struct message_id id = {0}, last = {0};
    struct envelope_head head;
    struct recipient rcpt;
    bool his = false;

    *count_out = 0;
    for (unsigned i = 0; i < SCAN_MAX && *count_out < ORDER_TARGETS_MAX; i++) {
        struct result r = store_recipient_walk(e->store, &e->wards->place, &id, &rcpt);
        if (!is_ok(r))
            return r.code == CODE_GONE;
        if (!message_id_equal(id, last))
            his = is_ok(store_message_get(e->store, id, &head)) && head.origin != ORIGIN_LOCAL &&
                  bytes_equal(head.login, login);
        last = id;
        if (his && rcpt.state == RECIPIENT_WAITING)
            targets[(*count_out)++] = (struct order_target){id, rcpt.n};
    }
    return false;
}

static void backlog_hold(struct engine *e, struct walltime now)
{
    static const struct order hold = {.kind = ORDER_HOLD};
    struct order_target targets[ORDER_TARGETS_MAX];
    struct wards *w = e->wards;
    struct ward_login *l = &w->logins[w->scanned];
    struct store_place before = w->place;
    size_t count;
    uint32_t done;

    if (!is_ok(store_read_begin(e->store)))
        return;
    bool end = backlog_find(e, login_name(l), targets, &count);
    store_read_end(e->store);
    if (count > 0 && !is_ok(engine_order(e, &hold, targets, count, now, &done))) {
        w->place = before;
        w->scan_after = walltime_after(now, SAVE_MS);
        return;
    }
    if (!end)
        return;
    l->wants_scan = false;
    w->scanning = false;
    w->alerts = true; /* perhaps another one waits for it */
}

void wards_turn(struct engine *e, struct walltime now)
{
    if (e->wards->alerts)
        alerts_send(e, now);
    if (e->wards->scanning && walltime_reached(e->wards->scan_after, now))
        backlog_hold(e, now);
    if (e->wards->dirty && walltime_reached(e->wards->save_after, now) && !is_ok(wards_save(e, now)))
        e->wards->save_after = walltime_after(now, SAVE_MS);
}

struct walltime wards_deadline(const struct engine *e)
{
    struct walltime at = e->wards->dirty ? e->wards->save_after : (struct walltime){INT64_MAX};

    if (e->wards->alerts)
        return (struct walltime){0};
    return e->wards->scanning ? walltime_min(at, e->wards->scan_after) : at;
}
