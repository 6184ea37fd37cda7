/* Design. Each inbound process has a desk: its channel and its exchanges by session number.
 * (A1) An exchange has at most one thing under way: a job (a hash on a helper thread, or a question to PAM or Dovecot), or an answer
 *      that waits (`timer`).
 *      inbound sends the next line only after the answer, so a second ask meanwhile is a broken peer: it loses its exchange.
 * (A2) A job belongs to the guard's block from guard_begin to its end, also when its exchange is gone by then.
 * (A3) A user who does not exist, one without SCRAM keys and a wrong password take the same way: hash, delay, AUTH_BAD. */
#include "daemon/auth/auth.h"

#include <sched.h>
#include <unistd.h>

#include "daemon/auth/elsewhere.h"
#include "daemon/auth/exchange.h"
#include "daemon/auth/guard.h"
#include "daemon/auth/roll.h"
#include "daemon/base/log.h"
#include "daemon/base/map.h"
#include "daemon/edge/channel.h"
#include "daemon/edge/work.h"
#include "smtp/base64.h"

enum {
    EXCHANGES_MAX = 16384, /* of one inbound process */
    BUSY_MS = 1000,
    JOBS_MAX = 64, /* waiting for a thread or on it: a few seconds of work */
    THREADS_MAX = 4,
    CLIENT_SIZE_MAX = 64,
    NONCE_OCTETS = 18,
};

struct auth {
    struct process *process;
    struct loop *loop;
    struct roll roll;
    struct elsewhere *elsewhere; /* who judges passwords; NULL: we do, by the roll */
    struct desk *first;
    struct guard guard, logins; /* by address block; by login, from all clients but its acquaintances */
    struct acquaintances acquaintances;
    uint8_t secret[DIGEST_SIZE]; /* of what strangers' SCRAM salts are made */
    bool draining;
};

struct desk {
    struct auth *auth;
    struct desk *next;
    struct channel *channel;
    struct map exchanges;
};

struct job {
    struct auth *auth;
    struct seat *seat; /* NULL: its client is gone */
    uint64_t block;
    bool known, good;
    /* for a hash of ours */
    char password[PASSWORD_SIZE_MAX], hash[ACCOUNT_HASH_SIZE_MAX];
    struct password_room room;
};

/* One session's exchange. */
struct seat {
    struct desk *desk;
    uint64_t session, block;
    bool secured; /* over TLS */
    struct job *job;
    struct loop_timer timer;
    enum auth_outcome late; /* what is said when it is over */
    uint8_t client_room[CLIENT_SIZE_MAX];
    struct buf client;
    struct exchange x;
};

static void answer(const struct desk *desk, uint64_t session, enum auth_outcome outcome, struct bytes text)
{
    struct msg m = {.kind = MSG_auth_answer, .auth_answer = {.session = session, .outcome = outcome, .text = text}};

    if (desk->channel != NULL)
        channel_send(desk->channel, &m);
}

static void seat_free(struct seat *seat)
{
    loop_timer_stop(seat->desk->auth->loop, &seat->timer);
    if (seat->job != NULL)
        seat->job->seat = NULL;
    map_remove(&seat->desk->exchanges, seat->session);
    exchange_wipe(&seat->x);
    mem_free(seat);
}

static void seat_end(struct seat *seat, enum auth_outcome outcome, struct bytes text)
{
    answer(seat->desk, seat->session, outcome, text);
    seat_free(seat);
}

static void on_delay_over(void *ctx)
{
    struct seat *seat = ctx;

    seat_end(seat, seat->late, BYTES_NONE);
}

static void seat_end_later(struct seat *seat, enum auth_outcome outcome, int64_t delay_ms)
{
    struct loop *loop = seat->desk->auth->loop;

    seat->late = outcome;
    seat->timer = (struct loop_timer){.fn = on_delay_over, .ctx = seat};
    loop_timer_set(loop, &seat->timer, instant_after(loop_now(loop), delay_ms));
}

