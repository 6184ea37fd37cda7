#include "daemon/supervisor/credentials.h"

#include <fcntl.h>
#include <stdio.h>
#include <sys/random.h>
#include <sys/stat.h>
#include <unistd.h>

#include "daemon/base/log.h"

enum { FILE_SIZE_MAX = 262144 };

void credentials_init(struct credentials *c)
{
    *c = (struct credentials){.fd = -1, .next_look = INSTANT_NEVER, .rotate_at = INSTANT_NEVER};
}

static bool tickets_rotate(struct credentials *c)
{
    memmove(c->tickets[1], c->tickets[0], sizeof c->tickets - sizeof c->tickets[0]);
    if (c->ticket_count < TLS_TICKET_KEYS_MAX)
        c->ticket_count++;
    return getrandom(c->tickets[0], sizeof c->tickets[0], 0) == (ssize_t)sizeof c->tickets[0];
}

/* One number for how all files look; 0 is for none. */
static uint64_t files_look(const struct config *cfg)
{
    const struct config_text_list *lists[] = {&cfg->tls_certificates, &cfg->tls_keys};
    uint64_t hash = 1;

    for (size_t l = 0; l < COUNT_OF(lists); l++)
        for (size_t i = 0; i < lists[l]->count; i++) {
            struct stat st = {0};
            int64_t parts[6] = {0};
            if (stat((const char *)lists[l]->items[i].data, &st) == 0) {
                parts[0] = (int64_t)st.st_dev;
                parts[1] = (int64_t)st.st_ino;
                parts[2] = st.st_size;
                parts[3] = st.st_mtim.tv_sec;
                parts[4] = st.st_mtim.tv_nsec;
                parts[5] = st.st_ctim.tv_nsec;
            }
            hash = bytes_hash((struct bytes){(const uint8_t *)parts, sizeof parts}, hash);
        }
    return hash == 0 ? 1 : hash;
}

static RESULT file_put(struct bytes path, struct buf *out, struct config_error *error_out)
{
    int fd = open((const char *)path.data, O_RDONLY | O_CLOEXEC | O_NOCTTY);
    size_t before = out->size, done = 0;
    ssize_t n = -1;

    if (fd >= 0 && is_ok(wire_put_u32(out, 0))) {
        while (done < FILE_SIZE_MAX && (n = read(fd, out->data + out->size, buf_left(out))) > 0) {
            out->size += (size_t)n;
            done += (size_t)n;
        }
        wire_store_u32(out->data + before, (uint32_t)done);
    }
    int sys = n == 0 ? 0 : n > 0 ? EFBIG : errno;
    if (fd >= 0)
        close(fd);
    if (sys == 0)
        return OK;
    snprintf(error_out->text, sizeof error_out->text, "tls: %.500s: %s", (const char *)path.data, strerror(sys));
    return FAIL_SYS(sys, "a certificate or its key cannot be read");
}

static RESULT pack_put(
    const struct config *cfg, const struct credentials *c, struct buf *out, struct config_error *error_out)
{
    TRY(wire_put_u32(out, (uint32_t)c->ticket_count));
    for (size_t i = 0; i < c->ticket_count; i++)
        TRY(wire_put_bytes(out, (struct bytes){c->tickets[i], TLS_TICKET_KEY_SIZE}));
    TRY(wire_put_u32(out, (uint32_t)cfg->tls_certificates.count));
    for (size_t i = 0; i < cfg->tls_certificates.count; i++) {
        TRY(file_put(cfg->tls_certificates.items[i], out, error_out));
        TRY(file_put(cfg->tls_keys.items[i], out, error_out));
    }
    return OK;
}

/* Takes the place of c->fd on success. */
static RESULT pack_make(const struct config *cfg, struct credentials *c, struct config_error *error_out)
{
    size_t room = 4096 + cfg->tls_certificates.count * 2 * (FILE_SIZE_MAX + 16);
    uint8_t *octets = mem_take(room);
    struct buf pack;
    int fd = -1;

    snprintf(error_out->text, sizeof error_out->text, "tls: out of memory");
    if (octets == NULL)
        return FAIL(CODE_FULL, "out of memory");
    buf_init(&pack, octets, room);
    struct result r = pack_put(cfg, c, &pack, error_out);
    if (is_ok(r))
        r = tls_pack_file(buf_bytes(&pack), &fd);
    explicit_bzero(octets, pack.size);
    mem_free(octets);
    TRY(r);
    if (c->fd >= 0)
        close(c->fd);
    c->fd = fd;
    return OK;
}

RESULT credentials_read(
    const struct config *cfg, struct instant now, struct credentials *c, struct config_error *error_out)
{
    if (cfg->tls_certificates.count == 0) {
        credentials_close(c);
        return OK;
    }
    if (c->ticket_count == 0) {
        if (!tickets_rotate(c)) {
            snprintf(error_out->text, sizeof error_out->text, "tls: the system gives no random octets");
            return FAIL_SYS(errno, "getrandom");
        }
        c->rotate_at = instant_after(now, CREDENTIALS_ROTATE_MS);
    }
    uint64_t look = files_look(cfg); /* before reading: a change meanwhile is seen at the next look */
    TRY(pack_make(cfg, c, error_out));
    c->seen = look;
    c->next_look = instant_after(now, CREDENTIALS_LOOK_MS);
    return OK;
}

bool credentials_turn(struct credentials *c, const struct config *cfg, struct instant now)
{
    struct config_error error = {0};
    bool rotated = false;

    if (c->fd < 0 || !instant_reached(credentials_deadline(c), now))
        return false;
    if (instant_reached(c->rotate_at, now)) {
        rotated = tickets_rotate(c);
        c->rotate_at = instant_after(now, CREDENTIALS_ROTATE_MS);
    }
    uint64_t look = files_look(cfg);
    c->next_look = instant_after(now, CREDENTIALS_LOOK_MS);
    if (look == c->seen && !rotated)
        return false;
    c->seen = look;
    if (is_ok(pack_make(cfg, c, &error)))
        return true;
    LOG(TLS_REFUSED, LOG_STR("why", error.text));
    return false;
}

struct instant credentials_deadline(const struct credentials *c)
{
    return instant_min(c->next_look, c->rotate_at);
}

void credentials_close(struct credentials *c)
{
    if (c->fd >= 0)
        close(c->fd);
    explicit_bzero(c->tickets, sizeof c->tickets);
    credentials_init(c);
}
