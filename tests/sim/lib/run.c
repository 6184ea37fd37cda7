#include "tests/sim/lib/run.h"

#include <sys/stat.h>
#include <unistd.h>

#include "tests/sim/lib/client.h"
#include "tests/sim/lib/edge_files.h"
#include "tests/sim/lib/fair.h"
#include "tests/sim/lib/heap.h"
#include "tests/sim/lib/house.h"
#include "tests/sim/lib/kin.h"
#include "tests/sim/lib/sink.h"
#include "tests/support/disk.h"
#include "tests/support/folder.h"

static const char config_text[] =
    "hostname = \"" OUR_HOSTNAME "\"\n"
    "over_quota = \"30d\"\n" /* the ledger takes a 452 for what may go away until the end */
    "relay_from = { \"10.0.0.0/8\" }\n"
    "limits { connections_per_lane = 4 recipients = 150 min_free = 0 queue_size = \"256M\" }\n"
    "listen smtp { address = \"127.0.0.1:25\" proxy_from = { \"172.16.0.0/16\" } xclient_from = { \"172.17.0.0/16\" } "
    "}\n"
    "listen submission { address = \"127.0.0.1:587\" tls = \"required\" auth = true bcc = \"strip\" }\n"
    "listen submissions { address = \"127.0.0.1:465\" tls = \"implicit\" auth = true bcc = \"split\" }\n"
    "tls { certificate = \"/etc/sim/cert.pem\" key = \"/etc/sim/key.pem\" }\n"
    "domain \"" KIN_DOMAIN "\" { maildir = \"%s/mail/%%d/%%u\" aliases = \"%s/aliases\" users = \"%s/users\" }\n"
    "domain \"home.test\" { deliver = \"lmtp:[store.home.test]:24\" }\n"
    "domain \"" OUR_HOSTNAME "\" { deliver = \"lmtp:[store.home.test]:24\" }\n"
    "route \"relayed.test\" { via = \"relay:[%s]:25,[%s]:25\" }\n"
    "route \"void.test\" { via = \"discard\" }\n"
    "route \"bad.test\" { via = \"error:5.1.1 nobody lives there\" }\n"
    "route \"held.test\" { via = \"hold\" }\n"
    "history_keep = \"%s\"\n";

static struct {
    const struct run_options *o;
    unsigned messages_left;
    int64_t mail_until_ms, calm_at_ms;
    struct world_timer mail, chaos, calm, hour, list;
    bool drained, failed;
} scene;

/* --- the log of the daemon's own objects --- */

void __wrap_log_emit(enum log_event event, const struct log_field *fields, size_t field_count);

void __wrap_log_emit(enum log_event event, const struct log_field *fields, size_t field_count)
{
    static const struct log_config cfg = {.process = "sim", .journal = true};
    static uint8_t room[8192];
    struct buf line = BUF(room);

    ledger_log(event, fields, field_count);
    if (!world.talk)
        return;
    log_line_put(&line, &cfg, world_walltime(), event, fields, field_count);
    world_say("%.*s", (int)(line.size > 0 ? line.size - 1 : 0), (const char *)line.data);
}

/* --- who sends when --- */

static void on_mail(void *ctx)
{
    unsigned count = (unsigned)world_between(1, 3);

    (void)ctx;
    if (count > scene.messages_left)
        count = scene.messages_left;
    client_start(count);
    scene.messages_left -= count;
    if (scene.messages_left == 0)
        return;
    if (world.now_ms >= scene.mail_until_ms)
        scene.mail_until_ms = world.now_ms + MINUTE;
    int64_t pause = (scene.mail_until_ms - world.now_ms) / (scene.messages_left + 1);
    world_timer_set(
        &scene.mail, world.now_ms + (world_chance(400) ? world_between(0, 50) : world_between(0, 2 * pause + 1)));
}

/* --- what breaks when --- */

