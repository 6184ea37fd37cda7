#include "daemon/queued/engine_parts.h"

static bool config_has_aliases(const struct config *cfg)
{
    for (size_t i = 0; i < cfg->domain_count; i++)
        if (config_domain_has_aliases(&cfg->domains[i]) || cfg->domains[i].system_users)
            return true;
    return config_has_asked_ways(cfg) || cfg->tables[TABLE_SRS_KEYS].size > 0;
}

struct engine *engine_new(const struct engine_setup *setup)
{
    struct engine *e = mem_take_zero(sizeof *e);

    if (e == NULL)
        return NULL;
    e->cfg = setup->config;
    e->has_aliases = config_has_aliases(setup->config);
    e->store = setup->store;
    e->ports = setup->ports;
    e->rng.state = setup->seed;
    e->open = true;
    e->disk_free = UINT64_MAX;
    batch_init(&e->batch);
    arena_init(&e->scratch, SCRATCH_SIZE_MAX);
    e->effects_end = &e->effects;
    e->dsn_room = mem_take(DSN_SIZE_MAX);
    e->scheduler =
        scheduler_new(&(struct scheduler_config){.lane_slots_max = setup->config->limits.connections_per_lane,
                          .slots_max = 0,
                          .backoff = setup->config->retry},
            setup->seed);
    e->wards = wards_new();
    e->standby = standby_new(rng_next(&e->rng));
    if (e->dsn_room == NULL || e->scheduler == NULL || e->wards == NULL || e->standby == NULL)
        engine_free(&e);
    return e;
}

void engine_free(struct engine **e)
{
    struct engine *gone = *e;
    void *value = NULL;

    if (gone == NULL)
        return;
    *e = NULL;
    for (size_t i = 0; map_next(&gone->transactions, &i, &value);)
        tx_free(value);
    for (size_t i = 0; map_next(&gone->jobs, &i, &value);) {
        struct job *job = value;
        arena_fini(&job->arena);
        mem_free(job);
    }
    batch_fini(gone);
    while (gone->peers != NULL) {
        struct engine_peer *next = gone->peers->next;
        mem_free(gone->peers);
        gone->peers = next;
    }
    map_fini(&gone->transactions);
    map_fini(&gone->jobs);
    map_fini(&gone->flights);
    map_fini(&gone->damaged);
    arena_fini(&gone->scratch);
    mem_free(gone->dsn_room);
    wards_free(&gone->wards);
    standby_free(&gone->standby);
    if (gone->scheduler != NULL)
        scheduler_free(&gone->scheduler);
    mem_free(gone);
}

/* --- ids --- */

/* Ids start at the clock, so that two queues (or one that was wiped) do not name two messages alike. */
static uint64_t ids_floor(struct walltime now)
{
    return (uint64_t)(now.ms > 0 ? now.ms : 1) << 10;
}

RESULT engine_ids_reserve(struct engine *e, struct walltime now, struct id_block *block_out)
{
    struct message_id first;

    TRY(store_ids_reserve(e->store, ids_floor(now), IDS_BLOCK_COUNT, &first));
    *block_out = (struct id_block){.next = first.value, .end = first.value + IDS_BLOCK_COUNT};
    return OK;
}

RESULT engine_take_id(struct engine *e, struct message_id *id_out)
{
    if (e->ids.next == e->ids.end) {
        e->ids = e->ids_spare;
        e->ids_spare = (struct id_block){0, 0};
    }
    if (e->ids.next == e->ids.end)
        return FAIL(CODE_FULL, "no message id set aside");
    *id_out = (struct message_id){e->ids.next++};
    return OK;
}

/* --- start, peers --- */

