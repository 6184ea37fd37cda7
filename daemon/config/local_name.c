#include <stdio.h>
#include <unistd.h>

#include "daemon/config/local_name.h"
#include "daemon/config/value.h"

enum { HOSTS_SIZE_MAX = 65536 };

/* The next word of the line, up to white space. */
static struct bytes word_next(struct bytes *line)
{
    size_t from = 0, to;

    while (from < line->size && (line->data[from] == ' ' || line->data[from] == '\t' || line->data[from] == '\r'))
        from++;
    to = from;
    while (to < line->size && line->data[to] != ' ' && line->data[to] != '\t' && line->data[to] != '\r')
        to++;
    struct bytes word = bytes_head(bytes_after(*line, from), to - from);
    *line = bytes_after(*line, to);
    return word;
}

/* The first dotted name of the line, if one of its names is `own`. */
static struct bytes dotted_of(struct bytes line, struct bytes own)
{
    struct bytes word, dotted = BYTES_NONE;
    bool ours = false;

    (void)word_next(&line); /* the address */
    while ((word = word_next(&line)).size > 0) {
        ours = ours || bytes_equal_nocase(word, own);
        if (dotted.size == 0 && bytes_index(word, '.') >= 0)
            dotted = word;
    }
    return ours ? dotted : BYTES_NONE;
}

RESULT local_name_choose(struct bytes own, struct bytes hosts, struct buf *out)
{
    while (bytes_index(own, '.') < 0 && hosts.size > 0) {
        ptrdiff_t end = bytes_index(hosts, '\n');
        struct bytes line = end < 0 ? hosts : bytes_head(hosts, (size_t)end);
        ptrdiff_t comment = bytes_index(line, '#');
        struct bytes dotted = dotted_of(comment < 0 ? line : bytes_head(line, (size_t)comment), own);
        size_t start = out->size;

        if (dotted.size > 0 && is_ok(value_name(dotted, out)))
            return OK;
        out->size = start;
        hosts = end < 0 ? BYTES_NONE : bytes_after(hosts, (size_t)end + 1);
    }
    return value_name(own, out);
}

RESULT local_name_put(struct buf *out)
{
    char own[256] = "";
    uint8_t *hosts;
    size_t size = 0;
    FILE *file;
    struct result r;

    if (gethostname(own, sizeof own - 1) != 0)
        return FAIL_SYS(errno, "the kernel tells no host name");
    hosts = mem_take(HOSTS_SIZE_MAX);
    file = hosts == NULL ? NULL : fopen("/etc/hosts", "re");
    if (file != NULL) {
        size = fread(hosts, 1, HOSTS_SIZE_MAX, file);
        (void)fclose(file);
    }
    r = local_name_choose(bytes_of(own), (struct bytes){hosts, size}, out);
    mem_free(hosts);
    return r;
}
