/* The postmaster's hand: orders to the engine itself, and requests as the control socket takes them. */
#include "daemon/queued/control.h"

#include <stdarg.h>

#include "tests/sim/lib/house_parts.h"
#include "tests/sim/lib/ledger_parts.h"

static void order_letter(struct letter *l, enum order_kind kind)
{
    struct order_target targets[ORDER_TARGETS_MAX];
    size_t room = l->fate_count < ORDER_TARGETS_MAX ? l->fate_count : ORDER_TARGETS_MAX;
    uint32_t count = 0;

    for (size_t n = 0; n < room; n++)
        targets[n] = (struct order_target){.id = l->id, .n = (uint32_t)n};
    ledger.turn++;
    struct result r =
        engine_order(house.engine, &(struct order){.kind = kind}, targets, room, world_walltime(), &count);
    world_say("the postmaster's order %d for letter %u: %u, %s", (int)kind, l->number, count, is_ok(r) ? "ok" : r.why);
}

/* All letters that are not over. */
static void order_all(enum order_kind kind)
{
    for (uint32_t i = 1; i <= ledger.letter_count; i++)
        if (ledger.letters[i]->committed && !ledger.letters[i]->over)
            order_letter(ledger.letters[i], kind);
}

void house_retry_all(void)
{
    if (house.engine == NULL)
        return;
    world_fault(FAULT_HAND_RETRY);
    order_all(ORDER_RETRY);
    engine_hurry(house.engine, world_walltime());
    house_turn_wanted();
}

void house_hold(bool held)
{
    if (house.engine == NULL || ledger.letter_count == 0)
        return;
    struct letter *l = ledger.letters[1 + world_below(ledger.letter_count)];
    if (!l->committed || l->over)
        return;
    world_fault(FAULT_HAND_HOLD);
    order_letter(l, held ? ORDER_HOLD : ORDER_RELEASE);
    house_turn_wanted();
}

void house_release_all(void)
{
    if (house.engine == NULL)
        return;
    order_all(ORDER_RELEASE);
    house_turn_wanted();
}

/* --- by the control socket --- */

static struct world_timer lanes_free;
static bool lanes_bound;

static RESULT port_order(void *context, const struct order *order, const struct order_target *targets, size_t count,
    struct walltime now, uint32_t *count_out)
{
    (void)context;
    return engine_order(house.engine, order, targets, count, now, count_out);
}

static RESULT port_retry_lane(
    void *context, struct bytes lane, struct walltime now, uint32_t *count_out, bool *more_out)
{
    (void)context;
    return engine_retry_lane(house.engine, lane, now, count_out, more_out);
}

static void port_hurry(void *context, struct walltime now)
{
    (void)context;
    engine_hurry(house.engine, now);
}

static RESULT port_lane_order(
    void *context, struct bytes lane, enum lane_order order, uint32_t slots, struct walltime now)
{
    (void)context;
    return engine_lane_order(house.engine, lane, order, slots, now);
}

static RESULT port_pause_accepting(void *context, bool paused, struct walltime now)
{
    (void)context;
    return engine_pause_accepting(house.engine, paused, now);
}

static bool port_is_active(void *context, struct message_id id, uint32_t n)
{
    (void)context;
    return engine_is_active(house.engine, id, n);
}

static const struct control_ports ports = {.order = port_order,
    .retry_lane = port_retry_lane,
    .hurry = port_hurry,
    .lane_order = port_lane_order,
    .pause_accepting = port_pause_accepting,
    .is_active = port_is_active};

static void request(const char *format, ...) __attribute__((format(printf, 1, 2)));

/* One request, its answer read to the end. */
static void request(const char *format, ...)
{
    static uint8_t room[CONTROL_ROOM_MIN];
    char text[600];
    struct control c;
    va_list list;

    va_start(list, format);
    int size = vsnprintf(text, sizeof text, format, list);
    va_end(list);
    ASSERT(size > 0 && (size_t)size < sizeof text);
    world_say("the postmaster: %s", text);
    world_fault(FAULT_HAND_ORDER);
    control_init(
        &c, &(struct control_setup){
                .store = house.store, .scheduler = engine_scheduler(house.engine), .ports = &ports, .may_all = true});
    struct bytes in = bytes_of(text);
    for (unsigned pulls = 0; pulls < 1000; pulls++) {
        struct buf out = BUF(room);
        if (!control_busy(&c) && in.size > 0)
            in = bytes_after(in, control_feed(&c, in));
        if (!control_busy(&c))
            break;
        ledger.turn++;
        control_pull(&c, world_walltime(), &out);
        if ((bytes_find(buf_bytes(&out), BYTES("\"code\":\"usage\"")) >= 0 &&
                bytes_find(buf_bytes(&out), BYTES("out of memory")) < 0) ||
            bytes_find(buf_bytes(&out), BYTES("\"end\":true")) + bytes_find(buf_bytes(&out), BYTES("\"error\"")) == -2)
            world_wrong("the postmaster is answered %.*s", BYTES_ARG(buf_bytes(&out)));
    }
    control_fini(&c);
    ledger_deleted_look();
    house_turn_wanted();
    house_cut_look();
}