static struct guard *guard_of(struct auth *a, uint64_t key)
{
    return (key & BAN_LOGIN_BITS) == BAN_LOGIN_BITS ? &a->logins : &a->guard;
}

/* Counts a failure of this block or login. */
static int64_t failure_count(const struct seat *seat, uint64_t key, struct bytes who)
{
    struct auth *a = seat->desk->auth;
    struct instant now = loop_now(a->loop);
    struct guard *g = guard_of(a, key);
    int64_t delay = guard_failed(g, key, now), for_ms = guard_shut_until(g, key).ms - now.ms;

    if (for_ms <= 0)
        return delay;
    if (seat->desk->channel != NULL)
        channel_send(seat->desk->channel,
            &(struct msg){.kind = MSG_ban_made,
                .ban_made = {.block = key, .for_ms = (uint64_t)for_ms, .count = guard_bans(g, key), .client = who}});
    if (g == &a->logins)
        LOG(LOGIN_ATTACKED, LOG_TEXT("login", who), LOG_NUM("for_s", for_ms / 1000));
    else
        LOG(LOGIN_SHUT_OUT, LOG_TEXT("client", who), LOG_NUM("for_s", for_ms / 1000));
    return delay;
}

static void seat_failed(struct seat *seat, const char *why)
{
    int64_t delay = failure_count(seat, seat->block, buf_bytes(&seat->client));

    LOG(LOGIN_FAILED, LOG_TEXT("client", buf_bytes(&seat->client)), LOG_TEXT("login", buf_bytes(&seat->x.name)),
        LOG_STR("mechanism", exchange_mechanism_name(seat->x.mechanism)), LOG_STR("why", why),
        LOG_NUM("delay_ms", delay));
    if (seat->x.name.size > 0)
        failure_count(seat, guard_login_key(buf_bytes(&seat->x.name)), buf_bytes(&seat->x.name));
    seat_end_later(seat, AUTH_BAD, delay);
}

static void seat_good(struct seat *seat, struct bytes name)
{
    acquaintance_add(&seat->desk->auth->acquaintances, guard_login_key(buf_bytes(&seat->x.name)), seat->block);
    seat_end(seat, AUTH_GOOD, name);
}

/* Too many guess at this name, and the client is a stranger: nobody tells whether there is such a user. */
static bool login_is_shut(const struct seat *seat)
{
    struct auth *a = seat->desk->auth;
    uint64_t key = guard_login_key(buf_bytes(&seat->x.name));

    return !guard_admit(&a->logins, key, loop_now(a->loop)) && !acquaintance_is(&a->acquaintances, key, seat->block);
}

/* --- hashes --- */

static void job_run(void *ctx) /* on a helper thread */
{
    struct job *job = ctx;

    job->good = password_check(&job->room, job->password, job->hash) && job->known;
}

/* The end of every job, whoever judged. `name`: what he is called; empty: as he said. */
static void job_end(struct job *job, enum password_verdict verdict, const char *why, struct bytes name)
{
    struct seat *seat = job->seat;

    guard_end(&job->auth->guard, job->block); /* (A2) */
    explicit_bzero(job, sizeof *job);
    mem_free(job);
    if (seat == NULL)
        return;
    seat->job = NULL;
    if (verdict == PASSWORD_GOOD)
        seat_good(seat, name.size > 0 ? name : buf_bytes(&seat->x.name));
    else if (verdict == PASSWORD_BAD)
        seat_failed(seat, why);
    else
        seat_end(seat, AUTH_BUSY, BYTES_NONE);
}

static void job_done(void *ctx)
{
    struct job *job = ctx;

    job_end(job, job->good ? PASSWORD_GOOD : PASSWORD_BAD, job->known ? "password" : "user", BYTES_NONE);
}

static void on_judged(void *owner, enum password_verdict verdict, struct bytes name)
{
    job_end(owner, verdict, "password", name);
}

