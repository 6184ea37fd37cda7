/* Design. Each auth process has a desk: its channel. A question waits in a line of at most WAITING_MAX until one of CHILDREN_MAX
 * children is free; the child is told by what it inherits, and tells by its exit status. */
#include "daemon/pam/pam.h"

#include <fcntl.h>
#include <sys/prctl.h>
#include <unistd.h>

#include "daemon/auth/account.h"
#include "daemon/auth/password.h"
#include "daemon/base/log.h"
#include "daemon/edge/channel.h"
#include "daemon/edge/helper.h"
#include "daemon/pam/bounded.h"
#include "daemon/pam/conversation.h"

enum { CHILDREN_MAX = 8, WAITING_MAX = 248, CLIENT_SIZE_MAX = 64, GRACE_MS = 500, EXIT_LATE = 100 };

struct pam_house {
    struct process *process;
    struct loop *loop;
    const struct config *cfg;
    int nothing; /* /dev/null: the children's input */
    struct desk *first;
    struct question *waiting, **waiting_end;
    struct question *running;
    unsigned waiting_count, running_count;
    bool draining;
};

struct desk {
    struct pam_house *house;
    struct desk *next;
    struct channel *channel;
};

struct question {
    struct question *next;
    struct pam_house *house;
    struct desk *desk; /* NULL: who asked is gone */
    uint64_t number;
    struct helper *helper;
    char name[ACCOUNT_NAME_SIZE_MAX + 1], password[PASSWORD_SIZE_MAX + 1], client[CLIENT_SIZE_MAX + 1];
};

static void questions_start(struct pam_house *h);

static void question_end(struct question *q, enum password_verdict verdict)
{
    if (q->desk != NULL)
        channel_send(q->desk->channel,
            &(struct msg){.kind = MSG_password_answer, .password_answer = {.number = q->number, .verdict = verdict}});
    explicit_bzero(q, sizeof *q);
    mem_free(q);
}

/* --- children --- */

static int question_ask(void *ctx) /* in the child's child */
{
    const struct question *q = ctx;
    const struct conversation c = {
        .service = (const char *)q->house->cfg->auth.passwords_at.data,
        .name = q->name,
        .password = q->password,
        .client = q->client,
    };
    const char *why = "";
    enum password_verdict verdict = conversation(&c, &why);

    if (verdict == PASSWORD_LATER && why != NULL)
        (void)!write(STDOUT_FILENO, why, strlen(why));
    return (int)verdict;
}

static int question_run(void *ctx) /* in the child */
{
    const struct question *q = ctx;
    int status = bounded_run(question_ask, ctx, q->house->cfg->auth.password_time);

    return status < 0 ? EXIT_LATE : status;
}

static void running_remove(struct question *q)
{
    struct question **link = &q->house->running;

    while (*link != q)
        link = &(*link)->next;
    *link = q->next;
    q->house->running_count--;
}

static void on_ended(void *owner, const struct helper_end *end)
{
    struct question *q = owner;
    struct pam_house *h = q->house;
    enum password_verdict verdict = PASSWORD_LATER;

    running_remove(q);
    if (end->fate == HELPER_EXITED && end->status < PASSWORD_VERDICT_COUNT)
        verdict = (enum password_verdict)end->status;
    if (end->fate == HELPER_TOO_LATE || (end->fate == HELPER_EXITED && end->status == EXIT_LATE))
        LOG(PASSWORDS_FAILED, LOG_STR("source", "pam"), LOG_STR("why", "no answer in time"));
    else if (verdict == PASSWORD_LATER)
        LOG(PASSWORDS_FAILED, LOG_STR("source", "pam"), LOG_TEXT("why", end->output));
    question_end(q, verdict);
    questions_start(h);
}

static void questions_start(struct pam_house *h)
{
    while (h->waiting != NULL && h->running_count < CHILDREN_MAX) {
        struct question *q = h->waiting;
        const struct helper_spec spec = {.input = h->nothing,
            .run = question_run,
            .ctx = q,
            .time_ms = h->cfg->auth.password_time + GRACE_MS,
            .user = "root"};

        h->waiting = q->next;
        if (h->waiting == NULL)
            h->waiting_end = &h->waiting;
        h->waiting_count--;
        struct result r = helper_start(h->loop, &spec, on_ended, q, &q->helper);
        if (!is_ok(r)) {
            LOG(PASSWORDS_FAILED, LOG_STR("source", "pam"), LOG_STR("why", r.why));
            question_end(q, PASSWORD_LATER);
            continue;
        }
        explicit_bzero(q->password, sizeof q->password); /* the child has its copy */
        q->next = h->running;
        h->running = q;
        h->running_count++;
    }
}

