#include "daemon/local/forward.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include "daemon/lookup/alias.h"

enum { WRITABLE_BY_OTHERS = S_IWGRP | S_IWOTH, NAME_SIZE_MAX = 200 };

static RESULT home_open(const struct owner *owner, int *fd_out)
{
    struct stat st;
    int fd = open(owner->home, O_RDONLY | O_DIRECTORY | O_CLOEXEC | O_NONBLOCK);

    if (fd < 0 && (errno == ENOENT || errno == ENOTDIR))
        return FAIL(CODE_GONE, "there is no home");
    if (fd < 0)
        return FAIL_SYS(errno, "the home cannot be opened");
    if (fstat(fd, &st) != 0 || (st.st_uid != owner->uid && st.st_uid != 0) || (st.st_mode & WRITABLE_BY_OTHERS) != 0) {
        close(fd);
        return FAIL(CODE_REFUSED, "others can write into the home");
    }
    *fd_out = fd;
    return OK;
}

static RESULT safe(int fd, const struct owner *owner)
{
    struct stat st;

    if (fstat(fd, &st) != 0)
        return FAIL_SYS(errno, "the .forward cannot be looked at");
    if (!S_ISREG(st.st_mode) || st.st_nlink != 1)
        return FAIL(CODE_REFUSED, "the .forward is not a file with one name");
    if (st.st_uid != owner->uid && st.st_uid != 0)
        return FAIL(CODE_REFUSED, "the .forward belongs to somebody else");
    if ((st.st_mode & WRITABLE_BY_OTHERS) != 0)
        return FAIL(CODE_REFUSED, "others can write the .forward");
    return OK;
}

static RESULT whole_read(int fd, struct buf *text)
{
    for (;;) {
        ssize_t got = read(fd, text->data + text->size, buf_left(text));

        if (got < 0 && errno == EINTR)
            continue;
        if (got < 0)
            return FAIL_SYS(errno, "the .forward cannot be read");
        text->size += (size_t)got;
        if (got == 0)
            return OK;
        if (buf_left(text) == 0)
            return FAIL(CODE_REFUSED, "the .forward is too large");
    }
}

/* One of the two files. */
static RESULT file_read(int home, const char *name, const struct owner *owner, struct buf *text)
{
    int fd = openat(home, name, O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_NOCTTY | O_CLOEXEC);

    if (fd < 0 && errno == ENOENT)
        return FAIL(CODE_GONE, "there is none");
    if (fd < 0 && errno == ELOOP)
        return FAIL(CODE_REFUSED, "the .forward is a link");
    if (fd < 0)
        return FAIL_SYS(errno, "the .forward cannot be opened");
    struct result r = safe(fd, owner);
    if (is_ok(r))
        r = whole_read(fd, text);
    close(fd);
    return r;
}

/* ".forward+shop" with its NUL; false when an extension cannot be part of a file's name. */
static bool special_name(struct buf *name, struct bytes delimiter, struct bytes extension)
{
    if (extension.size == 0)
        return false;
    for (size_t i = 0; i < extension.size; i++)
        if (extension.data[i] == '/' || extension.data[i] < ' ')
            return false;
    return is_ok(buf_put_str(name, ".forward")) && is_ok(buf_put(name, bytes_head(delimiter, 1))) &&
           is_ok(buf_put(name, extension)) && is_ok(buf_put_octet(name, 0));
}

RESULT forward_read(const struct owner *owner, struct bytes delimiter, struct bytes extension, struct buf *text)
{
    uint8_t octets[NAME_SIZE_MAX];
    struct buf name = BUF(octets);
    struct result r = FAIL(CODE_GONE, "there is none");
    int home;

    TRY(home_open(owner, &home));
    if (special_name(&name, delimiter, extension))
        r = file_read(home, (const char *)octets, owner, text);
    if (r.code == CODE_GONE)
        r = file_read(home, ".forward", owner, text);
    close(home);
    return r;
}

/* --- what it asks for --- */

static bool is_himself(const struct owner *owner, struct bytes path, struct bytes text)
{
    ptrdiff_t at = bytes_rindex(path, '@');
    struct bytes domain = bytes_after(path, (size_t)at), local = text;

    if (bytes_equal_nocase(text, path))
        return true;
    if (text.size > domain.size && bytes_equal_nocase(bytes_after(text, text.size - domain.size), domain))
        local = bytes_head(text, text.size - domain.size);
    return bytes_equal_nocase(local, bytes_of(owner->name));
}

static RESULT target_make(const struct owner *owner, struct bytes path, enum alias_kind kind, struct bytes text,
    struct arena *a, struct forward_target *t)
{
    uint8_t octets[ADDRESS_SIZE_MAX];
    struct buf whole = BUF(octets);

    switch (kind) {
    case ALIAS_COMMAND:
        t->kind = CHILD_COMMAND;
        return arena_copy(a, text, &t->text);
    case ALIAS_FILE:
        t->kind = CHILD_FILE;
        return arena_copy(a, text, &t->text);
    case ALIAS_INCLUDE:
        return FAIL(CODE_SYNTAX, "a .forward may not include files");
    case ALIAS_ADDRESS:
    case ALIAS_USER:
        break;
    }
    if (is_himself(owner, path, text)) {
        t->kind = CHILD_MAILBOX;
        return arena_copy(a, bytes_of(owner->name), &t->text);
    }
    t->kind = CHILD_FORWARD;
    bool bare = bytes_rindex(text, '@') == BYTES_NOT_FOUND || text.data[text.size - 1] == '"';
    if (!is_ok(buf_put(&whole, text)) ||
        (bare && !is_ok(buf_put(&whole, bytes_after(path, (size_t)bytes_rindex(path, '@'))))))
        return FAIL(CODE_SYNTAX, "an address in the .forward is too long");
    return arena_copy(a, buf_bytes(&whole), &t->text);
}

RESULT forward_targets(const struct owner *owner, struct bytes path, struct bytes text, struct arena *a,
    struct forward_target **targets_out)
{
    uint8_t octets[ALIAS_TARGET_SIZE_MAX];
    struct buf room = BUF(octets);
    struct bytes rest = text, target;
    enum alias_kind kind;
    uint32_t count = 0;

    for (*targets_out = NULL;;) {
        void *memory;
        struct result r = alias_target_take(&rest, ALIAS_FORM_LIST, &room, &kind, &target);

        if (r.code == CODE_GONE)
            return OK;
        TRY(r);
        if (++count > FORWARD_TARGETS_MAX)
            return FAIL(CODE_SYNTAX, "the .forward names too many recipients");
        TRY(arena_take(a, sizeof(struct forward_target), &memory));
        *targets_out = memory;
        targets_out = &(*targets_out)->next;
        TRY(target_make(owner, path, kind, target, a, memory));
    }
}
