#include "daemon/lookup/backend.h"

#include <dlfcn.h>
#include <poll.h>
#include <pthread.h>
#include <stdio.h>
#include <sys/stat.h>
#include <time.h>

const struct backend *backend_of(enum lookup_kind kind)
{
    switch (kind) {
    case LOOKUP_TEXT:
        return &BACKEND_TEXT;
    case LOOKUP_LMDB:
        return &BACKEND_LMDB;
    case LOOKUP_DOVECOT:
        return &BACKEND_DOVECOT;
    case LOOKUP_CALLAHEAD:
        return &BACKEND_CALLAHEAD;
    case LOOKUP_SYSTEM:
        return &BACKEND_SYSTEM;
#ifdef MANSIO_CDB
    case LOOKUP_CDB:
        return &BACKEND_CDB;
#endif
#ifdef MANSIO_PCRE2
    case LOOKUP_PCRE:
        return &BACKEND_PCRE;
#endif
#ifdef MANSIO_SQLITE
    case LOOKUP_SQLITE:
        return &BACKEND_SQLITE;
#endif
#ifdef MANSIO_PQ
    case LOOKUP_POSTGRESQL:
        return &BACKEND_POSTGRESQL;
#endif
#ifdef MANSIO_LDAP
    case LOOKUP_LDAP:
        return &BACKEND_LDAP;
#endif
    default:
        return NULL;
    }
}

int backend_ms_left(const struct question *q)
{
    struct timespec now;

    clock_gettime(CLOCK_MONOTONIC, &now);
    int64_t left = q->deadline_ms - ((int64_t)now.tv_sec * 1000 + now.tv_nsec / 1000000);
    return left < 0 ? 0 : left > BACKEND_POLL_MS_MAX ? BACKEND_POLL_MS_MAX : (int)left;
}

RESULT backend_failed(struct question *q, const char *what, const char *detail)
{
    snprintf(q->why, sizeof q->why, detail == NULL ? "%s" : "%s: %s", what, detail);
    for (char *at = q->why; *at != 0; at++) /* libraries write lines */
        if ((unsigned char)*at < ' ')
            *at = ' ';
    return FAIL(CODE_IO, "the lookup failed");
}

RESULT backend_wait(const struct question *q, int fd, bool to_write)
{
    struct pollfd wanted = {.fd = fd, .events = to_write ? POLLOUT : POLLIN};

    for (;;) {
        int n = poll(&wanted, 1, backend_ms_left(q));
        if (n > 0)
            return OK;
        if (n == 0)
            return FAIL(CODE_TIMEOUT, "no answer in time");
        if (errno != EINTR)
            return FAIL_SYS(errno, "poll");
    }
}

RESULT backend_row(struct question *q, struct bytes row)
{
    if (q->answer->size > 0)
        TRY(buf_put_octet(q->answer, '\n'));
    return buf_put(q->answer, row);
}

static void library_open(struct backend_library *library)
{
    void *handle = dlopen(library->file, RTLD_NOW | RTLD_LOCAL);

    library->state = handle != NULL ? 1 : 2;
    for (size_t i = 0; i < library->count && library->state == 1; i++) {
        library->table[i] = dlsym(handle, library->names[i]);
        if (library->table[i] == NULL)
            library->state = 2;
    }
}

RESULT backend_library(struct question *q, struct backend_library *library)
{
    static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;

    pthread_mutex_lock(&lock);
    if (library->state == 0)
        library_open(library);
    bool there = library->state == 1;
    pthread_mutex_unlock(&lock);
    return there ? OK : backend_failed(q, "this library is not installed, or is another version", library->file);
}

RESULT backend_file_changed(struct question *q, struct backend_stamp *stamp, bool *changed_out)
{
    const char *path = (const char *)q->lookup->from.data;
    struct stat st;

    if (stat(path, &st) != 0)
        return backend_failed(q, path, strerrordesc_np(errno));
    struct backend_stamp now = {
        (int64_t)st.st_mtim.tv_sec * 1000000000 + st.st_mtim.tv_nsec, (int64_t)st.st_size, (int64_t)st.st_ino};
    *changed_out = now.mtime_ns != stamp->mtime_ns || now.size != stamp->size || now.inode != stamp->inode;
    *stamp = now;
    return OK;
}