static void kill_one(void)
{
    switch (world_below(9)) {
    case 8:
        world_fault(FAULT_CRASH_AUTH);
        house_kill_auth();
        break;
    case 6:
        world_fault(FAULT_CRASH_LOOKUP);
        house_kill_lookup();
        break;
    case 7:
        files_crash_in(1 + world_below(30), scene.o->power && world_chance(500));
        break;
    case 0:
        world_fault(FAULT_CRASH_INBOUND);
        house_kill_inbound((unsigned)world_below(HOUSE_INBOUND));
        break;
    case 1:
    case 2:
        world_fault(FAULT_CRASH_OUTBOUND);
        house_kill_outbound((unsigned)world_below(HOUSE_OUTBOUND));
        break;
    case 3:
        world_fault(FAULT_STOP_OUTBOUND);
        house_drain_outbound((unsigned)world_below(HOUSE_OUTBOUND));
        break;
    case 4:
        if (scene.o->power && house_is_up()) {
            size_t now = disk_event_count();
            house_cut_at(now + world_below(6), rng_next(&world.rng));
            break;
        }
        /* fall through */
    default:
        world_fault(FAULT_CRASH_QUEUED);
        house_kill_queued();
        break;
    }
}

static void on_chaos(void *ctx)
{
    (void)ctx;
    if (world.now_ms >= scene.calm_at_ms)
        return;
    if (world_chance(100))
        house_order_any();
    else if (world_chance(40))
        house_clock_jump(world_between(-6 * (int64_t)HOUR, 6 * (int64_t)HOUR));
    else if (world_chance(60)) {
        world_fault(FAULT_LIST_AWAY);
        kin_list_away(true);
        world_timer_set(&scene.list, world.now_ms + world_between(SECOND, HOUR));
    } else if (world_chance(60))
        files_fork_fail(1 + world_below(3), 1 + world_below(3));
    else if (world_chance(100))
        files_fail_in(1 + world_below(20));
    else if (world_chance(150))
        house_retry_all();
    else if (world_chance(150))
        house_hold(world_chance(500));
    else if (!scene.o->quiet)
        kill_one();
    /* Often while mail is on its way, rarely in the days of waiting. */
    world_timer_set(&scene.chaos,
        world.now_ms + (world_chance(500) ? world_between(10, 2000) : world_between(MINUTE, 10 * (int64_t)HOUR)));
}

static void on_list(void *ctx)
{
    (void)ctx;
    kin_list_away(false);
}

/* Whether what was to fail has failed, before it is switched off. */
static void failure_look(void)
{
    if (scene.o->fail_call_nth > 0 && world.fail_left == 0)
        scene.failed = true;
    if (scene.o->calls_out != NULL)
        *scene.o->calls_out = scene.o->fail_call_nth - world.fail_left;
    if (scene.o->fail_memory > 0 && mem_fail_left() == 0) {
        scene.failed = true;
        world_fault(FAULT_NO_MEMORY);
    }
    if (scene.o->fail_disk > 0 && disk_failed_count() > 0) {
        scene.failed = true;
        world_fault(scene.o->fail_error == EIO ? FAULT_DISK_ERROR : FAULT_DISK_FULL);
    }
}

static void on_calm(void *ctx)
{
    (void)ctx;
    world_say("from now on everything works");
    places_calm();
    house_cut_at(SIZE_MAX, 0);
    failure_look();
    world.fail_left = 0;
    disk_fail_nth(0, 0, DISK_FAULT_REFUSED, 0);
    mem_fail_nth(0);
    files_crash_in(0, false);
    files_fail_in(0);
    files_fork_fail(0, 0);
    if (scene.list.place != 0) {
        world_timer_stop(&scene.list);
        kin_list_away(false);
    }
    house_lanes_free();
    house_release_all();
}

/* Once an hour: whether all is done. */
static void on_hour(void *ctx)
{
    (void)ctx;
    if (places.calm)
        house_lanes_free(),
            house_release_all(); /* what was accepted meanwhile for a held domain, and what queued was down for */
    if (places.calm && scene.messages_left == 0 && client_count() == 0 && house_is_idle() &&
        ledger_open_letters() == 0) {
        scene.drained = true;
        return;
    }
    world_timer_set(&scene.hour, world.now_ms + HOUR);
}

