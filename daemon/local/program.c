#include "daemon/local/program.h"

#include <fcntl.h>
#include <stdio.h>
#include <sys/mman.h>
#include <unistd.h>

#include "daemon/edge/helper.h"
#include "daemon/local/cmdline.h"
#include "daemon/local/mbox.h"
#include "smtp/address.h"

enum { FILE_TIME_MS = 120000, REPLY_ROOM_SIZE = 320 };

struct program {
    struct program_order order;
    program_ended *ended;
    void *owner;
    struct helper *helper;
    struct cmdline command;
    struct buf room;
    uint8_t octets[CMDLINE_ROOM_SIZE];
    uint8_t user_octets[LOCAL_PART_SIZE_MAX];
    struct bytes user, extension, domain;
};

RESULT program_spool(int *fd_out)
{
    int fd = open("/tmp", O_TMPFILE | O_RDWR | O_CLOEXEC, 0600);

    if (fd < 0)
        fd = memfd_create("spool", MFD_CLOEXEC);
    if (fd < 0)
        return FAIL_SYS(errno, "no room for the message's copy");
    *fd_out = fd;
    return OK;
}

/* --- in the helper --- */

static void variable_set(const char *name, struct bytes value)
{
    char text[ADDRESS_SIZE_MAX + 1];
    size_t size = value.size < sizeof text ? value.size : sizeof text - 1;

    memcpy(text, value.size > 0 ? (const char *)value.data : "", size);
    text[size] = 0;
    setenv(name, text, 1);
}

/* What procmail, maildrop and their like look for. */
static int command_run(void *ctx)
{
    const struct program *p = ctx;
    const struct recipient *rcpt = p->order.rcpt;
    struct bytes original =
        bytes_starts_nocase(rcpt->orcpt, BYTES("rfc822;")) ? bytes_after(rcpt->orcpt, 7) : rcpt->forward_path;

    bool at_home = p->order.owner != NULL && p->order.owner->home[0] != 0;

    if (at_home && chdir(p->order.owner->home) != 0) {
        dprintf(STDOUT_FILENO, "4.3.5 the home of the user cannot be entered\n");
        return 75; /* EX_TEMPFAIL */
    }
    clearenv();
    setenv("PATH", "/usr/local/bin:/usr/bin:/bin", 1);
    setenv("SHELL", at_home && p->order.owner->shell[0] != 0 ? p->order.owner->shell : "/bin/sh", 1);
    setenv("HOME", at_home ? p->order.owner->home : "/", 1);
    variable_set("SENDER", p->order.head->reverse_path);
    variable_set("RECIPIENT", rcpt->forward_path);
    variable_set("ORIGINAL_RECIPIENT", original);
    variable_set("USER", at_home ? bytes_of(p->order.owner->name) : p->user);
    variable_set("LOGNAME", at_home ? bytes_of(p->order.owner->name) : p->user);
    variable_set("LOCAL", p->user);
    variable_set("EXTENSION", p->extension);
    variable_set("DOMAIN", p->domain);
    execvp(p->command.argv[0], p->command.argv);
    return errno == ENOENT || errno == ENOTDIR ? 127 : 126;
}

static int file_run(void *ctx)
{
    const struct program *p = ctx;
    struct result r = mbox_append((const char *)p->order.file.data, STDIN_FILENO, p->order.head->reverse_path,
        p->order.now.ms / 1000, MBOX_WAIT_MS);
    const char *status = r.code == CODE_TIMEOUT   ? "4.2.0"
                         : r.code == CODE_REFUSED ? "5.2.0"
                         : r.sys == EDQUOT        ? "4.2.2"
                         : r.sys == ENOSPC        ? "4.3.1"
                                                  : "4.2.0";

    if (is_ok(r))
        return 0;
    dprintf(
        STDOUT_FILENO, "%s %s%s%s\n", status, r.why, r.sys != 0 ? ": " : "", r.sys != 0 ? strerrordesc_np(r.sys) : "");
    return r.code == CODE_REFUSED ? 69 : 75; /* EX_UNAVAILABLE, EX_TEMPFAIL */
}

