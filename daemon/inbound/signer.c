#include "daemon/inbound/signer.h"

#include <unistd.h>

#include "daemon/base/log.h"
#include "daemon/edge/clock.h"
#include "daemon/edge/tls_remote.h"

struct signer {
    struct loop *loop;
    struct packets *packets; /* NULL: no keys process */
    uint64_t number;
    int waiting_fd; /* certificates that came while a signature was waited for; -1: none */
    struct loop_hook work;
    signer_certificates *on_certificates;
    void *ctx;
};

static void on_work(void *ctx)
{
    struct signer *s = ctx;
    int fd = s->waiting_fd;

    s->waiting_fd = -1;
    if (fd >= 0)
        s->on_certificates(s->ctx, fd);
}

/* In the loop, where no handshake is under way. */
static void certificates_keep(struct signer *s, int fd)
{
    if (s->waiting_fd >= 0)
        close(s->waiting_fd);
    s->waiting_fd = fd;
    loop_hook_add(s->loop, &s->work, LOOP_WORK);
}

static void on_message(void *ctx, const struct msg *m, int fd)
{
    struct signer *s = ctx;

    if (m->kind == MSG_key_certificates && fd >= 0)
        certificates_keep(s, fd);
    else if (fd >= 0)
        close(fd); /* an answer that came too late has none */
}

static void on_closed(void *ctx)
{
    struct signer *s = ctx;

    LOG(CHANNEL_LOST, LOG_STR("peer", "keys"), LOG_STR("why", "it ended"));
    packets_free(&s->packets);
}

static const struct packet_handlers HANDLERS = {on_message, on_closed};

/* The answer to question s->number. */
static RESULT answer_wait(struct signer *s, uint8_t room[TLS_SIGNATURE_SIZE_MAX], size_t *size_out)
{
    struct instant end = instant_after(clock_instant(), SIGNER_WAIT_MS), now;
    struct passing_room packet;
    struct msg m;
    int fd = -1;

    while ((now = clock_instant()).ms < end.ms) {
        TRY(packets_wait(s->packets, end.ms - now.ms, &packet, &m, &fd));
        if (m.kind != MSG_sign_answer || m.sign_answer.number != s->number) {
            on_message(s, &m, fd);
            continue;
        }
        struct bytes signature = m.sign_answer.signature;
        if (signature.size == 0 || signature.size > TLS_SIGNATURE_SIZE_MAX)
            return FAIL(CODE_REFUSED, "the keys process does not sign this");
        memcpy(room, signature.data, signature.size);
        *size_out = signature.size;
        return OK;
    }
    return FAIL(CODE_TIMEOUT, "the keys process does not answer");
}

static bool sign(void *owner, const struct tls_signing *what, uint8_t room[TLS_SIGNATURE_SIZE_MAX], size_t *size_out)
{
    struct signer *s = owner;
    struct msg m = {.kind = MSG_sign_ask,
        .sign_ask = {.number = ++s->number,
            .scheme = what->scheme,
            .key = {what->key, TLS_KEY_ID_SIZE},
            .content = what->content}};
    struct result r = s->packets == NULL ? FAIL(CODE_GONE, "there is no keys process now") : OK;

    if (is_ok(r))
        r = packets_send(s->packets, &m, -1);
    if (is_ok(r))
        r = answer_wait(s, room, size_out);
    if (!is_ok(r))
        LOG(SIGNATURE_MISSING, LOG_STR("why", r.why));
    return is_ok(r);
}

struct signer *signer_new(struct loop *loop, signer_certificates *on_certificates, void *ctx)
{
    struct signer *s = mem_take_zero(sizeof *s);

    if (s == NULL || !is_ok(tls_remote_init(sign, s))) {
        mem_free(s);
        return NULL;
    }
    s->loop = loop;
    s->waiting_fd = -1;
    s->work = (struct loop_hook){.fn = on_work, .ctx = s};
    s->on_certificates = on_certificates;
    s->ctx = ctx;
    return s;
}

void signer_channel(struct signer *s, int fd)
{
    packets_free(&s->packets);
    s->packets = packets_new(s->loop, fd, ROLE_INBOUND, ROLE_KEYS, &HANDLERS, s);
}

void signer_free(struct signer **s)
{
    struct signer *q = *s;

    if (q == NULL)
        return;
    struct result r = tls_remote_init(NULL, NULL);
    (void)r; /* nothing can fail the second time */
    packets_free(&q->packets);
    loop_hook_drop(q->loop, &q->work);
    if (q->waiting_fd >= 0)
        close(q->waiting_fd);
    mem_free(q);
    *s = NULL;
}