static RESULT lanes_read(struct engine *e)
{
    uint8_t room[LANE_NAME_SIZE_MAX];
    struct bytes after = BYTES_NONE;
    struct bytes lane;
    struct store_due first;
    struct lane_health health;
    struct result r;

    while (is_ok(r = store_due_lane_next(e->store, after, &lane, &first))) {
        TRY(scheduler_lane_due(e->scheduler, lane, first.next_try));
        memcpy(room, lane.data, lane.size);
        after = (struct bytes){room, lane.size};
    }
    if (r.code != CODE_GONE)
        return r;
    after = BYTES_NONE;
    while (is_ok(r = store_lane_next(e->store, after, &lane, &health))) {
        TRY(scheduler_lane_restore(e->scheduler, lane, &health));
        memcpy(room, lane.data, lane.size);
        after = (struct bytes){room, lane.size};
    }
    return r.code == CODE_GONE ? OK : r;
}

static RESULT schedule_read(struct engine *e)
{
    TRY(store_read_begin(e->store));
    struct result r = lanes_read(e);
    if (is_ok(r))
        r = store_paused_get(e->store, &e->paused);
    store_read_end(e->store);
    return r;
}

RESULT engine_start(struct engine *e, struct walltime now)
{
    TRY(store_begin(e->store));
    struct result r = engine_ids_reserve(e, now, &e->ids);
    if (is_ok(r))
        r = engine_ids_reserve(e, now, &e->ids_spare);
    if (!is_ok(r)) {
        store_abandon(e->store);
        return r;
    }
    TRY(store_commit(e->store));
    e->expire_after = walltime_after(now, HISTORY_EXPIRE_EVERY_MS);
    TRY(wards_start(e, now));
    return schedule_read(e);
}

void engine_configure(struct engine *e, const struct config *cfg)
{
    if (cfg->history_keep != e->cfg->history_keep)
        e->expire_after = (struct walltime){0};
    e->cfg = cfg;
    e->has_aliases = config_has_aliases(cfg);
    dispatch_slots_changed(e);
}

void engine_srs(struct engine *e, const struct srs *srs)
{
    e->srs = srs;
}

static void admission_say(struct engine *e, struct engine_peer *peer)
{
    struct bytes reply = e->open     ? BYTES_NONE
                         : e->paused ? BYTES("this server takes no mail just now")
                                     : BYTES("insufficient system storage");

    engine_send(e, peer, &(struct msg){.kind = MSG_admission, .admission = {.accepting = e->open, .reply = reply}});
}

struct engine_peer *engine_peer_add(struct engine *e, enum ipc_role role, void *channel)
{
    struct engine_peer *peer = mem_take_zero(sizeof *peer);

    if (peer == NULL)
        return NULL;
    *peer = (struct engine_peer){.next = e->peers, .role = role, .channel = channel};
    peer->group_end = &peer->group;
    e->peers = peer;
    if (role == ROLE_INBOUND) {
        admission_say(e, peer);
        wards_peer_added(e, peer);
    }
    return peer;
}

void engine_peer_gone(struct engine *e, struct engine_peer *peer, struct walltime now)
{
    for (struct engine_peer **at = &e->peers; *at != NULL; at = &(*at)->next)
        if (*at == peer) {
            *at = peer->next;
            break;
        }
    if (peer->role == ROLE_INBOUND)
        intake_peer_gone(e, peer);
    else
        dispatch_peer_gone(e, peer, now);
    mem_free(peer);
}

void engine_send(struct engine *e, struct engine_peer *peer, const struct msg *msg)
{
    e->ports.send(e->ports.context, peer->channel, msg);
}

/* A process tells of its own sessions; the counters go on when it is gone. */
static void sessions_take(struct engine *e, struct engine_peer *peer, const struct msg_session_fact *fact)
{
    bool goes_on = fact->begun >= peer->sessions_begun && fact->refused >= peer->sessions_refused;

    e->stats.sessions_begun += goes_on ? fact->begun - peer->sessions_begun : 0;
    e->stats.sessions_refused += goes_on ? fact->refused - peer->sessions_refused : 0;
    peer->sessions_begun = fact->begun;
    peer->sessions_refused = fact->refused;
    peer->sessions_open = fact->alive;
}

