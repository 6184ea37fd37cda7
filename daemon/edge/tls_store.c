#include "daemon/edge/tls_store.h"

#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

enum { PEM_SIZE_MAX = 262144 };

struct tls_store {
    struct tls_context *contexts[TLS_PAIRS_MAX];
    size_t context_count, pair_count;
};

static struct tls_context *choose(void *owner, struct bytes name)
{
    const struct tls_store *store = owner;

    for (size_t i = 0; i < store->context_count; i++)
        if (tls_context_serves(store->contexts[i], name))
            return store->contexts[i];
    return NULL;
}

/* Beside a pair for the same names with a key of another kind, or in a context of its own. */
static RESULT pair_add(struct tls_store *store, struct bytes certificate, struct bytes key)
{
    struct tls_context *fresh;

    if (store->pair_count == TLS_PAIRS_MAX)
        return FAIL(CODE_FULL, "too many certificates");
    TRY(tls_context_server(certificate, key, &fresh));
    store->pair_count++;
    for (size_t i = 0; i < store->context_count; i++) {
        if (!tls_context_goes_with(store->contexts[i], fresh))
            continue;
        tls_context_free(&fresh);
        return tls_context_add(store->contexts[i], certificate, key);
    }
    store->contexts[store->context_count++] = fresh;
    return OK;
}

static RESULT store_fill(struct tls_store *store, struct bytes pack)
{
    uint8_t tickets[TLS_TICKET_KEYS_MAX][TLS_TICKET_KEY_SIZE];
    struct wire_reader in = wire_reader_over(pack);
    uint32_t ticket_count = wire_get_u32(&in);

    for (uint32_t i = 0; i < ticket_count && is_ok(wire_check(&in)); i++) {
        struct bytes key = wire_get_bytes(&in, TLS_TICKET_KEY_SIZE);
        if (i >= TLS_TICKET_KEYS_MAX || key.size != TLS_TICKET_KEY_SIZE)
            return FAIL(CODE_SYNTAX, "the ticket keys do not hold together");
        memcpy(tickets[i], key.data, TLS_TICKET_KEY_SIZE);
    }
    uint32_t count = wire_get_u32(&in);
    for (uint32_t i = 0; i < count && is_ok(wire_check(&in)); i++) {
        struct bytes certificate = wire_get_bytes(&in, PEM_SIZE_MAX);
        struct bytes key = wire_get_bytes(&in, PEM_SIZE_MAX);
        TRY(wire_check(&in));
        TRY(pair_add(store, certificate, key));
    }
    TRY(wire_end(&in));
    if (store->context_count == 0)
        return FAIL(CODE_SYNTAX, "there is no certificate");
    for (size_t i = 0; i < store->context_count && ticket_count > 0; i++)
        TRY(tls_context_tickets(store->contexts[i], tickets, ticket_count));
    explicit_bzero(tickets, sizeof tickets);
    tls_context_chooser(store->contexts[0], choose, store);
    return OK;
}

RESULT
tls_store_new(struct bytes pack, struct tls_store **store_out)
{
    struct tls_store *store = mem_take_zero(sizeof *store);

    *store_out = NULL;
    if (store == NULL)
        return FAIL(CODE_FULL, "out of memory");
    struct result r = store_fill(store, pack);
    if (!is_ok(r))
        tls_store_free(&store);
    *store_out = store;
    return r;
}

RESULT
tls_pack_take(int fd, struct bytes *pack_out)
{
    struct stat st;
    uint8_t *octets = NULL;
    size_t size = 0, done = 0;

    if (fstat(fd, &st) == 0 && st.st_size > 0 && st.st_size <= TLS_PACK_SIZE_MAX) {
        size = (size_t)st.st_size;
        octets = mem_take(size);
    }
    while (octets != NULL && done < size) {
        ssize_t n = pread(fd, octets + done, size - done, (off_t)done);
        if (n <= 0)
            break;
        done += (size_t)n;
    }
    close(fd);
    *pack_out = (struct bytes){octets, size};
    if (octets != NULL && done == size)
        return OK;
    tls_pack_free(pack_out);
    return FAIL(CODE_IO, "the certificates did not come whole");
}

void tls_pack_free(struct bytes *pack)
{
    if (pack->data != NULL)
        explicit_bzero((uint8_t *)pack->data, pack->size);
    mem_free((uint8_t *)pack->data);
    *pack = BYTES_NONE;
}

RESULT
tls_pack_file(struct bytes pack, int *fd_out)
{
    int fd = memfd_create("mansio.tls", MFD_CLOEXEC | MFD_ALLOW_SEALING);

    if (fd < 0)
        return FAIL_SYS(errno, "memfd_create");
    if (write(fd, pack.data, pack.size) != (ssize_t)pack.size ||
        fcntl(fd, F_ADD_SEALS, F_SEAL_WRITE | F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_SEAL) != 0) {
        int sys = errno;
        close(fd);
        return FAIL_SYS(sys, "writing a memory file");
    }
    *fd_out = fd;
    return OK;
}

RESULT
tls_store_take(int fd, struct tls_store **store_out)
{
    struct bytes pack;

    *store_out = NULL;
    TRY(tls_pack_take(fd, &pack));
    struct result r = tls_store_new(pack, store_out);
    tls_pack_free(&pack);
    return r;
}

void tls_store_free(struct tls_store **store)
{
    if (*store == NULL)
        return;
    for (size_t i = 0; i < (*store)->context_count; i++)
        tls_context_free(&(*store)->contexts[i]);
    mem_free(*store);
    *store = NULL;
}

struct tls_context *tls_store_context(const struct tls_store *store)
{
    return store->contexts[0];
}

size_t tls_store_pair_count(const struct tls_store *store)
{
    return store->pair_count;
}

bool tls_store_fact(const struct tls_store *store, size_t index, struct tls_certificate_fact *fact_out)
{
    for (size_t i = 0; i < store->context_count; i++)
        for (size_t n = 0; tls_context_fact(store->contexts[i], n, fact_out); n++)
            if (index-- == 0)
                return true;
    return false;
}

int64_t tls_store_expires(const struct tls_store *store)
{
    int64_t first = INT64_MAX;

    for (size_t i = 0; i < store->context_count; i++) {
        int64_t one = tls_context_expires(store->contexts[i]);
        first = one < first ? one : first;
    }
    return first;
}
