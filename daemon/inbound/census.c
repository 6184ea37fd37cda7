/* Design: ROWS_MAX rows of `places` keys. Row r belongs to the process whose id stands in owners[r]; keys of a row whose
 * owner is dead do not count. A free place holds 0. `high` is how far a row is in use, so that counting reads little. */
#include "daemon/inbound/census.h"

#include <dirent.h>
#include <fcntl.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#define STEM "mansio-in."

enum { ROWS_MAX = 64, NAME_SIZE = 64 };

struct census_row {
    _Atomic int32_t owner; /* process id; 0: free */
    _Atomic uint32_t high;
};

struct census_shared {
    struct census_row rows[ROWS_MAX];
    _Atomic int64_t worked_at;
    struct rates_slot slots[RATES_SLOT_COUNT];
    _Atomic uint64_t keys[]; /* ROWS_MAX times places */
};

struct census {
    struct census_shared *shared;
    size_t map_size;
    uint32_t places;
    uint32_t row;
    uint32_t free_hint;
    uint32_t count;       /* our own */
    char name[NAME_SIZE]; /* empty: alone */
};

static bool process_lives(int32_t pid)
{
    return pid != 0 && (kill(pid, 0) == 0 || errno == EPERM);
}

static bool row_take(struct census *c)
{
    int32_t self = (int32_t)getpid();

    for (uint32_t r = 0; r < ROWS_MAX; r++) {
        int32_t owner = atomic_load(&c->shared->rows[r].owner);

        if (process_lives(owner) && owner != self)
            continue;
        if (!atomic_compare_exchange_strong(&c->shared->rows[r].owner, &owner, self))
            continue;
        c->row = r;
        atomic_store(&c->shared->rows[r].high, 0);
        for (uint32_t i = 0; i < c->places; i++)
            atomic_store_explicit(&c->shared->keys[(size_t)r * c->places + i], 0, memory_order_relaxed);
        return true;
    }
    return false;
}