static void text_copy(char *out, size_t room, struct bytes in)
{
    ASSERT(in.size < room);
    memcpy(out, in.data, in.size);
    out[in.size] = 0;
}

static bool hash_begin(struct job *job)
{
    struct auth *a = job->auth;
    struct seat *seat = job->seat;
    struct account account;
    struct result r = roll_find(&a->roll, loop_now(a->loop), buf_bytes(&seat->x.name), &account);

    if (r.code == CODE_IO || work_count() >= JOBS_MAX)
        return false;
    job->known = is_ok(r);
    text_copy(job->hash, sizeof job->hash, job->known ? account.hash : bytes_of(PASSWORD_OF_NOBODY));
    text_copy(job->password, sizeof job->password, buf_bytes(&seat->x.password));
    return work_submit(a->loop, job_run, job_done, job);
}

static bool elsewhere_begin(struct job *job)
{
    struct seat *seat = job->seat;

    return elsewhere_ask(job->auth->elsewhere,
        &(struct dovecot_question){.name = buf_bytes(&seat->x.name),
            .password = buf_bytes(&seat->x.password),
            .client = buf_bytes(&seat->client),
            .secured = seat->secured},
        job);
}

static void password_ask(struct seat *seat)
{
    struct auth *a = seat->desk->auth;
    struct job *job = mem_take_zero(sizeof *job);

    if (job == NULL || !guard_begin(&a->guard, seat->block, loop_now(a->loop))) {
        mem_free(job);
        explicit_bzero(seat->x.password_room, sizeof seat->x.password_room);
        seat_end_later(seat, AUTH_BUSY, BUSY_MS); /* said at once, it would only be asked again at once */
        return;
    }
    *job = (struct job){.auth = a, .seat = seat, .block = seat->block};
    bool begun = a->elsewhere != NULL ? elsewhere_begin(job) : hash_begin(job);
    explicit_bzero(seat->x.password_room, sizeof seat->x.password_room);
    if (!begun) {
        guard_end(&a->guard, seat->block);
        explicit_bzero(job, sizeof *job);
        mem_free(job);
        seat_end(seat, AUTH_BUSY, BYTES_NONE);
        return;
    }
    seat->job = job;
}

/* --- exchanges --- */

static void seat_step(struct seat *seat, enum exchange_step step);

static void keys_ask(struct seat *seat)
{
    struct auth *a = seat->desk->auth;
    struct scram_keys keys;
    struct account account;
    struct result r = roll_find(&a->roll, loop_now(a->loop), buf_bytes(&seat->x.name), &account);

    if (r.code == CODE_IO) {
        seat_end(seat, AUTH_BUSY, BYTES_NONE);
        return;
    }
    if (!is_ok(r) || !is_ok(scram_keys_parse(account.scram, &keys))) /* (A3) */
        scram_keys_pretend((struct bytes){a->secret, sizeof a->secret}, buf_bytes(&seat->x.name), &keys);
    seat_step(seat, exchange_keys(&seat->x, &keys));
    explicit_bzero(&keys, sizeof keys);
}

static void seat_step(struct seat *seat, enum exchange_step step)
{
    if ((step == EXCHANGE_PASSWORD || step == EXCHANGE_KEYS) && login_is_shut(seat)) {
        seat_end(seat, AUTH_SHUT_OUT, BYTES_NONE);
        return;
    }
    switch (step) {
    case EXCHANGE_CHALLENGE:
        answer(seat->desk, seat->session, AUTH_CHALLENGE, exchange_text(&seat->x));
        break;
    case EXCHANGE_PASSWORD:
        password_ask(seat);
        break;
    case EXCHANGE_KEYS:
        keys_ask(seat);
        break;
    case EXCHANGE_GOOD:
        seat_good(seat, buf_bytes(&seat->x.name));
        break;
    case EXCHANGE_BAD:
        seat_failed(seat, seat->x.why);
        break;
    case EXCHANGE_MALFORMED:
        seat_end(seat, AUTH_MALFORMED, BYTES_NONE);
        break;
    }
}

