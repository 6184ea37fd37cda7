#include "daemon/local/owner.h"

#include <grp.h>
#include <pwd.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <sys/types.h>
#include <unistd.h>

enum { FILES_MAX = 4096 };

/* Root's rights are there, in use or set aside. */
static bool has_root(void)
{
    uid_t real, effective, saved;

    return getresuid(&real, &effective, &saved) == 0 && (effective == 0 || saved == 0);
}

static bool keep(char *room, size_t size, const char *text)
{
    size_t length = strlen(text);

    if (length >= size)
        return false;
    memcpy(room, text, length + 1);
    return true;
}

RESULT owner_find(struct bytes name, struct owner *owner_out)
{
    const struct passwd *pw;

    *owner_out = (struct owner){.uid = geteuid(), .gid = getegid()};
    if (name.size == 0)
        return OK;
    if (name.size > OWNER_NAME_SIZE_MAX || bytes_index(name, 0) != BYTES_NOT_FOUND)
        return FAIL(CODE_GONE, "there is no such user here");
    memcpy(owner_out->name, name.data, name.size);
    errno = 0;
    pw = getpwnam(owner_out->name);
    if (pw == NULL && (errno == 0 || errno == ENOENT || errno == ESRCH))
        return FAIL(CODE_GONE, "there is no such user here");
    if (pw == NULL)
        return FAIL_SYS(errno, "the user database cannot be read");
    if (!keep(owner_out->home, sizeof owner_out->home, pw->pw_dir) ||
        !keep(owner_out->shell, sizeof owner_out->shell, pw->pw_shell) || owner_out->home[0] != '/')
        return FAIL(CODE_REFUSED, "the user's home is not a usable path");
    owner_out->uid = pw->pw_uid;
    owner_out->gid = pw->pw_gid;
    if (pw->pw_uid != geteuid() && !has_root())
        return FAIL(CODE_REFUSED, "this server runs as an ordinary user and can deliver to that user alone");
    if (pw->pw_uid == 0)
        return FAIL(CODE_REFUSED, "nothing is delivered as root: root needs an alias");
    return OK;
}

void owner_kill(int pid_fd)
{
    uid_t ours = geteuid();
    bool raised = has_root() && seteuid(0) == 0;

    (void)syscall(SYS_pidfd_send_signal, pid_fd, SIGKILL, NULL, 0);
    if (raised && seteuid(ours) != 0)
        _exit(1);
}

static RESULT ids_change(const struct owner *owner)
{
    uint32_t uid = owner->uid, gid = owner->gid;

    if (has_root()) {
        if (setresuid(0, 0, 0) != 0)
            return FAIL_SYS(errno, "setresuid");
        if (owner->name[0] != 0 && initgroups(owner->name, gid) != 0)
            return FAIL_SYS(errno, "initgroups");
        if (setresgid(gid, gid, gid) != 0 || setresuid(uid, uid, uid) != 0)
            return FAIL_SYS(errno, "setresuid");
        if (uid != 0 && setresuid(0, 0, 0) == 0)
            return FAIL(CODE_REFUSED, "root's rights could be taken back");
    }
    return geteuid() == uid ? OK : FAIL(CODE_REFUSED, "not the owner");
}

RESULT owner_become(const struct owner *owner)
{
    struct rlimit files = {FILES_MAX, FILES_MAX}, core = {0, 0}, had;
    pid_t parent = getppid();

    TRY(ids_change(owner));
    if (getrlimit(RLIMIT_NOFILE, &had) == 0 && had.rlim_max < FILES_MAX)
        files = had;
    if (setrlimit(RLIMIT_NOFILE, &files) != 0 || setrlimit(RLIMIT_CORE, &core) != 0)
        return FAIL_SYS(errno, "setrlimit");
    if (prctl(PR_SET_PDEATHSIG, SIGKILL) != 0) /* the kernel forgets it when ids change */
        return FAIL_SYS(errno, "prctl PR_SET_PDEATHSIG");
    return getppid() == parent ? OK : FAIL(CODE_GONE, "the parent is gone");
}