/* --- one run --- */

static void folder_choose(char path_out[FOLDER_SIZE_MAX])
{
    struct stat st;

    if (getenv("TMPDIR") == NULL && stat("/dev/shm", &st) == 0 && access("/dev/shm", W_OK) == 0)
        setenv("TMPDIR", "/dev/shm", 1);
    folder_make(path_out);
}

static void figures_add(struct run_figures *t, uint32_t letters)
{
    t->runs++;
    t->steps += world.step;
    t->letters += letters;
    t->accepted += ledger.accepted;
    t->recipients += ledger.recipients;
    t->delivered += ledger.delivered;
    t->failed += ledger.failed;
    t->dsns += ledger.dsns;
    t->deleted += ledger.deleted;
    t->expanded += ledger.expanded;
    t->no_space += ledger.no_space;
    t->local_copies += ledger.local_copies;
    t->deferrals += ledger.deferrals;
    t->attempts += ledger.attempts;
    t->doubles += ledger.doubles;
    for (int i = 0; i < DOUBLE_REASON_COUNT; i++)
        t->doubles_by[i] += ledger.doubles_by[i];
    t->simulated_hours += (uint64_t)(world.now_ms / HOUR);
    if ((uint64_t)ledger.worst_wait_ms > t->worst_wait_ms)
        t->worst_wait_ms = (uint64_t)ledger.worst_wait_ms;
    if (fair_worst_turns() > t->worst_turns)
        t->worst_turns = fair_worst_turns();
    for (int i = 0; i < FAULT_COUNT; i++)
        t->faults[i] += world.faults[i];
    t->wrong += world.wrong;
}

static struct config *config_make(const char *folder)
{
    static const char *const keeps[] = {"0s", "0s", "1h", "1h", "1h", "1h", "1h", "1h", "1h", "7d"};
    char text[2048];
    struct config *cfg = NULL;
    struct config_error error = {""};
    const struct domain *relayed = domain_find(BYTES("relayed.test"));

    int size = snprintf(text, sizeof text, config_text, folder, folder, folder, relayed->hosts[0]->name,
        relayed->hosts[relayed->host_count - 1]->name, keeps[world_below(COUNT_OF(keeps))]);
    ASSERT(size > 0 && (size_t)size < sizeof text);
    struct result r = config_read_text("sim", bytes_of(text), &cfg, &error);
    if (!is_ok(r))
        fprintf(stderr, "sim: %s\n", error.text);
    ASSERT(is_ok(r));
    return cfg;
}

static struct net_end *dial_connect(const struct conn_dial *to)
{
    return sink_connect(places_host_at(to));
}

static void scene_set(const struct run_options *o)
{
    scene.o = o;
    scene.drained = scene.failed = false;
    scene.messages_left = o->messages > 0 ? o->messages : (unsigned)world_between(5, 40);
    scene.mail_until_ms = (int64_t)o->days * DAY;
    if (world_chance(500)) /* all at once, as after an outage of somebody else */
        scene.mail_until_ms = 5 * MINUTE;
    scene.calm_at_ms = scene.mail_until_ms + world_between(HOUR, 8 * (int64_t)DAY);
    scene.mail = (struct world_timer){.fn = on_mail};
    scene.chaos = (struct world_timer){.fn = on_chaos};
    scene.calm = (struct world_timer){.fn = on_calm};
    scene.hour = (struct world_timer){.fn = on_hour};
    scene.list = (struct world_timer){.fn = on_list};
    world_timer_set(&scene.mail, SECOND);
    world_timer_set(&scene.chaos, 2 * SECOND);
    world_timer_set(&scene.calm, scene.calm_at_ms);
    world_timer_set(&scene.hour, HOUR);
}

