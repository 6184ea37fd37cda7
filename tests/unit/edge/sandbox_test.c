/* sandbox: from inside each role's sandbox the kernel refuses what the role has no business with. A control run without the sandbox
 * does the same deeds, and there each must succeed: so a refusal is the sandbox's work. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>

#include <cmocka.h>

#include <arpa/inet.h>
#include <fcntl.h>
#include <sched.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/ptrace.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

#include "daemon/edge/sandbox.h"
#include "daemon/ipc/codec.h"

static char folder[] = "/var/tmp/mansio-sandbox-XXXXXX"; /* hands that write mailboxes may use files in /tmp */
static char key_path[128], queue_path[128], database_path[128], mailbox_path[128], users_path[128], aliases_path[128],
    fresh_path[128], control_path[128];
static int tcp_listener, unix_listener;
static struct sockaddr_in tcp_address;
static struct sockaddr_un unix_address;
static struct config *cfg;

static bool file_opens(const char *path, int flags)
{
    int fd = open(path, flags | O_CLOEXEC, 0600);

    if (fd >= 0)
        close(fd);
    return fd >= 0;
}

static bool key(void)
{
    return file_opens(key_path, O_RDONLY);
}
static bool database(void)
{
    return file_opens(database_path, O_RDWR);
}
static bool mailbox(void)
{
    return file_opens(mailbox_path, O_RDONLY);
}
static bool mailbox_write(void)
{
    return file_opens(mailbox_path, O_WRONLY);
}
static bool users(void)
{
    return file_opens(users_path, O_RDONLY);
}
static bool users_write(void)
{
    return file_opens(users_path, O_WRONLY);
}
static bool aliases(void)
{
    return file_opens(aliases_path, O_RDONLY);
}
static bool aliases_write(void)
{
    return file_opens(aliases_path, O_WRONLY);
}
static bool namespace(void) /* unprivileged users may not everywhere: the call itself is what is looked at */
{
    return unshare(CLONE_FS | CLONE_NEWUSER) == 0 || errno != EPERM || unshare(CLONE_FS) == 0;
}
static bool passwd(void)
{
    return file_opens("/etc/passwd", O_RDONLY);
}
static bool fresh(void)
{
    return file_opens(fresh_path, O_WRONLY | O_CREAT);
}
static bool removal(void)
{
    return unlink(mailbox_path) == 0;
}

static bool program(void)
{
    pid_t pid = vfork(); /* where that is allowed, the program ends itself */

    if (pid == 0) {
        execl("/bin/true", "true", NULL);
        _exit(9);
    }
    int status = 0;
    return pid > 0 && waitpid(pid, &status, 0) == pid && status == 0;
}

static bool program_in_place(void) /* only the refusal can be seen from here: in the control run it is not done */
{
    execl("/nonexistent", "nonexistent", NULL);
    return errno == ENOENT;
}

static bool connects(int family, const void *address, socklen_t size)
{
    int fd = socket(family, SOCK_STREAM | SOCK_CLOEXEC, 0);
    bool good = fd >= 0 && connect(fd, address, size) == 0;

    if (fd >= 0)
        close(fd);
    return good;
}

static bool tcp(void)
{
    return connects(AF_INET, &tcp_address, sizeof tcp_address);
}
static bool control(void)
{
    return connects(AF_UNIX, &unix_address, sizeof unix_address);
}

static bool raw_socket(void)
{
    int fd = socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC, 0);

    if (fd >= 0)
        close(fd);
    return fd >= 0;
}

static bool signals(void)
{
    return kill(getppid(), 0) == 0;
}
static bool traces(void)
{
    return ptrace(PTRACE_TRACEME, 0, NULL, NULL) == 0;
}

