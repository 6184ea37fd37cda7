#include "daemon/edge/landlock.h"

#include <dirent.h>
#include <fcntl.h>
#include <limits.h>
#include <linux/landlock.h>
#include <stdio.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

/* Newer than the headers of the distribution. */
enum { FS_TRUNCATE = 1 << 14, FS_IOCTL_DEV = 1 << 15, FS_V1 = (1 << 13) - 1 };
enum { NET_BIND = 1 << 0, NET_CONNECT = 1 << 1, RULE_NET_PORT = 2 };
enum { SCOPE_ABSTRACT = 1 << 0, SCOPE_SIGNALS = 1 << 1 };
enum { SINCE_REFER = 2, SINCE_TRUNCATE = 3, SINCE_NET = 4, SINCE_IOCTL = 5, SINCE_SCOPED = 6 };
enum { DEPTH_MAX = 32, FOLDER_ENTRIES_MAX = 10000 };

struct attributes { /* as of version 6 */
    uint64_t files, net, scoped;
};
struct port_rule {
    uint64_t access, port;
};

RESULT landlock_begin(struct landlock *l, bool tcp)
{
    long version = syscall(SYS_landlock_create_ruleset, NULL, 0, LANDLOCK_CREATE_RULESET_VERSION);

    *l = (struct landlock){.version = version > 0 ? (int)version : 0, .ruleset = -1};
    if (l->version == 0) /* not built in, or switched off */
        return OK;
    l->files = FS_V1;
    l->files |= version >= SINCE_REFER ? LANDLOCK_ACCESS_FS_REFER : 0;
    l->files |= version >= SINCE_TRUNCATE ? FS_TRUNCATE : 0;
    l->files |= version >= SINCE_IOCTL ? FS_IOCTL_DEV : 0;
    l->net = tcp && version >= SINCE_NET ? NET_BIND | NET_CONNECT : 0;
    struct attributes attributes = {.files = l->files, .net = l->net};
    if (version >= SINCE_SCOPED)
        attributes.scoped = SCOPE_ABSTRACT | SCOPE_SIGNALS;
    size_t size = version >= SINCE_SCOPED ? sizeof attributes
                  : version >= SINCE_NET  ? offsetof(struct attributes, scoped)
                                          : sizeof attributes.files;
    l->ruleset = (int)syscall(SYS_landlock_create_ruleset, &attributes, size, 0);
    return l->ruleset >= 0 ? OK : FAIL_SYS(errno, "landlock_create_ruleset");
}

static uint64_t files_of(unsigned access)
{
    uint64_t files = 0;

    if (access == LANDLOCK_ALL)
        return UINT64_MAX;
    if ((access & LANDLOCK_READ_FILES) != 0)
        files |= LANDLOCK_ACCESS_FS_READ_FILE;
    if ((access & LANDLOCK_READ) == LANDLOCK_READ)
        files |= LANDLOCK_ACCESS_FS_READ_DIR;
    if ((access & LANDLOCK_WRITE_FILES) != 0)
        files |= LANDLOCK_ACCESS_FS_WRITE_FILE | FS_TRUNCATE;
    if ((access & LANDLOCK_CHANGE) == LANDLOCK_CHANGE)
        files |= LANDLOCK_ACCESS_FS_MAKE_REG | LANDLOCK_ACCESS_FS_REMOVE_FILE;
    if ((access & LANDLOCK_FOLDERS) != 0)
        files |= LANDLOCK_ACCESS_FS_MAKE_DIR | LANDLOCK_ACCESS_FS_REMOVE_DIR | LANDLOCK_ACCESS_FS_REFER;
    return files;
}

static void rule_add(struct landlock *l, int fd, unsigned access)
{
    struct landlock_path_beneath_attr rule = {.allowed_access = files_of(access) & l->files, .parent_fd = fd};
    struct stat st;

    if (fstat(fd, &st) == 0 && !S_ISDIR(st.st_mode))
        rule.allowed_access &= LANDLOCK_ACCESS_FS_READ_FILE | LANDLOCK_ACCESS_FS_WRITE_FILE |
                               LANDLOCK_ACCESS_FS_EXECUTE | FS_TRUNCATE | FS_IOCTL_DEV;
    if (rule.allowed_access != 0 &&
        syscall(SYS_landlock_add_rule, l->ruleset, LANDLOCK_RULE_PATH_BENEATH, &rule, 0) != 0)
        l->failed = true;
}

