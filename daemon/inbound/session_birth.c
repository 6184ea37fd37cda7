/* session_birth: a connection becomes a session: admission, the balancer's header, TLS from the first octet, the core. */
#include <unistd.h>

#include "daemon/inbound/proxy.h"
#include "daemon/inbound/session_parts.h"

enum {
    TURNED_AWAY_LINGER_MAX = 512, /* connections that are only being told 421, beyond the sessions */
    TURNED_AWAY_MS = 1000,
    SESSION_ARENA_SIZE_MAX = 131072,
};

void session_begin(struct session *s)
{
    const struct conn_end *end = &s->client;
    const struct tls *tls = conn_tls(s->io);
    struct smtp_peer peer = {
        .address = end->local ? BYTES_NONE : conn_end_text(end),
        .port = end->port,
        .local = end->local,
        .tls = tls != NULL,
    };

    s->may_relay = policy_may_relay(s->in->cfg, end->address, end->local, false) || s->certified;
    peer.trusted = s->may_relay;
    if (end->local) {
        peer.uid = s->uid;
        peer.login = users_name(&s->in->users, s->uid);
    }
    if (s->door->listen != NULL && !end->local)
        peer.xclient_allowed = config_network_contains(&s->door->listen->xclient_from, end->address);
    if (tls != NULL) {
        peer.tls_version = tls_version(tls);
        peer.tls_cipher = tls_cipher(tls);
        peer.tls_client = session_fingerprint(s);
    }
    s->begun = true;
    s->commands_counted = 0;
    smtp_server_init(&s->smtp, &s->door->smtp, &peer, &s->arena, loop_now(s->in->loop));
    session_client_ask(s);
    session_hold_greeting(s);
    session_go_on(s);
}

static void session_open(struct session *s)
{
    LOG(SESSION_OPENED, LOG_NUM("session", s->id.value), LOG_TEXT("client", session_client(s)),
        LOG_STR("listener", policy_listen_name(s->door->class)));
    if (s->door->tls == LISTEN_TLS_IMPLICIT)
        session_tls_begin(s);
    else
        session_begin(s);
}

/* The client that the balancer named takes the place of the connection's peer, in the census too. */
static RESULT proxy_apply(struct session *s, const struct proxy_header *header)
{
    uint8_t address[16];
    struct reply unsaid; /* there was no greeting yet, and a balancer tells nobody */
    const char *why;

    memcpy(address, header->address, sizeof address);
    if (!header->known)
        return OK;
    if (header->text.size > 0)
        TRY(conn_address_parse(header->text, address));
    conn_end_set(&s->client, address, header->port);
    session_who_set(s, address);
    census_leave(s->in->census, s->place);
    s->counted = census_enter(s->in->census, s->block, &s->place);
    ASSERT(s->counted); /* a place has just been freed */
    if (census_count(s->in->census, s->block) > s->in->cfg->limits.sessions_per_client)
        return FAIL(CODE_REFUSED, "sessions_per_client");
    why = session_limit_connect(s, &unsaid);
    return why == NULL ? OK : FAIL(CODE_REFUSED, why);
}

/* Octets up to the header's end are eaten; what stands behind it comes again. */
size_t session_proxy_input(struct session *s, struct bytes in)
{
    size_t before = s->proxy.size, eaten = 0;
    struct bytes piece = bytes_head(in, PROXY_SIZE_MAX - before);
    struct proxy_header header;
    struct result r;
    void *room;

    if (s->proxy.data == NULL) {
        room = mem_take(PROXY_SIZE_MAX);
        if (room == NULL) {
            conn_close(s->io);
            return in.size;
        }
        buf_init(&s->proxy, room, PROXY_SIZE_MAX);
    }
    r = buf_put(&s->proxy, piece);
    if (is_ok(r))
        r = proxy_parse(buf_bytes(&s->proxy), &header, &eaten);
    if (r.code == CODE_MORE)
        return in.size;
    if (is_ok(r))
        r = proxy_apply(s, &header);
    mem_free(s->proxy.data);
    s->proxy = (struct buf){.data = NULL};
    if (!is_ok(r)) {
        LOG(SESSION_REFUSED, LOG_TEXT("client", session_client(s)), LOG_STR("why", r.why));
        s->why = r.why;
        conn_close(s->io);
        return in.size;
    }
    session_open(s);
    s->proxied = false;
    conn_resume(s->io);
    return eaten - before;
}

/* --- admission --- */

/* A connection that is only told 421: it has no session. */
struct away {
    struct buf line; /* empty: nothing can be said */
    uint8_t octets[REPLY_LINE_SIZE_MAX];
};

static size_t away_input(void *owner, struct conn *c, struct bytes in)
{
    (void)owner;
    (void)c;
    return in.size;
}
static void away_deadline(void *owner, struct conn *c)
{
    const struct away *away = owner;

    if (away->line.size == 0) {
        conn_close(c);
        return;
    }
    conn_write(c, buf_bytes(&away->line));
    conn_close_after_flush(c);
}
static void away_lost(void *owner, struct conn *c, struct result why)
{
    (void)owner;
    (void)c;
    (void)why;
}
static void away_closed(void *owner, struct conn *c)
{
    (void)c;
    mem_free(owner);
}
static const struct conn_handler AWAY_HANDLER = {
    .input = away_input, .deadline = away_deadline, .lost = away_lost, .closed = away_closed};

