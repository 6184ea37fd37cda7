#include "daemon/edge/rights.h"

#include <grp.h>
#include <pwd.h>
#include <sys/types.h>
#include <unistd.h>

static const char *role_suffix(enum ipc_role role)
{
    switch (role) {
    case ROLE_INBOUND:
        return "-in";
    case ROLE_OUTBOUND:
        return "-out";
    case ROLE_QUEUED:
        return "-queue";
    case ROLE_AUTH:
    case ROLE_PAM:
        return "-auth";
    case ROLE_KEYS:
        return "-keys";
    default:
        return "";
    }
}

static bool user_find(const char *name, struct rights *rights_out)
{
    errno = 0;
    const struct passwd *pw = getpwnam(name);

    if (pw == NULL)
        return false;
    rights_out->uid = pw->pw_uid;
    rights_out->gid = pw->pw_gid;
    return true;
}

RESULT rights_find(const char *user, enum ipc_role role, struct rights *rights_out)
{
    struct buf name;

    *rights_out = (struct rights){.change = geteuid() == 0};
    buf_init(&name, rights_out->name, sizeof rights_out->name - 1);
    TRY(buf_put_str(&name, user));
    if (!rights_out->change)
        return OK;
    if (role_suffix(role)[0] != 0) {
        TRY(buf_put_str(&name, role_suffix(role)));
        if (user_find(rights_out->name, rights_out))
            return OK;
        memset(rights_out->name, 0, sizeof rights_out->name);
        buf_reset(&name);
        TRY(buf_put_str(&name, user));
    }
    if (user_find(rights_out->name, rights_out))
        return OK;
    return FAIL(CODE_GONE, "the configured user does not exist");
}

RESULT rights_drop(const struct rights *rights)
{
    if (!rights->change)
        return OK;
    if (initgroups(rights->name, rights->gid) != 0)
        return FAIL_SYS(errno, "initgroups");
    if (setresgid(rights->gid, rights->gid, rights->gid) != 0)
        return FAIL_SYS(errno, "setresgid");
    if (setresuid(rights->uid, rights->uid, rights->uid) != 0)
        return FAIL_SYS(errno, "setresuid");
    if (rights->uid != 0 && setresuid(0, 0, 0) == 0)
        return FAIL(CODE_REFUSED, "root's rights could be taken back");
    return OK;
}

RESULT rights_lower(const struct rights *rights)
{
    if (!rights->change)
        return OK;
    if (initgroups(rights->name, rights->gid) != 0)
        return FAIL_SYS(errno, "initgroups");
    if (setresgid(rights->gid, rights->gid, rights->gid) != 0)
        return FAIL_SYS(errno, "setresgid");
    if (setresuid(rights->uid, rights->uid, 0) != 0)
        return FAIL_SYS(errno, "setresuid");
    return OK;
}

RESULT rights_raise(void)
{
    uid_t real, effective, saved;

    if (getresuid(&real, &effective, &saved) != 0)
        return FAIL_SYS(errno, "getresuid");
    return saved != 0 || setresuid(0, 0, 0) == 0 ? OK : FAIL_SYS(errno, "setresuid");
}