static struct seat *seat_new(struct desk *desk, const struct msg_auth_ask *ask)
{
    uint8_t random[NONCE_OCTETS], text[SCRAM_NONCE_SIZE_MAX];
    struct buf nonce = BUF(text);
    struct seat *seat;

    if (desk->exchanges.count >= EXCHANGES_MAX || (seat = mem_take_zero(sizeof *seat)) == NULL)
        return NULL;
    digest_random(random, sizeof random);
    struct result r = base64_encode((struct bytes){random, sizeof random}, &nonce);
    ASSERT(is_ok(r));
    seat->desk = desk;
    seat->session = ask->session;
    seat->block = ask->block;
    seat->secured = ask->endpoint.size > 0 || ask->exporter.size > 0;
    seat->client = BUF(seat->client_room);
    r = buf_put(&seat->client, bytes_head(ask->client, CLIENT_SIZE_MAX));
    ASSERT(is_ok(r));
    if (!is_ok(exchange_init(&seat->x, ask->mechanism, ask->plus_offered, buf_bytes(&nonce))) ||
        !is_ok(map_put(&desk->exchanges, seat->session, seat))) {
        mem_free(seat);
        return NULL;
    }
    seat->x.password_as_it_came = desk->auth->elsewhere != NULL;
    return seat;
}

static void on_ask(struct desk *desk, const struct msg_auth_ask *ask)
{
    struct auth *a = desk->auth;
    struct seat *seat = map_get(&desk->exchanges, ask->session);
    struct scram_bindings bindings = {ask->exporter, ask->endpoint};
    bool busy = seat != NULL && (seat->job != NULL || seat->timer.armed);

    if (seat != NULL && (ask->mechanism.size > 0 || busy)) { /* given up by its client, or (A1) */
        seat_free(seat);
        seat = NULL;
    }
    if (ask->session == 0 || ask->block == 0 || (seat == NULL && ask->mechanism.size == 0)) {
        answer(desk, ask->session, AUTH_MALFORMED, BYTES_NONE);
        return;
    }
    if (!guard_admit(&a->guard, ask->block, loop_now(a->loop))) {
        if (seat != NULL)
            seat_free(seat);
        answer(desk, ask->session, AUTH_SHUT_OUT, BYTES_NONE);
        return;
    }
    if (seat == NULL && (seat = seat_new(desk, ask)) == NULL) {
        answer(desk, ask->session, AUTH_BUSY, BYTES_NONE);
        return;
    }
    seat_step(seat, exchange_feed(&seat->x, ask->response, ask->has_response, &bindings));
}

/* --- desks --- */

static void on_message(void *ctx, const struct msg *m)
{
    struct desk *desk = ctx;

    if (m->kind == MSG_ban_tell && m->ban_tell.block != 0) {
        struct instant now = loop_now(desk->auth->loop);
        int64_t most = desk->auth->guard.ban_max_ms;
        int64_t for_ms = m->ban_tell.for_ms > INT64_MAX / 2 ? most : (int64_t)m->ban_tell.for_ms;

        guard_set(guard_of(desk->auth, m->ban_tell.block), m->ban_tell.block, now, instant_after(now, for_ms),
            m->ban_tell.count);
    } else if (m->kind == MSG_auth_ask) {
        on_ask(desk, &m->auth_ask);
    } else if (m->kind == MSG_auth_forget) {
        struct seat *seat = map_get(&desk->exchanges, m->auth_forget.session);
        if (seat != NULL)
            seat_free(seat);
    }
}

static void desk_free(struct desk *desk)
{
    struct desk **link = &desk->auth->first;
    void *value;

    channel_free(&desk->channel);
    for (size_t cursor = 0; map_next(&desk->exchanges, &cursor, &value); cursor = 0)
        seat_free(value);
    map_fini(&desk->exchanges);
    while (*link != desk)
        link = &(*link)->next;
    *link = desk->next;
    mem_free(desk);
}