static const char *lane_any(void)
{
    static const char *const lanes[] = {"*", "local", "expand", "mx:steady.test", "mx:d0.test", "mx:d1.test",
        "mx:d2.test", "lmtp:[store.home.test]:24"};

    return lanes[world_below(COUNT_OF(lanes))];
}

void house_lanes_free(void)
{
    world_timer_stop(&lanes_free);
    if (!lanes_bound)
        return;
    if (house.engine == NULL) {
        world_timer_set(&lanes_free, world.now_ms + MINUTE);
        return;
    }
    house.last_down_ms = world.now_ms;
    /* A power cut may end the house behind any of these: then all of them are said again. */
    request("{\"v\":1,\"verb\":\"resume\",\"lane\":\"*\"}\n");
    if (house.engine != NULL)
        request("{\"v\":1,\"verb\":\"limit\",\"lane\":\"*\",\"slots\":0}\n");
    for (unsigned i = 0; i < 8 && house.engine != NULL; i++) {
        const char *lane = lane_any();
        request("{\"v\":1,\"verb\":\"resume\",\"lane\":\"%s\"}\n", lane);
    }
    if (house.engine != NULL)
        request("{\"v\":1,\"verb\":\"unpause\"}\n");
    lanes_bound = house.engine == NULL;
    if (lanes_bound)
        world_timer_set(&lanes_free, world.now_ms + MINUTE);
}

void house_hand_rest(void)
{
    world_timer_stop(&lanes_free);
    lanes_bound = false;
}

static void on_lanes_free(void *ctx)
{
    (void)ctx;
    house_lanes_free();
}

bool house_lanes_bound(void)
{
    return lanes_bound;
}

static void lane_order(void)
{
    static const char *const names[] = {"suspend", "limit", "pause"};
    const char *name = names[world_below(COUNT_OF(names))];

    lanes_bound = true;
    lanes_free.fn = on_lanes_free;
    if (lanes_free.place == 0)
        world_timer_set(&lanes_free, world.now_ms + world_between(SECOND, 2 * HOUR));
    if (strcmp(name, "pause") == 0)
        request("{\"v\":1,\"verb\":\"pause\"}\n");
    else if (strcmp(name, "limit") == 0)
        request("{\"v\":1,\"verb\":\"limit\",\"lane\":\"%s\",\"slots\":%d}\n", lane_any(), (int)world_between(1, 3));
    else
        request("{\"v\":1,\"verb\":\"suspend\",\"lane\":\"%s\"}\n", lane_any());
}

/* What the ledger must know before it happens. */
static void letter_expect(struct letter *l, const char *verb)
{
    for (uint32_t i = 0; i < l->fate_count; i++) {
        struct fate *f = &l->fates[i];
        if (!f->accepted || f->part != 0 || fate_is_resolved(f))
            continue;
        f->delete_asked = strcmp(verb, "undo") == 0 ? false : f->delete_asked || strcmp(verb, "delete") == 0;
        f->bounced = f->bounced || strcmp(verb, "bounce") == 0;
        f->rerouted = f->rerouted || strcmp(verb, "reroute") == 0;
    }
    l->orders = true;
}

void house_order_any(void)
{
    static const char *const verbs[] = {
        "hold", "release", "release", "retry", "delete", "bounce", "reroute", "undo", "undo"};
    static const int windows[] = {0, 60, 3600};
    uint8_t octets[32];
    struct buf id = BUF(octets);

    if (house.engine == NULL || ledger.letter_count == 0)
        return;
    if (world_chance(250)) {
        lane_order();
        return;
    }
    struct letter *l = ledger.letters[1 + world_below(ledger.letter_count)];
    const char *verb = verbs[world_below(COUNT_OF(verbs))];
    if (!l->committed || l->over || !is_ok(message_id_put(&id, l->id)))
        return;
    letter_expect(l, verb);
    char more[80] = "";
    if (strcmp(verb, "delete") == 0 || strcmp(verb, "bounce") == 0)
        (void)snprintf(more, sizeof more, ",\"window\":%d%s", windows[world_below(COUNT_OF(windows))],
            verb[0] == 'b' && world_chance(500) ? ",\"reason\":\"it was too large for you\"" : "");
    else if (strcmp(verb, "reroute") == 0)
        (void)snprintf(more, sizeof more, ",\"lane\":\"mx:steady.test\"");
    request("{\"v\":1,\"verb\":\"%s\",\"id\":\"%.*s\"%s}\n", verb, BYTES_ARG(buf_bytes(&id)), more);
}