/* --- desks --- */

static bool text_keep(char *room, size_t size, struct bytes text)
{
    if (text.size >= size || bytes_index(text, 0) != BYTES_NOT_FOUND)
        return false;
    memcpy(room, text.data, text.size);
    room[text.size] = 0;
    return true;
}

static void on_message(void *ctx, const struct msg *m)
{
    struct desk *desk = ctx;
    struct pam_house *h = desk->house;
    struct question *q;

    if (m->kind != MSG_password_ask)
        return;
    q = h->waiting_count < WAITING_MAX ? mem_take_zero(sizeof *q) : NULL;
    if (q == NULL) {
        channel_send(
            desk->channel, &(struct msg){.kind = MSG_password_answer,
                               .password_answer = {.number = m->password_ask.number, .verdict = PASSWORD_LATER}});
        return;
    }
    q->house = h;
    q->desk = desk;
    q->number = m->password_ask.number;
    if (!text_keep(q->name, sizeof q->name, m->password_ask.name) ||
        !text_keep(q->password, sizeof q->password, m->password_ask.password) ||
        !text_keep(q->client, sizeof q->client, m->password_ask.client)) {
        question_end(q, PASSWORD_BAD);
        return;
    }
    *h->waiting_end = q;
    h->waiting_end = &q->next;
    h->waiting_count++;
    questions_start(h);
}

static void desk_free(struct desk *desk)
{
    struct pam_house *h = desk->house;
    struct desk **link = &h->first;

    for (struct question *q = h->waiting; q != NULL; q = q->next)
        q->desk = q->desk == desk ? NULL : q->desk;
    for (struct question *q = h->running; q != NULL; q = q->next)
        q->desk = q->desk == desk ? NULL : q->desk;
    channel_free(&desk->channel);
    while (*link != desk)
        link = &(*link)->next;
    *link = desk->next;
    mem_free(desk);
}

static void on_closed(void *ctx, enum channel_end why)
{
    struct desk *desk = ctx;
    struct pam_house *h = desk->house;

    (void)why; /* the channel has logged it */
    desk_free(desk);
    if (h->draining && h->first == NULL)
        process_exit(h->process, 0);
}

static const struct channel_handlers CHANNEL_HANDLERS = {.on_message = on_message, .on_closed = on_closed};

static void on_channel(void *ctx, enum ipc_role peer, uint32_t peer_index, int fd)
{
    struct pam_house *h = ctx;
    struct desk *desk = peer == ROLE_AUTH ? mem_take_zero(sizeof *desk) : NULL;

    (void)peer_index;
    if (desk == NULL) {
        close(fd);
        return;
    }
    desk->house = h;
    desk->channel = channel_new(h->loop, fd, ROLE_PAM, ROLE_AUTH, &CHANNEL_HANDLERS, desk);
    desk->next = h->first;
    h->first = desk;
    if (desk->channel == NULL)
        desk_free(desk);
}

/* --- what the supervisor says --- */

static void on_go(void *ctx)
{
    struct pam_house *h = ctx;

    h->nothing = open("/dev/null", O_RDONLY | O_CLOEXEC);
    if (h->nothing < 0 || prctl(PR_SET_DUMPABLE, 0, 0, 0, 0) != 0)
        process_fail(h->process, "no /dev/null");
    else if (!conversation_prepare())
        process_fail(h->process, "passwords = \"pam\": libpam is not installed, or this program was built without it");
    else
        process_ready(h->process);
}

/* The auth process of this generation needs us until it is gone. */
static void on_drain(void *ctx)
{
    struct pam_house *h = ctx;

    h->draining = true;
    if (h->first == NULL)
        process_exit(h->process, 0);
}

static const struct process_handlers HANDLERS = {.on_channel = on_channel, .on_go = on_go, .on_drain = on_drain};

int pam_main(struct process *p)
{
    struct pam_house h = {
        .process = p, .loop = process_loop(p), .cfg = process_config(p), .nothing = -1, .waiting_end = &h.waiting};
    int status = process_serve(p, &HANDLERS, &h);

    while (h.first != NULL)
        desk_free(h.first);
    for (struct question *q = h.waiting, *next; q != NULL; q = next) {
        next = q->next;
        question_end(q, PASSWORD_LATER);
    }
    for (struct question *q = h.running, *next; q != NULL; q = next) {
        next = q->next;
        helper_stop(&q->helper);
        question_end(q, PASSWORD_LATER);
    }
    if (h.nothing >= 0)
        close(h.nothing);
    return status;
}