/* A descriptor of the shared page, ours alone by its mode and owner, or -1. */
static int shared_open(const char *name, size_t size)
{
    int fd = shm_open(name, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
    struct stat st;

    if (fd < 0)
        return -1;
    if (fstat(fd, &st) != 0 || st.st_uid != geteuid() ||
        ((size_t)st.st_size < size && ftruncate(fd, (off_t)size) != 0)) {
        close(fd);
        return -1;
    }
    return fd;
}

uint64_t census_group(int32_t pid)
{
    char path[32], text[1024], *at;
    unsigned long long started = 0;
    FILE *file;

    snprintf(path, sizeof path, "/proc/%" PRId32 "/stat", pid);
    file = fopen(path, "re");
    if (file != NULL) {
        size_t size = fread(text, 1, sizeof text - 1, file);

        text[size] = 0;
        at = strrchr(text, ')'); /* the name before it may hold anything; field 3 follows, and field 22 is wanted */
        for (int field = 2; at != NULL && field < 22; field++)
            at = strchr(at + 1, ' ');
        if (at != NULL)
            started = strtoull(at + 1, NULL, 10);
        (void)fclose(file);
    }
    return (uint64_t)(uint32_t)started << 32 | (uint32_t)pid;
}

/* A server that was killed could not take its page away, and one in a sandbox may not. */
static void stale_sweep(void)
{
    DIR *dir = opendir("/dev/shm");
    const struct dirent *entry;

    while (dir != NULL && (entry = readdir(dir)) != NULL) {
        char name[NAME_SIZE];
        uint32_t pid, started, places;

        if (sscanf(entry->d_name, STEM "%" SCNu32 ".%" SCNu32 ".%" SCNu32, &pid, &started, &places) != 3 ||
            pid > INT32_MAX || process_lives((int32_t)pid))
            continue;
        if (snprintf(name, sizeof name, "/%s", entry->d_name) < (int)sizeof name)
            shm_unlink(name); /* refused where it is not ours */
    }
    if (dir != NULL)
        closedir(dir);
}

RESULT
census_open(uint64_t group, uint32_t sessions_max, struct census **census_out)
{
    struct census *c = mem_take_zero(sizeof *c);
    int fd = -1;

    if (c == NULL)
        return FAIL(CODE_FULL, "out of memory");
    c->places = sessions_max > 0 ? sessions_max : 1;
    c->map_size = sizeof(struct census_shared) + (size_t)ROWS_MAX * c->places * sizeof(uint64_t);
    if (group != 0) {
        stale_sweep();
        /* The size is in the name: after a reload with another limit the new processes share another page. */
        snprintf(c->name, sizeof c->name, "/" STEM "%" PRIu32 ".%" PRIu32 ".%" PRIu32, (uint32_t)group,
            (uint32_t)(group >> 32), c->places);
        fd = shared_open(c->name, c->map_size);
    }
    if (fd < 0)
        c->name[0] = 0;
    c->shared = mmap(NULL, c->map_size, PROT_READ | PROT_WRITE, MAP_SHARED | (fd < 0 ? MAP_ANONYMOUS : 0), fd, 0);
    if (fd >= 0)
        close(fd);
    if (c->shared == MAP_FAILED || !row_take(c)) {
        struct result r = FAIL_SYS(errno, "no memory to count sessions in");

        if (c->shared != MAP_FAILED)
            munmap(c->shared, c->map_size);
        mem_free(c);
        return r;
    }
    *census_out = c;
    return OK;
}

void census_close(struct census **census)
{
    struct census *c = *census;
    bool others = false;

    if (c == NULL)
        return;
    atomic_store(&c->shared->rows[c->row].owner, 0);
    for (uint32_t r = 0; r < ROWS_MAX; r++)
        others |= process_lives(atomic_load(&c->shared->rows[r].owner));
    if (!others && c->name[0] != 0)
        shm_unlink(c->name);
    munmap(c->shared, c->map_size);
    mem_free(c);
    *census = NULL;
}

uint32_t census_count(const struct census *c, uint64_t key)
{
    uint32_t count = 0;

    for (uint32_t r = 0; r < ROWS_MAX; r++) {
        const struct census_row *row = &c->shared->rows[r];
        const _Atomic uint64_t *keys = &c->shared->keys[(size_t)r * c->places];
        uint32_t found = 0, high = atomic_load(&row->high);

        if (atomic_load(&row->owner) == 0 || high > c->places)
            continue;
        for (uint32_t i = 0; i < high; i++) {
            uint64_t held = atomic_load_explicit(&keys[i], memory_order_relaxed);

            found += held != 0 && (key == 0 || held == key);
        }
        if (found > 0 && (r == c->row || process_lives(atomic_load(&row->owner))))
            count += found;
    }
    return count;
}

bool census_enter(struct census *c, uint64_t key, uint32_t *place_out)
{
    _Atomic uint64_t *keys = &c->shared->keys[(size_t)c->row * c->places];
    struct census_row *row = &c->shared->rows[c->row];

    ASSERT(key != 0);
    if (c->count == c->places)
        return false;
    while (atomic_load_explicit(&keys[c->free_hint], memory_order_relaxed) != 0)
        c->free_hint = c->free_hint + 1 == c->places ? 0 : c->free_hint + 1;
    atomic_store(&keys[c->free_hint], key);
    if (c->free_hint >= atomic_load(&row->high))
        atomic_store(&row->high, c->free_hint + 1);
    *place_out = c->free_hint;
    c->count++;
    return true;
}

void census_leave(struct census *c, uint32_t place)
{
    struct census_row *row = &c->shared->rows[c->row];
    _Atomic uint64_t *keys = &c->shared->keys[(size_t)c->row * c->places];
    uint32_t high = atomic_load(&row->high);

    ASSERT(place < c->places && keys[place] != 0);
    atomic_store(&keys[place], 0);
    c->count--;
    if (place < c->free_hint)
        c->free_hint = place;
    while (high > 0 && keys[high - 1] == 0)
        high--;
    atomic_store(&row->high, high);
}

struct rates_slot *census_rates(struct census *c)
{
    return c->shared->slots;
}

void census_worked(struct census *c, int64_t now_ms)
{
    atomic_store_explicit(&c->shared->worked_at, now_ms, memory_order_relaxed);
}

int64_t census_worked_at(const struct census *c)
{
    return atomic_load_explicit(&c->shared->worked_at, memory_order_relaxed);
}
