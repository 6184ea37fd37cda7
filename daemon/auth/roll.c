#include "daemon/auth/roll.h"

#include <fcntl.h>
#include <unistd.h>

#include "daemon/base/log.h"

enum { LOOK_MS = 1000 };

void roll_init(struct roll *roll, const char *path)
{
    *roll = (struct roll){.path = path};
}

static void forget(struct roll *roll)
{
    if (roll->octets != NULL)
        explicit_bzero(roll->octets, roll->size);
    mem_free(roll->octets);
    roll->octets = NULL;
    roll->size = 0;
    roll->loaded = false;
}

static void failed(const struct roll *roll, size_t line, const char *why)
{
    LOG(USERS_FAILED, LOG_STR("path", roll->path), LOG_NUM("line", line), LOG_STR("why", why));
}

static size_t lines_check(const struct roll *roll)
{
    struct bytes text = {roll->octets, roll->size}, line;
    struct account account;
    size_t number = 0, good = 0;

    while (account_line(&text, &line)) {
        struct result r = account_parse(line, &account);
        number++;
        good += is_ok(r);
        if (r.code == CODE_SYNTAX)
            failed(roll, number, r.why);
    }
    return good;
}

static const char *load(struct roll *roll, int fd, const struct stat *st)
{
    size_t size = (size_t)st->st_size, done = 0;

    if (!S_ISREG(st->st_mode) || st->st_size > ACCOUNTS_SIZE_MAX)
        return "it is no file, or too large";
    if ((st->st_mode & S_IRWXO) != 0)
        return "everybody may read or write it: chmod o= first";
    roll->octets = mem_take(size + 1);
    if (roll->octets == NULL)
        return "out of memory";
    roll->size = size;
    while (done < size) {
        ssize_t n = pread(fd, roll->octets + done, size - done, (off_t)done);
        if (n <= 0)
            return "it cannot be read";
        done += (size_t)n;
    }
    return NULL;
}

static bool is_same(const struct stat *a, const struct stat *b)
{
    return a->st_ino == b->st_ino && a->st_dev == b->st_dev && a->st_size == b->st_size && a->st_mode == b->st_mode &&
           a->st_mtim.tv_sec == b->st_mtim.tv_sec && a->st_mtim.tv_nsec == b->st_mtim.tv_nsec &&
           a->st_ctim.tv_sec == b->st_ctim.tv_sec && a->st_ctim.tv_nsec == b->st_ctim.tv_nsec;
}

/* Opened at each look, so that what is judged is what is read. */
static void look(struct roll *roll)
{
    int fd = open(roll->path, O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY);
    struct stat st = {0};
    const char *why;

    if (fd < 0 || fstat(fd, &st) != 0) {
        if (roll->loaded || roll->seen.st_ino != 0 || roll->next_look.ms == 0)
            failed(roll, 0, strerror(errno));
        forget(roll);
        roll->seen = (struct stat){0};
    } else if (!is_same(&st, &roll->seen)) {
        forget(roll);
        roll->seen = st;
        why = load(roll, fd, &st);
        roll->loaded = why == NULL;
        if (roll->loaded)
            LOG(USERS_LOADED, LOG_STR("path", roll->path), LOG_NUM("count", lines_check(roll)));
        else
            failed(roll, 0, why);
    }
    if (fd >= 0)
        close(fd);
}

RESULT
roll_find(struct roll *roll, struct instant now, struct bytes name, struct account *account_out)
{
    if (instant_reached(roll->next_look, now)) {
        look(roll);
        roll->next_look = instant_after(now, LOOK_MS);
    }
    if (!roll->loaded)
        return FAIL(CODE_IO, "the users file cannot be used");
    return account_find((struct bytes){roll->octets, roll->size}, name, account_out);
}

void roll_fini(struct roll *roll)
{
    forget(roll);
}