RESULT engine_receive(struct engine *e, struct engine_peer *peer, const struct msg *msg, struct walltime now)
{
    if (msg->kind == MSG_session_fact) {
        sessions_take(e, peer, &msg->session_fact);
        return OK;
    }
    if (msg->kind == MSG_certificate_fact) {
        const struct msg_certificate_fact *fact = &msg->certificate_fact;
        tally_certificate_set(&e->tls, fact->index, fact->count, fact->name, fact->rsa, (int64_t)fact->ends);
        return OK;
    }
    if (msg->kind == MSG_door_count) {
        tally_door_add(&e->doors, msg->door_count.family, msg->door_count.label, msg->door_count.count);
        return OK;
    }
    if (msg->kind == MSG_dane_fact) {
        e->tls.dane_known = true;
        e->tls.dane_live = msg->dane_fact.live;
        return OK;
    }
    return peer->role == ROLE_INBOUND ? intake_receive(e, peer, msg, now) : dispatch_receive(e, peer, msg, now);
}

/* --- routes --- */

struct bytes path_domain(struct bytes path)
{
    ptrdiff_t at = bytes_rindex(path, '@');

    return at == BYTES_NOT_FOUND ? BYTES_NONE : bytes_after(path, (size_t)at + 1);
}

/* The domain of a path as A-labels, in `room` where it was none. CODE_SYNTAX: it has no such form. */
static RESULT route_domain(const struct engine *e, struct bytes path, struct buf *room, struct bytes *domain_out)
{
    struct bytes domain = path_domain(path);

    *domain_out = domain.size == 0 ? e->cfg->hostname : domain; /* <postmaster> */
    if (!bytes_has_8bit(*domain_out))
        return OK;
    if (!is_ok(idna_to_ascii(domain, room)))
        return FAIL(CODE_SYNTAX, "the domain has no name in the DNS");
    *domain_out = buf_bytes(room);
    return OK;
}

static RESULT routed(struct result r, struct route_choice *choice_out)
{
    if (r.code != CODE_FULL && r.code != CODE_SYNTAX)
        return r;
    *choice_out = (struct route_choice){.kind = ROUTE_CHOICE_ERROR, .lane = BYTES_NONE, .route = NULL};
    return OK;
}

RESULT engine_route(
    struct engine *e, struct bytes sender, struct bytes path, struct buf *lane_room, struct route_choice *choice_out)
{
    uint8_t octets[DOMAIN_SIZE_MAX], path_octets[ADDRESS_SIZE_MAX + DOMAIN_SIZE_MAX];
    struct buf room = BUF(octets), whole = BUF(path_octets);
    struct bytes domain, local_part = bytes_head(path, path.size - path_domain(path).size);
    struct result r = route_domain(e, path, &room, &domain);

    if (is_ok(r) &&
        (local_part.size == path.size || !is_ok(buf_put(&whole, local_part)) || !is_ok(buf_put(&whole, domain))))
        return routed(route_choose(&e->cfg->routes, domain, lane_room, choice_out), choice_out);
    if (is_ok(r))
        r = route_choose_for(&e->cfg->routes, buf_bytes(&whole), sender, lane_room, choice_out);
    return routed(r, choice_out);
}

RESULT engine_route_via(
    struct engine *e, struct bytes path, struct bytes via, struct buf *lane_room, struct route_choice *choice_out)
{
    uint8_t octets[DOMAIN_SIZE_MAX];
    struct buf room = BUF(octets);
    struct bytes domain;
    void *memory = NULL;

    TRY(arena_take(&e->scratch, sizeof(struct route), &memory));
    struct route *route = memory;
    struct result r = route_target_parse(&e->scratch, via, &route->target);
    if (is_ok(r))
        r = route_domain(e, path, &room, &domain);
    return routed(is_ok(r) ? route_take(route, domain, lane_room, choice_out) : r, choice_out);
}

RESULT engine_route_first(struct engine *e, struct bytes sender, const struct recipient *rcpt, struct buf *lane_room,
    struct route_choice *choice_out)
{
    TRY(engine_route(e, sender, rcpt->forward_path, lane_room, choice_out));
    if (choice_out->route == NULL || bytes_equal(rcpt->lane, BYTES(RECIPIENT_LANE_FINAL)))
        return OK;
    const struct config_domain *domain =
        choice_out->route->is_domain ? config_domain_find(e->cfg, choice_out->route->pattern) : NULL;
    if ((domain != NULL ? config_domain_has_aliases(domain) : config_has_asked_ways(e->cfg)) ||
        config_is_srs_address(e->cfg, rcpt->forward_path)) {
        choice_out->kind = ROUTE_CHOICE_LANE;
        choice_out->lane = LANE_EXPAND;
    }
    return OK;
}

