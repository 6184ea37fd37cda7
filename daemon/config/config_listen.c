/* The listen blocks. */
#include "daemon/config/reader.h"
#include "daemon/config/value.h"

static RESULT listen_class_read(struct reader *r, const struct config_tree_block *block, struct config_listen *listen)
{
    static const char words[] = "smtp|submission|submissions";
    const struct config_tree_cell *cell = reader_cell(block, "class");
    unsigned titled, index;
    bool is_titled = is_ok(value_word(block->title, words, &titled));

    if (cell == NULL && !is_titled)
        return READER_FAIL(r, block->line, "listen \"%.100s\" has no class; expected class = one of %s",
            (const char *)block->title.data, words);
    index = titled;
    if (cell != NULL)
        TRY(reader_word(r, cell, "class", words, &index));
    listen->class = (enum listen_class)index;
    return OK;
}

static RESULT listen_tls_read(struct reader *r, const struct config_tree_block *block, struct config_listen *listen)
{
    const struct config_tree_cell *cell = reader_cell(block, "tls");
    unsigned index = listen->class == LISTEN_SUBMISSIONS ? LISTEN_TLS_IMPLICIT : LISTEN_TLS_OPPORTUNISTIC;

    if (cell != NULL)
        TRY(reader_word(r, cell, "tls", "none|opportunistic|required|implicit", &index));
    listen->tls = (enum listen_tls)index;
    if (listen->tls < LISTEN_TLS_REQUIRED || r->cfg->tls_certificates.count > 0)
        return OK;
    return READER_FAIL(r, cell != NULL ? cell->line : block->line,
        "listen \"%.100s\" wants tls = %s, but there is no certificate; expected tls { certificate = \"…\" key = \"…\" "
        "}",
        (const char *)block->title.data, listen->tls == LISTEN_TLS_REQUIRED ? "required" : "implicit");
}

/* Users' programs leak Bcc fields, other servers' mail is not ours to change (docs/envelope-and-headers.md). */
static RESULT listen_bcc_read(struct reader *r, const struct config_tree_block *block, struct config_listen *listen)
{
    const struct config_tree_cell *cell = reader_cell(block, "bcc");
    unsigned index = listen->class == LISTEN_SMTP ? BCC_KEEP : BCC_STRIP;

    if (cell != NULL)
        TRY(reader_word(r, cell, "bcc", "keep|strip|split", &index));
    listen->bcc = (enum bcc_policy)index;
    return OK;
}

/* An address that nobody wrote. */
static RESULT endpoints_preset(struct reader *r, struct config_listen *listen, const char *const *texts, size_t count)
{
    void *items;

    TRY(reader_list(r->cfg, count * VALUE_ENDPOINTS_MAX, sizeof *listen->endpoints, &items));
    listen->endpoints = items;
    for (size_t i = 0; i < count; i++) {
        size_t added = 0;

        TRY(value_endpoints(bytes_of(texts[i]), listen->endpoints + listen->endpoint_count, &added));
        for (; added > 0; added--)
            listen->endpoints[listen->endpoint_count++].optional = true;
    }
    return OK;
}

RESULT config_listens_read(struct reader *r)
{
    static const char *const loopback[] = {"127.0.0.1:25", "[::1]:25"};
    size_t count = config_tree_count(r->tree, CONFIG_BLOCK_LISTEN), addresses = 0;
    void *items;

    r->cfg->listen_count = count > 0 ? count : 1;
    TRY(reader_list(r->cfg, r->cfg->listen_count, sizeof *r->cfg->listens, &items));
    r->cfg->listens = items;
    if (count == 0) { /* a file that says nothing serves this host alone */
        struct config_listen *listen = &r->cfg->listens[0];

        listen->tls = LISTEN_TLS_OPPORTUNISTIC;
        TRY(reader_keep(r->cfg, BYTES("smtp"), &listen->title));
        return endpoints_preset(r, listen, loopback, COUNT_OF(loopback));
    }
    for (size_t i = 0; i < count; i++) {
        struct config_tree_block block = config_tree_block(r->tree, CONFIG_BLOCK_LISTEN, i);

        addresses += config_tree_values(&block, "address").count + 1;
    }
    TRY(reader_list(r->cfg, addresses * VALUE_ENDPOINTS_MAX, sizeof(void *), &items));
    r->bound = items;
    for (size_t i = 0; i < count; i++) {
        struct config_tree_block block = config_tree_block(r->tree, CONFIG_BLOCK_LISTEN, i);
        struct config_listen *listen = &r->cfg->listens[i];

        TRY(reader_keep(r->cfg, block.title, &listen->title));
        TRY(listen_class_read(r, &block, listen));
        TRY(listen_tls_read(r, &block, listen));
        TRY(listen_bcc_read(r, &block, listen));
        TRY(reader_block(r, &block, listen));
        if (listen->client_certificate != LISTEN_CERTIFICATE_NONE && listen->tls == LISTEN_TLS_NONE)
            return READER_FAIL(r, block.line, "listen \"%.100s\" asks for client_certificate and has no TLS",
                (const char *)block.title.data);
        if (listen->endpoint_count == 0)
            return READER_FAIL(r, block.line,
                "listen \"%.100s\" has no address; expected address = \"*:25\" or the like",
                (const char *)block.title.data);
    }
    return OK;
}