static void scene_end(void)
{
    struct world_timer *const timers[] = {&scene.mail, &scene.chaos, &scene.calm, &scene.hour, &scene.list};

    for (size_t i = 0; i < COUNT_OF(timers); i++)
        world_timer_stop(timers[i]);
}

/* What a run leaves behind the next one of this process would meet. */
static void leftovers_look(size_t edge_left, size_t held_before)
{
    const struct {
        size_t count;
        const char *words;
    } left[] = {{client_count(), "clients"}, {sink_count(), "hosts"}, {net_open_count(), "connections"},
        {files_helper_count(), "programs"}, {edge_left, "loops, descriptors or channels"}, {world.heap_count, "timers"},
        {heap_held() - held_before, "octets of the daemon's heap"}};

    for (size_t i = 0; i < COUNT_OF(left); i++)
        if (left[i].count > 0)
            world_wrong("the run leaves %zu %s behind", left[i].count, left[i].words);
}

/* After the last letter: every connection must end by itself. */
static void wind_down(void)
{
    int64_t until = world.now_ms + 3 * HOUR;

    while (world_step(until) && (net_open_count() > 0 || sink_count() > 0))
        continue;
    if (client_count() > 0 || sink_count() > 0)
        world_wrong("%zu clients and %zu hosts are still connected", client_count(), sink_count());
}

unsigned run_once(const struct run_options *o, struct run_figures *total)
{
    char folder[FOLDER_SIZE_MAX], path[FOLDER_SIZE_MAX + 8];
    bool disk = o->power || o->cut_at != SIZE_MAX || o->fail_disk > 0 || o->events_out != NULL;

    size_t held_before = heap_held();

    folder_choose(folder);
    (void)snprintf(path, sizeof path, "%s/queue", folder);
    world_begin(o->seed, o->talk);
    world.now_ms = 1;
    world_say("seed %" PRIu64, o->seed);
    world.turn_end = edge_turn_end;
    world.fail_call = o->fail_call;
    world.fail_left = o->fail_call_nth;
    places_begin();
    clients_begin(o->heavy);
    fair_begin();
    edge_ports = (struct edge_ports){.dial_fate = places_dial_fate, .dial_connect = dial_connect, .dns = places_dns};
    char mail[FOLDER_SIZE_MAX + 8];
    (void)snprintf(mail, sizeof mail, "%s/mail", folder);
    kin_begin(folder);
    files_begin(mail);
    struct config *cfg = config_make(folder);
    ledger_open(cfg);
    if (disk) {
        ASSERT(mkdir(path, 0700) == 0);
        disk_watch(path);
    }
    if (o->fail_memory > 0)
        mem_fail_nth(o->fail_memory);
    if (o->fail_disk > 0)
        disk_fail_nth(o->fail_disk, o->fail_disk_count,
            o->fail_short          ? DISK_FAULT_SHORT
            : o->fail_error == EIO ? DISK_FAULT_LOST
                                   : DISK_FAULT_REFUSED,
            o->fail_error);
    house_open(&(struct house_setup){
        .cfg = cfg, .path = path, .disk = disk, .size_max = o->map_size > 0 ? o->map_size : 256 << 20});
    if (o->cut_at != SIZE_MAX)
        house_cut_at(o->cut_at, o->cut_fate);
    scene_set(o);
    while (!scene.drained && world.wrong == 0 && world_step(scene.calm_at_ms + 12 * (int64_t)DAY))
        if (o->break_at > 0 && world.step >= o->break_at)
            world.wrong++;
    bool sound = world.wrong == 0;
    if (o->held_out != NULL) {
        for (int64_t until = world.now_ms + HOUR; world_step(until);)
            continue; /* lanes and connections that nobody needs any more go */
        house_spares_drop();
        *o->held_out = heap_held() - held_before;
    }
    if (sound && !scene.drained)
        world_wrong("%u letters are not over", ledger_open_letters());
    if (sound)
        wind_down();
    if (o->events_out != NULL)
        *o->events_out = disk_event_count();
    if (o->failed_out != NULL)
        *o->failed_out = scene.failed;
    uint32_t letters = ledger.letter_count;
    scene_end();
    house_close();
    if (disk) {
        disk_fail_nth(0, 0, DISK_FAULT_REFUSED, 0);
        disk_forget();
    }
    if (sound) {
        ledger_close(scene.drained);
    }
    if (total != NULL)
        figures_add(total, letters);
    mem_fail_nth(0);
    files_crash_in(0, false);
    files_fail_in(0);
    files_fork_fail(0, 0);
    config_free(&cfg);
    for (int64_t until = world.now_ms + DAY; world_step(until);)
        continue; /* what is closed is freed */
    if (o->print_out != NULL)
        *o->print_out = world.rng.state ^ world.step;
    leftovers_look(edge_fini(), held_before);
    boxes_end();
    unsigned wrong = world.wrong;
    ledger_free();
    world_end();
    files_end();
    folder_remove(folder);
    return wrong;
}