static bool code(void)
{
    void *memory = mmap(NULL, 4096, PROT_READ | PROT_WRITE | PROT_EXEC, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

    if (memory == MAP_FAILED)
        return false;
    munmap(memory, 4096);
    return true;
}

static bool code_later(void)
{
    void *memory = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    bool good = memory != MAP_FAILED && mprotect(memory, 4096, PROT_READ | PROT_EXEC) == 0;

    if (memory != MAP_FAILED)
        munmap(memory, 4096);
    return good;
}

static void file_make(char *path, size_t room, const char *name)
{
    snprintf(path, room, "%s/%s", folder, name);
    int fd = open(path, O_WRONLY | O_CREAT | O_CLOEXEC, 0600);
    assert_true(fd >= 0);
    close(fd);
}

/* Who is tried: the roles by their numbers, and the processes of local that act as mailbox owners. */
enum { HAND_MAILBOX = ROLE_COUNT, HAND_COMMANDS, NOBODY };
enum {
    OUT = 1 << ROLE_OUTBOUND,
    QUEUE = 1 << ROLE_QUEUED,
    AUTH = 1 << ROLE_AUTH,
    LOOKUP = 1 << ROLE_LOOKUP,
    MAIL = 1 << HAND_MAILBOX,
    RUN = 1 << HAND_COMMANDS,
};

static const struct {
    const char *name;
    bool (*deed)(void);
    unsigned allowed; /* subjects */
    unsigned old;     /* subjects who can in kernels whose Landlock is older than `since` */
    int since;
} deeds[] = {
    {"open the private key", key, 0, 0, 0}, {"open the database", database, QUEUE, 0, 0},
    {"read a mailbox", mailbox, MAIL | RUN, 0, 0}, {"write a mailbox", mailbox_write, MAIL | RUN, 0, 0},
    {"read the passwords", users, AUTH, 0, 0}, {"write the passwords", users_write, 0, 0, 0},
    {"read an alias file", aliases, LOOKUP | QUEUE | RUN, 0, 0}, {"write an alias file", aliases_write, RUN, 0, 0},
    {"read /etc/passwd", passwd, LOOKUP | RUN, 0, 0}, {"make a file", fresh, 0, 0, 0},
    {"run a program", program, RUN, 0, 0}, {"become a program", program_in_place, RUN, 0, 0},
    {"connect by TCP", tcp, OUT | RUN, LOOKUP, 4}, {"connect to the control socket", control, RUN, 0, 0},
    {"open a netlink socket", raw_socket, RUN, 0, 0}, {"signal the parent", signals, 0, MAIL | RUN, 6},
    {"be traced", traces, 0, 0, 0}, {"have executable memory", code, RUN, 0, 0},
    {"make memory executable", code_later, RUN, 0, 0}, {"leave for a namespace", namespace, 0, 0, 0},
    {"remove a file", removal, MAIL | RUN, 0, 0}, /* last: it happens in the control run */
};

static struct result sandbox_close(unsigned subject, int *landlock_out)
{
    struct sandbox_hand hand = {.home = "", .commands = subject == HAND_COMMANDS, .is_server = true};
    struct sandbox_state state = {0};

    if (subject < ROLE_COUNT) {
        struct result r = sandbox_enter((enum ipc_role)subject, cfg, NULL, &state);
        *landlock_out = state.landlock;
        return r;
    }
    *landlock_out = (int)syscall(SYS_landlock_create_ruleset, NULL, 0, 1 /* which version */);
    return subject == NOBODY ? OK : sandbox_enter_hand(&hand, cfg);
}

struct report {
    unsigned done; /* a bit for each deed that succeeded */
    int landlock;
};

/* Does them all in a child. */
static struct report done_by(unsigned subject)
{
    struct report report = {0};
    int fd[2];

    file_make(mailbox_path, sizeof mailbox_path, "mail/alice"); /* somebody may remove it */
    assert_int_equal(pipe(fd), 0);
    pid_t pid = fork();
    assert_true(pid >= 0);
    if (pid == 0) {
        if (!is_ok(sandbox_close(subject, &report.landlock)))
            _exit(1);
        for (size_t i = 0; i < COUNT_OF(deeds); i++)
            report.done |= deeds[i].deed() ? 1u << i : 0;
        _exit(write(fd[1], &report, sizeof report) == (ssize_t)sizeof report ? 0 : 2);
    }
    close(fd[1]);
    int status = -1;
    assert_int_equal(read(fd[0], &report, sizeof report), sizeof report);
    assert_int_equal(waitpid(pid, &status, 0), pid);
    assert_int_equal(status, 0);
    close(fd[0]);
    unlink(fresh_path);
    return report;
}

static const char *subject_name(unsigned subject)
{
    return subject == HAND_MAILBOX    ? "a hand that writes mailboxes"
           : subject == HAND_COMMANDS ? "a hand that runs commands"
                                      : ipc_role_name((enum ipc_role)subject);
}

static void only_its_own_work(void **state)
{
    static const unsigned subjects[] = {ROLE_INBOUND, ROLE_OUTBOUND, ROLE_QUEUED, ROLE_AUTH, ROLE_KEYS, ROLE_LOOKUP,
        ROLE_LOCAL, HAND_MAILBOX, HAND_COMMANDS};

    (void)state;
    for (size_t r = 0; r < COUNT_OF(subjects); r++) {
        struct report report = done_by(subjects[r]);
        for (size_t i = 0; i < COUNT_OF(deeds); i++) {
            unsigned allowed = deeds[i].allowed | (report.landlock < deeds[i].since ? deeds[i].old : 0);
            bool could = (report.done >> i & 1) != 0, may = (allowed >> subjects[r] & 1) != 0;
            if (could != may)
                fail_msg("%s %s %s", subject_name(subjects[r]), could ? "could" : "could not", deeds[i].name);
        }
    }
}

static void without_a_sandbox_all_succeed(void **state)
{
    struct report report = done_by(NOBODY);

    (void)state;
    for (size_t i = 0; i < COUNT_OF(deeds); i++)
        if ((report.done >> i & 1) == 0)
            fail_msg("this machine does not let anybody %s: the test above proves nothing about it", deeds[i].name);
}

static void all_roles_have_one(void **state)
{
    (void)state;
    for (unsigned role = 0; role < ROLE_COUNT; role++)
        assert_int_equal(sandbox_has_role((enum ipc_role)role), role != ROLE_SUPERVISOR && role != ROLE_PAM);
}

static int setup(void **state)
{
    struct config_error error;
    char text[1024], path[128];

    (void)state;
    if (mkdtemp(folder) == NULL)
        return -1;
    snprintf(queue_path, sizeof queue_path, "%s/queue", folder);
    snprintf(path, sizeof path, "%s/auth", folder);
    if (mkdir(queue_path, 0700) != 0 || mkdir(path, 0700) != 0)
        return -1;
    snprintf(path, sizeof path, "%s/mail", folder);
    if (mkdir(path, 0700) != 0)
        return -1;
    snprintf(path, sizeof path, "%s/tables", folder);
    if (mkdir(path, 0700) != 0)
        return -1;
    file_make(key_path, sizeof key_path, "key.pem");
    file_make(database_path, sizeof database_path, "queue/data.mdb");
    file_make(aliases_path, sizeof aliases_path, "tables/aliases");
    file_make(users_path, sizeof users_path, "auth/users");
    snprintf(fresh_path, sizeof fresh_path, "%s/fresh", folder);
    snprintf(control_path, sizeof control_path, "%s/control", folder);
    snprintf(text, sizeof text,
        "hostname = \"h.example\"\nstate_dir = \"%s\"\nauth { users = \"%s\" }\ntls { certificate = \"%s\" key = "
        "\"%s\" }\n"
        "domain \"h.example\" { maildir = \"%s/mail/%%u\" aliases = \"%s\" }\n",
        folder, users_path, key_path, key_path, folder, aliases_path);
    if (!is_ok(config_read_text("test", bytes_of(text), &cfg, &error))) {
        print_error("%s\n", error.text);
        return -1;
    }
    tcp_listener = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    tcp_address = (struct sockaddr_in){.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t size = sizeof tcp_address;
    unix_listener = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    unix_address.sun_family = AF_UNIX;
    memcpy(unix_address.sun_path, control_path, strlen(control_path) + 1);
    return bind(tcp_listener, (void *)&tcp_address, sizeof tcp_address) == 0 && listen(tcp_listener, 16) == 0 &&
                   getsockname(tcp_listener, (void *)&tcp_address, &size) == 0 &&
                   bind(unix_listener, (void *)&unix_address, sizeof unix_address) == 0 &&
                   listen(unix_listener, 16) == 0
               ? 0
               : -1;
}

static int teardown(void **state)
{
    char command[128];

    (void)state;
    config_free(&cfg);
    close(tcp_listener);
    close(unix_listener);
    snprintf(command, sizeof command, "rm -rf %s", folder);
    return system(command) == 0 ? 0 : -1;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(only_its_own_work),
        cmocka_unit_test(without_a_sandbox_all_succeed),
        cmocka_unit_test(all_roles_have_one),
    };

    return cmocka_run_group_tests(tests, setup, teardown);
}
