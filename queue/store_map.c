/* How much of the file the process holds in view.
 *
 * LMDB reads through a shared, read-only map of the whole file. A page once looked at stays in our page table, and so in our
 * memory as the system counts it, although it lies in the page cache either way: after a busy minute that is the queue's
 * size. So when enough has been looked at, the whole map is let go (MADV_DONTNEED): the pages stay cached, those that are
 * used again come back by a minor fault each. A fault brings 16 pages into view, or as many as lie in one large folio of the page
 * cache, which may be megabytes; so faults are counted for the many small things, and octets for bodies.
 *
 * LMDB does not tell where the map is; /proc does. The advice would destroy memory that is not a file's, so the place is
 * looked up anew whenever LMDB may have moved the map, and unless a read-only shared map of this very file and of the very
 * size is found nothing is ever let go. The list of maps is opened once, with the store: later the daemon's sandbox keeps
 * /proc out of reach. */
#include <fcntl.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

#include "queue/store_inside.h"

enum { MAP_FAULTS_MAX = 64, MAP_SEEN_MAX = 4194304, TEXT_SIZE = 4096 };

void store_map_lost(struct store *s)
{
    s->map_base = NULL;
}

/* One line of /proc/self/maps: "start-end perms offset device inode path". */
static bool is_our_map(const struct store *s, const char *line, const struct stat *file, void **base_out)
{
    char *at;
    uint64_t start = strtoull(line, &at, 16);

    if (*at != '-')
        return false;
    uint64_t end = strtoull(at + 1, &at, 16);
    if (strncmp(at, " r--s ", 6) != 0 || end - start != s->map_size)
        return false;
    uint64_t offset = strtoull(at + 6, &at, 16);
    at =
        strchr(at + (*at == ' '), ' '); /* behind the device, whose number some file systems tell otherwise than stat */
    if (at == NULL || offset != 0 || strtoull(at, NULL, 10) != (uint64_t)file->st_ino)
        return false;
    *base_out = (void *)(uintptr_t)start;
    return true;
}

/* All whole lines of `text` are looked at; returns how much of it they are. */
static size_t lines_look(struct store *s, char *text, const struct stat *file)
{
    size_t done = 0;
    char *end;

    while ((end = strchr(text + done, '\n')) != NULL) {
        *end = '\0';
        if (s->map_base == NULL && !is_our_map(s, text + done, file, &s->map_base))
            s->map_base = NULL;
        done = (size_t)(end - text) + 1;
    }
    return done;
}

void store_map_find(struct store *s)
{
    char text[TEXT_SIZE];
    size_t held = 0, done;
    ssize_t got;
    off_t at = 0;
    mdb_filehandle_t fd;
    struct stat file;

    s->map_base = NULL;
    if (s->cfg.read_only || mdb_env_get_fd(s->env, &fd) != 0 || fstat(fd, &file) != 0)
        return;
    if (s->maps_fd < 0)
        s->maps_fd = open("/proc/self/maps", O_RDONLY | O_CLOEXEC);
    while (s->maps_fd >= 0 && s->map_base == NULL && held < sizeof text - 1 &&
           (got = pread(s->maps_fd, text + held, sizeof text - 1 - held, at)) > 0) {
        at += got;
        held += (size_t)got;
        text[held] = '\0';
        done = lines_look(s, text, &file);
        held -= done;
        memmove(text, text + done, held);
    }
}

static uint64_t minor_faults(void)
{
    struct rusage usage;

    return getrusage(RUSAGE_SELF, &usage) == 0 ? (uint64_t)usage.ru_minflt : 0;
}

void store_map_trim(struct store *s)
{
    uint64_t faults;

    if (s->map_base == NULL)
        return;
    faults = minor_faults();
    if (faults - s->map_faults < MAP_FAULTS_MAX && s->map_seen < MAP_SEEN_MAX)
        return;
    (void)madvise(s->map_base, s->map_size, MADV_DONTNEED);
    s->map_faults = faults;
    s->map_seen = 0;
}
