/* Helpers of the simulation: no process is started. What would be its program runs here for a moment, up to execvp or mbox_append,
 * which take its input for a copy and choose its end by the name of the program (kin.h). */
#include "daemon/edge/helper.h"

#include <fcntl.h>
#include <sys/mman.h>
#include <unistd.h>

#include "daemon/local/mbox.h"
#include "tests/sim/lib/edge_files.h"
#include "tests/sim/lib/edge_parts.h"
#include "tests/sim/lib/kin.h"

enum { ENVIRONMENT_MAX = 20, RUN_MS_MAX = 5000 };

struct helper {
    struct helper_spec spec;
    helper_ended *ended;
    void *owner;
    struct world_timer timer;
    struct helper_end end;
    bool ran;
};

static struct {
    struct helper *now; /* whose program runs */
    char recipient[400], sender[400];
    struct receipt *receipt;
    bool done;
} stage;

static uint64_t fork_fail_in, fork_fail_count, fork_failed;
static size_t helper_count;

int __real_clearenv(void);
int __real_setenv(const char *name, const char *value, int overwrite);
int __wrap_clearenv(void);
int __wrap_setenv(const char *name, const char *value, int overwrite);
int __wrap_execvp(const char *file, char *const argv[]);
RESULT __wrap_mbox_append(const char *path, int input, struct bytes sender, int64_t now_s, int64_t wait_ms);

void files_fork_fail(uint64_t n, uint64_t count)
{
    fork_fail_in = n;
    fork_fail_count = count;
    fork_failed = 0;
}

uint64_t files_fork_failed(void)
{
    return fork_failed;
}

size_t files_helper_count(void)
{
    return helper_count;
}

/* --- in the child --- */

int __wrap_clearenv(void)
{
    if (stage.now == NULL)
        return __real_clearenv();
    return 0;
}

int __wrap_setenv(const char *name, const char *value, int overwrite)
{
    if (stage.now == NULL)
        return __real_setenv(name, value, overwrite);
    if (strcmp(name, "RECIPIENT") == 0)
        (void)snprintf(stage.recipient, sizeof stage.recipient, "%s", value);
    else if (strcmp(name, "SENDER") == 0)
        (void)snprintf(stage.sender, sizeof stage.sender, "%s", value);
    return 0;
}

static void input_take(void)
{
    struct heap_buf room = {0};
    struct bytes to;

    stage.receipt = files_copy_read(files_read(stage.now->spec.input, &room), true, &to);
    heap_buf_free(&room);
}

static bool is_rough(struct bytes name, enum kin_script script)
{
    return !places.calm && kin_script(name) == script && world_chance(500);
}

/* How the program ends. Whatever it said of the message, its copy is taken unless it refuses. */
int __wrap_execvp(const char *file, char *const argv[])
{
    struct bytes name = bytes_of(argv[1] == NULL ? "" : argv[1]);
    struct helper_end *end = &stage.now->end;

    stage.done = true;
    if (strcmp(file, "/bin/keep") != 0 || name.size == 0 ||
        !bytes_starts(bytes_of(stage.recipient), name)) /* the alias is named as its program is */
        world_wrong("the program %s %.*s runs for %s", file, BYTES_ARG(name), stage.recipient);
    *end = (struct helper_end){.fate = HELPER_EXITED};
    if (kin_script(name) == KIN_REFUSES) {
        end->status = 67; /* EX_NOUSER */
        return 0;
    }
    if (is_rough(name, KIN_FLAKY)) {
        world_fault(FAULT_PROGRAM_LATER);
        end->status = world_chance(500) ? 75 : 71; /* EX_TEMPFAIL, EX_OSERR */
        return 0;
    }
    if (is_rough(name, KIN_ROUGH)) {
        world_fault(FAULT_PROGRAM_ENDED);
        end->fate = (enum helper_fate)world_between(HELPER_KILLED, HELPER_TOO_LOUD);
        end->status = 9;
        if (world_chance(500))
            input_take(); /* it had done its work */
        return 0;
    }
    input_take();
    if (stage.receipt != NULL)
        stage.receipt->arrived = true;
    return 0;
}

RESULT __wrap_mbox_append(const char *path, int input, struct bytes sender, int64_t now_s, int64_t wait_ms)
{
    ptrdiff_t slash = bytes_rindex(bytes_of(path), '/');
    struct bytes name = bytes_after(bytes_of(path), (size_t)(slash + 1));

    (void)sender;
    (void)now_s;
    (void)wait_ms;
    ASSERT(input == STDIN_FILENO);
    stage.done = true;
    if (is_rough(name, KIN_FLAKY)) {
        world_fault(FAULT_PROGRAM_LATER);
        return FAIL(CODE_TIMEOUT, "somebody holds the lock");
    }
    input_take();
    if (stage.receipt != NULL)
        stage.receipt->arrived = true;
    return OK;
}

/* --- in local --- */

/* What the child prints goes nowhere. */
static int run_quietly(const struct helper_spec *spec)
{
    fflush(stdout);
    int kept = dup(STDOUT_FILENO), nowhere = open("/dev/null", O_WRONLY | O_CLOEXEC);

    ASSERT(kept >= 0 && nowhere >= 0);
    (void)dup2(nowhere, STDOUT_FILENO);
    close(nowhere);
    int status = spec->run(spec->ctx);
    (void)dup2(kept, STDOUT_FILENO);
    close(kept);
    return status;
}

static void on_helper(void *ctx)
{
    struct helper *h = ctx;

    if (!h->ran) {
        h->ran = true;
        memset(&stage, 0, sizeof stage);
        stage.now = h;
        h->end = (struct helper_end){.fate = HELPER_EXITED};
        int status = run_quietly(&h->spec);
        stage.now = NULL;
        if (!stage.done)
            world_wrong("a helper ended with %d before its work", status);
        if (h->end.fate == HELPER_EXITED && h->end.status == 0 && status > 2 && status < 126)
            h->end.status = status; /* of file_run */
        world_timer_set(&h->timer, world.now_ms + world_between(0, 200));
        return;
    }
    helper_ended *ended = h->ended;
    void *owner = h->owner;
    struct helper_end end = h->end;
    free(h);
    helper_count--;
    ended(owner, &end);
}

RESULT helper_start(
    struct loop *loop, const struct helper_spec *spec, helper_ended *ended, void *owner, struct helper **helper_out)
{
    (void)loop;
    if (world_fails(CALL_FORK))
        return FAIL_SYS(EAGAIN, "no helper could be started");
    if (fork_fail_in > 0 && --fork_fail_in == 0) {
        fork_failed++;
        fork_fail_in = --fork_fail_count > 0 ? 1 : 0;
        world_fault(FAULT_NO_FORK);
        return FAIL_SYS(EAGAIN, "no helper could be started");
    }
    struct helper *h = world_take(sizeof *h);
    *h = (struct helper){.spec = *spec, .ended = ended, .owner = owner, .timer = {.fn = on_helper, .ctx = h}};
    helper_count++;
    world_timer_set(&h->timer, world.now_ms + world_between(1, world_chance(900) ? 100 : RUN_MS_MAX));
    *helper_out = h;
    return OK;
}

void helper_stop(struct helper **helper)
{
    struct helper *h = *helper;

    *helper = NULL;
    if (h == NULL)
        return;
    world_timer_stop(&h->timer);
    free(h);
    helper_count--;
}
