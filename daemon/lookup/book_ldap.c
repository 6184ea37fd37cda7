/* LDAP: the base, the attributes and the scope stand in the URL of `from` (RFC 4516), the filter in `query`. Each value of the first
 * attribute that an entry has is a row; without attributes in the URL an entry by itself is an answer. */
#ifdef MANSIO_LDAP
#include <ldap.h>
#include <stdio.h>

#include "daemon/lookup/backend.h"
#include "daemon/lookup/query.h"

#define FUNCTIONS(F)                                                                                                   \
    F(ldap_url_parse)                                                                                                  \
    F(ldap_free_urldesc)                                                                                               \
    F(ldap_initialize)                                                                                                 \
    F(ldap_set_option)                                                                                                 \
    F(ldap_sasl_bind_s)                                                                                                \
    F(ldap_search_ext_s)                                                                                               \
    F(ldap_first_entry)                                                                                                \
    F(ldap_next_entry)                                                                                                 \
    F(ldap_get_values_len) F(ldap_value_free_len) F(ldap_msgfree) F(ldap_err2string) F(ldap_unbind_ext_s)

BACKEND_LIBRARY(MANSIO_LDAP, FUNCTIONS)

enum { ENTRIES_MAX = 10000 };

struct directory {
    LDAP *ldap;
    LDAPURLDesc *url;
};

static void directory_close(void *conn)
{
    struct directory *d = conn;

    if (d == NULL)
        return;
    if (d->ldap != NULL)
        lib.ldap_unbind_ext_s(d->ldap, NULL, NULL);
    if (d->url != NULL)
        lib.ldap_free_urldesc(d->url);
    free(d);
}

/* At least a moment: a time of zero means for ever to libldap. */
static struct timeval time_left(const struct question *q)
{
    int ms = backend_ms_left(q);

    return (struct timeval){ms / 1000, ms <= 1 ? 1000 : ms % 1000 * 1000};
}

static RESULT directory_bind(struct directory *d, struct question *q)
{
    struct berval password = {
        .bv_val = (char *)(uintptr_t)q->lookup->password.data, .bv_len = q->lookup->password.size};
    struct timeval left = time_left(q);
    char host[1024];
    int version = LDAP_VERSION3, code;

    int size = snprintf(host, sizeof host, "%.*s", (int)strcspn((const char *)q->lookup->from.data + 8, "/") + 8,
        (const char *)q->lookup->from.data);
    if (size < 0 || size >= (int)sizeof host)
        return backend_failed(q, "LDAP", "the URL is too long");
    if (d->url->lud_port > 0 && d->url->lud_host != NULL && strcmp(d->url->lud_scheme, "ldapi") != 0)
        snprintf(host, sizeof host, "%s://%s:%d", d->url->lud_scheme, d->url->lud_host, d->url->lud_port);
    code = lib.ldap_initialize(&d->ldap, host);
    if (code != LDAP_SUCCESS)
        return backend_failed(q, "LDAP", lib.ldap_err2string(code));
    lib.ldap_set_option(d->ldap, LDAP_OPT_PROTOCOL_VERSION, &version);
    lib.ldap_set_option(d->ldap, LDAP_OPT_NETWORK_TIMEOUT, &left);
    lib.ldap_set_option(d->ldap, LDAP_OPT_TIMEOUT, &left);
    lib.ldap_set_option(d->ldap, LDAP_OPT_REFERRALS, LDAP_OPT_OFF);
    code = lib.ldap_sasl_bind_s(
        d->ldap, (const char *)q->lookup->user.data, LDAP_SASL_SIMPLE, &password, NULL, NULL, NULL);
    return code == LDAP_SUCCESS ? OK : backend_failed(q, "LDAP", lib.ldap_err2string(code));
}

static RESULT directory_open(void **conn, struct question *q)
{
    struct directory *d = *conn = calloc(1, sizeof *d);

    if (d == NULL)
        return FAIL(CODE_FULL, "out of memory");
    if (lib.ldap_url_parse((const char *)q->lookup->from.data, &d->url) != LDAP_URL_SUCCESS)
        return backend_failed(q, "LDAP", "the URL of from cannot be read");
    return directory_bind(d, q);
}

static RESULT entry_take(const struct directory *d, struct question *q, LDAPMessage *entry, bool *found)
{
    if (d->url->lud_attrs == NULL)
        *found = true;
    for (char **attribute = d->url->lud_attrs; attribute != NULL && *attribute != NULL; attribute++) {
        struct berval **values = lib.ldap_get_values_len(d->ldap, entry, *attribute);
        struct result r = OK;

        for (struct berval **v = values; v != NULL && *v != NULL && is_ok(r); v++) {
            r = backend_row(q, (struct bytes){(const uint8_t *)(*v)->bv_val, (*v)->bv_len});
            *found = true;
        }
        if (values != NULL)
            lib.ldap_value_free_len(values);
        if (!is_ok(r))
            return backend_failed(q, "LDAP", "the answer is too long");
        if (values != NULL)
            break;
    }
    return OK;
}

/* A URL that names none means the base alone (RFC 4516), which nobody wants here: then everything below it. */
static int scope_of(const struct directory *d, const struct question *q)
{
    unsigned marks = 0;

    for (size_t i = 0; i < q->lookup->from.size; i++)
        marks += q->lookup->from.data[i] == '?';
    return marks < 2 ? LDAP_SCOPE_SUBTREE : d->url->lud_scope;
}

static RESULT directory_search(struct directory *d, struct question *q, const char *filter)
{
    static char no_attributes[] = LDAP_NO_ATTRS;
    char *none[] = {no_attributes, NULL};
    struct timeval left = time_left(q);
    LDAPMessage *answer = NULL;
    bool found = false;
    struct result r = OK;

    int code = lib.ldap_search_ext_s(d->ldap, d->url->lud_dn, scope_of(d, q), filter,
        d->url->lud_attrs != NULL ? d->url->lud_attrs : none, 0, NULL, NULL, &left, ENTRIES_MAX, &answer);
    if (code != LDAP_SUCCESS && code != LDAP_NO_SUCH_OBJECT)
        r = backend_failed(q, "LDAP", lib.ldap_err2string(code));
    for (LDAPMessage *entry = code == LDAP_SUCCESS ? lib.ldap_first_entry(d->ldap, answer) : NULL;
         entry != NULL && is_ok(r); entry = lib.ldap_next_entry(d->ldap, entry))
        r = entry_take(d, q, entry, &found);
    if (answer != NULL)
        lib.ldap_msgfree(answer);
    TRY(r);
    return found ? OK : FAIL(CODE_GONE, "no entry");
}

static RESULT directory_ask(void **conn, struct question *q)
{
    uint8_t room[QUERY_SIZE_MAX];
    struct buf filter = BUF(room);

    TRY(query_ldap(q->lookup->query, q->key, &filter));
    TRY(buf_put_octet(&filter, 0));
    TRY(backend_library(q, &library));
    if (*conn == NULL)
        TRY(directory_open(conn, q));
    return directory_search(*conn, q, (const char *)filter.data);
}

const struct backend BACKEND_LDAP = {directory_ask, directory_close};
#endif