/* Who comes too often is kept waiting before he is told, so that he does not come again at once. */
static void turn_away(
    struct inbound *in, const struct door *door, int fd, struct reply reply, const char *why, bool too_often)
{
    struct away *away = mem_take_zero(sizeof *away);
    struct conn *c;

    if (away == NULL || !is_ok(conn_adopt(in->room, fd, &AWAY_HANDLER, away, &c))) {
        mem_free(away);
        close(fd);
        return;
    }
    LOG(SESSION_REFUSED, LOG_TEXT("client", conn_end_text(conn_peer(c))), LOG_STR("why", why));
    counts_add(in->counts, DOOR_REFUSED, bytes_of(why));
    away->line = BUF(away->octets);
    /* Under a flood the words are spared; so they are where TLS would have to come first. */
    if (conn_room_count(in->room) > (size_t)in->cfg->limits.sessions + TURNED_AWAY_LINGER_MAX ||
        (door->tls == LISTEN_TLS_IMPLICIT && !too_often) ||
        (door->tls != LISTEN_TLS_IMPLICIT && !is_ok(reply_put(&away->line, &reply)))) {
        conn_close(c);
        return;
    }
    if (too_often)
        conn_set_deadline(c, instant_after(loop_now(in->loop), TURNED_AWAY_MS));
    else
        away_deadline(away, c);
}

/* NULL: admitted (and counted); else why not. */
static const char *session_admit(struct session *s, const struct conn_end *peer, struct reply *reply_out)
{
    const struct config_limits *limits = &s->in->cfg->limits;
    const char *why;

    if (s->in->draining) {
        *reply_out = REPLY(421, 4, 3, 2, "The server is stopping");
        return "stopping";
    }
    if (census_count(s->in->census, 0) >= limits->sessions) {
        *reply_out = REPLY(421, 4, 3, 2, "Too many sessions, try again later");
        return "sessions";
    }
    if (!peer->local && !s->proxied && census_count(s->in->census, s->block) >= limits->sessions_per_client) {
        *reply_out = REPLY(421, 4, 7, 0, "Too many sessions from your address");
        return "sessions_per_client";
    }
    if (!s->proxied && (why = session_limit_connect(s, reply_out)) != NULL)
        return why;
    if (!census_enter(s->in->census, s->block, &s->place)) {
        *reply_out = REPLY(421, 4, 3, 2, "Too many sessions, try again later");
        return "sessions";
    }
    s->counted = true;
    return NULL;
}

static void local_user_read(struct session *s)
{
    struct buf text;

    if (!is_ok(conn_peer_uid(s->io, &s->uid)))
        s->uid = UINT32_MAX;
    buf_init(&text, s->uid_text, sizeof s->uid_text - 1);
    if (!is_ok(buf_put_str(&text, "uid ")) || !is_ok(buf_put_u64(&text, s->uid)))
        buf_reset(&text);
    s->uid_text[text.size] = 0;
}

void session_new(struct inbound *in, const struct door *door, int fd)
{
    struct session *s;
    struct conn_end peer;
    struct reply reply;
    const char *why;

    if (!is_ok(conn_peer_read(fd, &peer))) { /* without an address there is nobody to judge, nor to answer */
        close(fd);
        return;
    }
    s = mem_take(sizeof *s);
    if (s == NULL) {
        turn_away(in, door, fd, REPLY(421, 4, 3, 2, "Out of memory, try again later"), "memory", false);
        return;
    }
    memset(s, 0, offsetof(struct session, smtp));
    s->in = in;
    s->door = door;
    s->client = peer;
    s->proxied =
        door->listen != NULL && !peer.local && config_network_contains(&door->listen->proxy_from, peer.address);
    session_who_set(s, peer.address);
    why = session_admit(s, &peer, &reply);
    if (why == NULL && !is_ok(conn_adopt_from(in->room, fd, &peer, &SESSION_HANDLER, s, &s->io))) {
        census_leave(in->census, s->place);
        reply = REPLY(421, 4, 3, 2, "Out of memory, try again later");
        why = "memory";
    }
    if (why != NULL) {
        mem_free(s);
        in->refused_count++;
        session_counts_changed(in);
        turn_away(in, door, fd, reply, why, reply.status.class == 4 && reply.status.subject == 7);
        return;
    }
    s->id.value = ++in->last_session;
    in->begun_count++;
    session_counts_changed(in);
    arena_init(&s->arena, SESSION_ARENA_SIZE_MAX);
    s->next = in->first;
    s->link = &in->first;
    if (s->next != NULL)
        s->next->link = &s->next;
    in->first = s;
    if (peer.local)
        local_user_read(s);
    if (!s->proxied) {
        session_open(s);
        return;
    }
    conn_set_deadline(s->io, instant_after(loop_now(in->loop), PROXY_MS));
}