void landlock_allow(struct landlock *l, const char *path, unsigned access)
{
    int fd = l->version == 0 ? -1 : open(path, O_PATH | O_CLOEXEC);

    if (fd < 0)
        return;
    rule_add(l, fd, access);
    close(fd);
}

/* "/a/b" of "/a/b/c"; false: too long. */
static bool folder_of(struct bytes path, char folder[PATH_MAX])
{
    ptrdiff_t slash = bytes_rindex(path, '/');

    return slash >= 0 &&
           snprintf(folder, PATH_MAX, "%.*s", slash == 0 ? 1 : (int)slash, (const char *)path.data) < PATH_MAX;
}

void landlock_allow_folder_of(struct landlock *l, struct bytes path, unsigned access)
{
    char name[PATH_MAX], folder[PATH_MAX], real[PATH_MAX];

    if (!folder_of(path, folder))
        return;
    landlock_allow(l, folder, access);
    if (snprintf(name, sizeof name, "%.*s", BYTES_ARG(path)) < (int)sizeof name && realpath(name, real) != NULL &&
        folder_of(bytes_of(real), folder))
        landlock_allow(l, folder, access);
}

void landlock_allow_existing(struct landlock *l, struct bytes path, unsigned access)
{
    char name[PATH_MAX];
    struct stat st;

    if (snprintf(name, sizeof name, "%.*s", BYTES_ARG(path)) >= (int)sizeof name)
        return;
    while (name[0] == '/' && name[1] != 0 && stat(name, &st) != 0) {
        char *slash = strrchr(name, '/');
        slash[slash == name ? 1 : 0] = 0;
    }
    landlock_allow(l, name, access);
}

/* Whether `path` is `place`, or below it. */
static bool is_at_or_below(const char *path, const char *place)
{
    size_t size = strlen(place);

    return strncmp(path, place, size) == 0 && (path[size] == 0 || path[size] == '/' || size == 1);
}

static void all_but(struct landlock *l, const char *place, const char *const *paths, size_t count, unsigned depth)
{
    const struct dirent *entry;
    unsigned entries = 0;
    char name[PATH_MAX];
    bool above = false;

    for (size_t i = 0; i < count; i++) {
        if (is_at_or_below(place, paths[i]))
            return;
        above = above || is_at_or_below(paths[i], place);
    }
    if (!above || depth == DEPTH_MAX) {
        landlock_allow(l, place, LANDLOCK_ALL);
        return;
    }
    DIR *folder = opendir(place);
    while (folder != NULL && (entry = readdir(folder)) != NULL && entries++ < FOLDER_ENTRIES_MAX) {
        if (strcmp(entry->d_name, ".") == 0 || strcmp(entry->d_name, "..") == 0 || entry->d_type == DT_LNK)
            continue; /* what a link leads to has a rule where it stands */
        if (snprintf(name, sizeof name, "%s/%s", place[1] == 0 ? "" : place, entry->d_name) < (int)sizeof name)
            all_but(l, name, paths, count, depth + 1);
    }
    if (folder != NULL)
        closedir(folder);
}

void landlock_allow_all_but(struct landlock *l, const char *const *paths, size_t count)
{
    if (l->version > 0)
        all_but(l, "/", paths, count, 0);
}

void landlock_allow_port(struct landlock *l, uint16_t port)
{
    struct port_rule rule = {NET_CONNECT, port};

    if (l->net != 0 && syscall(SYS_landlock_add_rule, l->ruleset, RULE_NET_PORT, &rule, 0) != 0)
        l->failed = true;
}

RESULT landlock_end(struct landlock *l)
{
    if (l->version == 0)
        return OK;
    bool good = !l->failed && syscall(SYS_landlock_restrict_self, l->ruleset, 0) == 0;
    int sys = errno;
    close(l->ruleset);
    return good ? OK : FAIL_SYS(sys, "the kernel takes no Landlock rules (sandbox = false goes without)");
}