bool engine_may_forward(const struct engine *e, struct bytes path)
{
    const struct config_domain *domain = config_domain_find(e->cfg, path_domain(path));

    return domain != NULL && domain->system_users;
}

/* --- effects --- */

RESULT effect_add(struct engine *e, const struct effect *effect)
{
    void *memory = NULL;

    if (effect->kind == EFFECT_LANE_DUE && e->effects != NULL) {
        struct effect *last = (struct effect *)((char *)e->effects_end - offsetof(struct effect, next));
        if (last->kind == EFFECT_LANE_DUE && last->due.ms == effect->due.ms && bytes_equal(last->lane, effect->lane)) {
            last->number += effect->number;
            return OK; /* a message to many recipients of one lane says it once */
        }
    }
    TRY(arena_take(&e->scratch, sizeof *effect, &memory));
    struct effect *kept = memory;
    *kept = *effect;
    kept->next = NULL;
    TRY(arena_copy(&e->scratch, effect->to, &kept->to));
    TRY(arena_copy(&e->scratch, effect->lane, &kept->lane));
    TRY(arena_copy(&e->scratch, effect->host, &kept->host));
    TRY(arena_copy(&e->scratch, effect->tls, &kept->tls));
    TRY(arena_copy(&e->scratch, effect->reply, &kept->reply));
    *e->effects_end = kept;
    e->effects_end = &kept->next;
    return OK;
}

static void effect_play(struct engine *e, const struct effect *f)
{
    switch (f->kind) {
    case EFFECT_LANE_DUE:
        if (!is_ok(scheduler_lane_due(e->scheduler, f->lane, f->due)))
            e->rescan = true;
        if (f->number > 0)
            tally_lane_in(&e->results, f->lane, (uint64_t)f->number);
        return;
    case EFFECT_DELIVERED:
        e->stats.delivered++;
        tally_lane_add(&e->results, f->lane, TALLY_DELIVERED);
        histogram_add(&e->stats.delivery_delays, tally_delay_bounds_ms, f->number > 0 ? (uint64_t)f->number : 0);
        LOG(DELIVERED, LOG_MSG("id", f->id), LOG_NUM("n", f->n), LOG_TEXT("to", f->to), LOG_TEXT("lane", f->lane),
            LOG_TEXT("host", f->host), LOG_NUM("attempts", f->count), LOG_NUM("delay_ms", f->number),
            LOG_TEXT("tls", f->tls), LOG_TEXT("reply", f->reply));
        return;
    case EFFECT_DEFERRED:
        e->stats.deferred++;
        tally_lane_add(&e->results, f->lane, TALLY_DEFERRED);
        LOG(DEFERRED, LOG_MSG("id", f->id), LOG_NUM("n", f->n), LOG_TEXT("to", f->to), LOG_TEXT("lane", f->lane),
            LOG_TEXT("host", f->host), LOG_NUM("attempts", f->count), LOG_NUM("next_s", f->number),
            LOG_TEXT("reply", f->reply));
        return;
    case EFFECT_FAILED:
        e->stats.failed++;
        tally_lane_add(&e->results, f->lane, TALLY_FAILED);
        LOG(FAILED, LOG_MSG("id", f->id), LOG_NUM("n", f->n), LOG_TEXT("to", f->to), LOG_TEXT("lane", f->lane),
            LOG_TEXT("host", f->host), LOG_NUM("attempts", f->count), LOG_TEXT("reply", f->reply));
        return;
    case EFFECT_DISCARDED:
        LOG(DISCARDED, LOG_MSG("id", f->id), LOG_NUM("n", f->n), LOG_TEXT("to", f->to));
        return;
    case EFFECT_EXPANDED:
        LOG(EXPANDED, LOG_MSG("id", f->id), LOG_NUM("n", f->n), LOG_TEXT("to", f->to), LOG_NUM("children", f->count));
        return;
    case EFFECT_SENDER_FORWARDED:
        LOG(SENDER_FORWARDED, LOG_MSG("id", f->id), LOG_NUM("n", f->n), LOG_TEXT("to", f->to),
            LOG_TEXT("from", f->from), LOG_TEXT("as", f->reply));
        return;
    case EFFECT_SENDER_TOO_LONG:
        LOG(SENDER_TOO_LONG, LOG_MSG("id", f->id), LOG_NUM("n", f->n), LOG_TEXT("to", f->to),
            LOG_TEXT("from", f->from));
        return;
    case EFFECT_MESSAGE_DONE:
        LOG(MESSAGE_DONE, LOG_MSG("id", f->id));
        return;
    case EFFECT_DSN_QUEUED:
        e->stats.dsns++;
        LOG(DSN_QUEUED, LOG_MSG("id", f->id), LOG_MSG("for", f->other), LOG_TEXT("to", f->to),
            LOG_TEXT("kind", f->reply));
        return;
    case EFFECT_DOUBLE_BOUNCE:
        LOG(DOUBLE_BOUNCE, LOG_MSG("id", f->id), LOG_TEXT("to", f->to), LOG_TEXT("reply", f->reply));
        return;
    }
}