/* --- in local --- */

static void on_helper_ended(void *owner, const struct helper_end *end)
{
    struct program *p = owner;
    program_ended *ended = p->ended;
    void *listener = p->owner;
    uint8_t octets[REPLY_ROOM_SIZE];
    struct buf room = BUF(octets);
    struct program_fate fate = {.outcome = JOB_DEFERRED, .status = BYTES("4.3.0")};

    p->helper = NULL;
    switch (end->fate) {
    case HELPER_EXITED: {
        struct cmdline_fate told = cmdline_exit_fate(end->status);
        struct bytes said = cmdline_output_status(end->output, told.outcome);
        struct bytes line = cmdline_output_line(end->output, &room);

        fate.outcome = told.outcome;
        fate.status = said.size > 0 ? said : bytes_of(told.status);
        fate.reply = told.outcome != JOB_DELIVERED && line.size > 0 ? bytes_trim(bytes_after(line, said.size))
                     : p->order.file.size > 0 && told.outcome == JOB_DELIVERED ? BYTES("appended to the file")
                                                                               : bytes_of(told.reply);
        break;
    }
    case HELPER_KILLED:
        fate.reply = BYTES("the command was ended by a signal");
        break;
    case HELPER_TOO_LATE:
        fate.reply = BYTES("the command took too long and was ended");
        break;
    case HELPER_TOO_LOUD:
        fate.reply = BYTES("the command printed without end and was ended");
        break;
    }
    ended(listener, &fate);
    mem_free(p);
}

static RESULT names_split(struct program *p)
{
    struct bytes path = p->order.rcpt->forward_path;
    ptrdiff_t at = bytes_rindex(path, '@');
    struct buf plain = BUF(p->user_octets);
    const struct config_domain *domain;

    if (at == BYTES_NOT_FOUND)
        return FAIL(CODE_SYNTAX, "the address has no domain");
    p->domain = bytes_after(path, (size_t)at + 1);
    TRY(address_put_unquoted(&plain, bytes_head(path, (size_t)at)));
    p->user = buf_bytes(&plain);
    domain = config_domain_of(p->order.cfg, p->domain);
    if (domain != NULL) {
        struct bytes user = config_domain_user(domain, p->user);
        p->extension = bytes_after(p->user, user.size + 1);
        p->user = user;
    }
    return OK;
}

static RESULT program_prepare(struct program *p, struct helper_spec *spec)
{
    if (p->order.file.size > 0) {
        spec->run = file_run;
        spec->time_ms = FILE_TIME_MS;
        return OK;
    }
    TRY(names_split(p));
    spec->run = command_run;
    spec->time_ms = p->order.cfg->command_time;
    return cmdline_parse(p->order.command,
        &(struct cmdline_facts){.user = p->user,
            .extension = p->extension,
            .domain = p->domain,
            .recipient = p->order.rcpt->forward_path,
            .sender = p->order.head->reverse_path},
        &p->room, &p->command);
}

RESULT program_start(const struct program_order *order, program_ended *ended, void *owner, struct program **program_out)
{
    struct program *p = mem_take_zero(sizeof *p);
    struct helper_spec spec = {.input = order->spool, .ctx = p, .user = (const char *)order->cfg->command_user.data};

    *program_out = NULL;
    if (p == NULL)
        return FAIL_SYS(ENOMEM, "out of memory");
    p->order = *order;
    p->ended = ended;
    p->owner = owner;
    p->room = BUF(p->octets);
    struct result r = program_prepare(p, &spec);
    if (is_ok(r))
        r = helper_start(order->loop, &spec, on_helper_ended, p, &p->helper);
    if (!is_ok(r)) {
        mem_free(p);
        return r;
    }
    *program_out = p;
    return OK;
}

void program_stop(struct program **program)
{
    if (*program == NULL)
        return;
    helper_stop(&(*program)->helper);
    mem_free(*program);
    *program = NULL;
}