static void on_closed(void *ctx, enum channel_end why)
{
    struct desk *desk = ctx;
    struct auth *a = desk->auth;

    (void)why; /* the channel has logged it */
    desk_free(desk);
    if (a->draining && a->first == NULL)
        process_exit(a->process, 0);
}

static const struct channel_handlers CHANNEL_HANDLERS = {.on_message = on_message, .on_closed = on_closed};

static void on_channel(void *ctx, enum ipc_role peer, uint32_t peer_index, int fd)
{
    struct auth *a = ctx;
    struct desk *desk = peer == ROLE_INBOUND ? mem_take_zero(sizeof *desk) : NULL;

    (void)peer_index;
    if (peer == ROLE_PAM && a->elsewhere != NULL) {
        elsewhere_channel(a->elsewhere, fd);
        return;
    }
    if (desk == NULL) {
        close(fd);
        return;
    }
    desk->auth = a;
    desk->channel = channel_new(a->loop, fd, ROLE_AUTH, ROLE_INBOUND, &CHANNEL_HANDLERS, desk);
    desk->next = a->first;
    a->first = desk;
    if (desk->channel == NULL)
        desk_free(desk);
}

/* --- what the supervisor says --- */

static unsigned thread_count(void)
{
    cpu_set_t set;
    int cores = sched_getaffinity(0, sizeof set, &set) == 0 ? CPU_COUNT(&set) : 1;

    return cores < 1 ? 1 : cores > THREADS_MAX ? THREADS_MAX : (unsigned)cores;
}

static void on_go(void *ctx)
{
    struct auth *a = ctx;
    struct account nobody;

    if (a->elsewhere != NULL) {
        process_ready(a->process);
        return;
    }
    struct result r = roll_find(&a->roll, loop_now(a->loop), BYTES(""), &nobody);
    (void)r; /* read now, so that a mistake in it is told at the start */
    process_ready(a->process);
    work_prepare(a->loop, thread_count()); /* behind the sandbox, so that it holds them too */
}

/* The inbound processes of this generation need us until they are gone. */
static void on_drain(void *ctx)
{
    struct auth *a = ctx;

    a->draining = true;
    if (a->first == NULL)
        process_exit(a->process, 0);
}

static const struct process_handlers HANDLERS = {.on_channel = on_channel, .on_go = on_go, .on_drain = on_drain};

int auth_main(struct process *p)
{
    struct auth *a = mem_take_zero(sizeof *a);
    const struct config *cfg = process_config(p);

    if (a != NULL && cfg->auth.passwords != PASSWORDS_FILE)
        a->elsewhere = elsewhere_new(process_loop(p), cfg, on_judged);
    if (a == NULL || (cfg->auth.passwords != PASSWORDS_FILE && a->elsewhere == NULL)) {
        mem_free(a);
        process_fail(p, "out of memory");
        return process_serve(p, &HANDLERS, NULL);
    }
    a->process = p;
    a->loop = process_loop(p);
    roll_init(&a->roll, (const char *)cfg->auth.users.data);
    guard_init(&a->guard, cfg->auth.failures, cfg->auth.ban, cfg->auth.ban_max);
    guard_init(&a->logins, cfg->auth.login_failures, cfg->auth.ban, cfg->auth.ban_max);
    digest_random(a->secret, sizeof a->secret);
    int status = process_serve(p, &HANDLERS, a);
    while (a->first != NULL)
        desk_free(a->first);
    while (work_count() > 0) /* jobs end by themselves and soon */
        loop_turn(a->loop, true);
    elsewhere_free(&a->elsewhere);
    roll_fini(&a->roll);
    explicit_bzero(a, sizeof *a);
    mem_free(a);
    return status;
}