void engine_effects_play(struct engine *e)
{
    for (const struct effect *f = e->effects; f != NULL; f = f->next)
        effect_play(e, f);
    e->effects = NULL;
    e->effects_end = &e->effects;
}

/* --- the turn --- */

void engine_disk_free(struct engine *e, uint64_t free_size)
{
    e->disk_free = free_size;
}

static void admission_check(struct engine *e)
{
    uint64_t room = store_room(e->store);
    bool roomy = room > ROOM_MIN && e->disk_free > e->cfg->limits.min_free;
    bool open = roomy && !e->paused;

    if (open == e->open && e->open_known)
        return;
    e->open = open;
    e->open_known = true;
    if (!roomy)
        LOG(QUEUE_FULL, LOG_STR("why", room > ROOM_MIN ? "the file system is short of space" : "queue_size is reached"),
            LOG_NUM("free", room > ROOM_MIN ? e->disk_free : room));
    for (struct engine_peer *p = e->peers; p != NULL; p = p->next)
        if (p->role == ROLE_INBOUND)
            admission_say(e, p);
}

void engine_turn(struct engine *e, struct walltime now)
{
    struct store_noted noted;

    batch_waits_settle(e, now);
    e->results.now = now;
    if (store_noted(e->store, 0, &noted)) /* whoever met it, a listing or a command as well */
        e->batch.quarantine = true;
    batch_commit(e, now);
    wards_turn(e, now);
    if (e->rescan)
        e->rescan = !is_ok(schedule_read(e));
    admission_check(e);
    dispatch_turn(e, now);
}

struct walltime engine_deadline(const struct engine *e)
{
    struct walltime at = walltime_min(scheduler_deadline(e->scheduler), wards_deadline(e));

    return walltime_min(at, batch_deadline(e));
}

void engine_stats_get(const struct engine *e, struct engine_stats *stats_out)
{
    *stats_out = e->stats;
    for (const struct engine_peer *peer = e->peers; peer != NULL; peer = peer->next)
        stats_out->sessions_open += peer->sessions_open;
    stats_out->transactions = (uint32_t)e->transactions.count;
    stats_out->jobs = (uint32_t)e->jobs.count;
    stats_out->open = e->open;
    stats_out->paused = e->paused;
}

const struct tally_lanes *engine_results(const struct engine *e)
{
    return &e->results;
}

const struct tally_tls *engine_tls(const struct engine *e)
{
    return &e->tls;
}

const struct tally_doors *engine_doors(const struct engine *e)
{
    return &e->doors;
}

struct scheduler *engine_scheduler(struct engine *e)
{
    return e->scheduler;
}

struct store *engine_store(struct engine *e)
{
    return e->store;
}