void run_figures_print(const struct run_figures *f)
{
    static const struct {
        const char *name;
        size_t at;
        const char *words;
    } rows[] = {
        {"runs", offsetof(struct run_figures, runs), "runs, one a seed"},
        {"hours", offsetof(struct run_figures, simulated_hours), "simulated hours"},
        {"events", offsetof(struct run_figures, steps), "events"},
        {"letters", offsetof(struct run_figures, letters), "messages, notifications included"},
        {"accepted", offsetof(struct run_figures, accepted), "messages whose client heard 250"},
        {"recipients", offsetof(struct run_figures, recipients), "recipients accepted"},
        {"delivered", offsetof(struct run_figures, delivered), "recipients delivered"},
        {"failed", offsetof(struct run_figures, failed), "recipients failed"},
        {"dsns", offsetof(struct run_figures, dsns), "notifications, each read and compared"},
        {"attempts", offsetof(struct run_figures, attempts), "attempts"},
        {"expanded", offsetof(struct run_figures, expanded), "recipients expanded, each compared with its aliases"},
        {"copies", offsetof(struct run_figures, local_copies), "copies in mailboxes and programs"},
        {"deleted", offsetof(struct run_figures, deleted), "recipients deleted by the postmaster"},
        {"deferrals", offsetof(struct run_figures, deferrals), "attempts put off"},
        {"doubles", offsetof(struct run_figures, doubles), "second copies, each with its reason (Q4)"},
        {"doubles_reply", offsetof(struct run_figures, doubles_by[DOUBLE_REPLY_LOST]), "of these: a reply was lost"},
        {"doubles_cut", offsetof(struct run_figures, doubles_by[DOUBLE_POWER_CUT]), "the power was cut"},
        {"doubles_queued", offsetof(struct run_figures, doubles_by[DOUBLE_QUEUED_DIED]), "queued died"},
        {"doubles_outbound", offsetof(struct run_figures, doubles_by[DOUBLE_OUTBOUND_DIED]), "outbound died"},
        {"doubles_local", offsetof(struct run_figures, doubles_by[DOUBLE_LOCAL_DIED]), "local died"},
        {"worst_wait_ms", offsetof(struct run_figures, worst_wait_ms),
            "ms: the longest that mail for a sound host waited past its time"},
        {"worst_turns", offsetof(struct run_figures, worst_turns),
            "jobs of other lanes, at most, that went before one of a lane that was ready"},
    };

    for (size_t i = 0; i < COUNT_OF(rows); i++)
        printf("figure %s %" PRIu64 " %s\n", rows[i].name,
            *(const uint64_t *)(const void *)((const char *)f + rows[i].at), rows[i].words);
    for (enum fault i = 0; i < FAULT_COUNT; i++)
        printf("figure fault%d %" PRIu64 " %s\n", (int)i, f->faults[i], world_fault_words(i));
    printf("figure wrong %u properties broken\n", f->wrong);
}
