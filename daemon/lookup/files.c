/* (B1) A page's table is replaced only by a whole reading of the file; until the first one the page is `broken`.
 * (B2) A file that changes while it is read is read again the next time: what was seen of it before the reading counts. */
#include "daemon/lookup/files.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include "daemon/base/log.h"

static RESULT page_want(struct book *b, struct bytes path, enum alias_form form, bool users)
{
    struct book_page *page = book_find(b, path, form, users);

    if (page == NULL) {
        uint8_t *name;

        page = mem_take_zero(sizeof *page + path.size + 1);
        if (page == NULL)
            return FAIL(CODE_FULL, "out of memory");
        name = (uint8_t *)(page + 1);
        memcpy(name, path.data, path.size);
        page->path = (struct bytes){name, path.size};
        page->form = form;
        page->users = users;
        page->broken = true;
        page->seen_mtime_ns = -1;
        alias_table_init(&page->table);
        page->next = b->pages;
        b->pages = page;
    }
    page->wanted = true;
    return OK;
}

/* The paths of a list; its other items are names and lookups. */
static RESULT list_want(struct book *b, const struct config_text_list *list, enum alias_form form, bool users)
{
    for (size_t i = 0; i < list->count; i++)
        if (list->items[i].data[0] == '/')
            TRY(page_want(b, list->items[i], form, users));
    return OK;
}

static RESULT domain_want(struct book *b, const struct config_domain *d)
{
    TRY(list_want(b, &d->aliases, ALIAS_FORM_ALIASES, false));
    TRY(list_want(b, &d->virtual, ALIAS_FORM_VIRTUAL, false));
    TRY(list_want(b, &d->names, ALIAS_FORM_LIST, true));
    return list_want(b, &d->users, ALIAS_FORM_LIST, true);
}

RESULT files_want(struct book *b, const struct config *cfg)
{
    for (size_t i = 0; i < cfg->domain_count; i++)
        TRY(domain_want(b, &cfg->domains[i]));
    return cfg->hosted != NULL ? domain_want(b, cfg->hosted) : OK;
}

static void page_refused(const struct book_page *page, uint32_t line, const char *why)
{
    LOG(ALIASES_REFUSED, LOG_TEXT("path", page->path), LOG_NUM("line", line), LOG_STR("why", why),
        LOG_STR("kept", page->broken ? "nothing" : "the reading before"));
}

static RESULT text_read(int fd, size_t size, uint8_t **text_out, size_t *size_out)
{
    uint8_t *text = mem_take(size + 1);
    size_t done = 0;

    if (text == NULL)
        return FAIL(CODE_FULL, "out of memory");
    while (done < size) {
        ssize_t n = read(fd, text + done, size - done);
        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0) {
            struct result r = FAIL_SYS(errno, "the file cannot be read");
            mem_free(text);
            return r;
        }
        if (n == 0)
            break;
        done += (size_t)n;
    }
    *text_out = text;
    *size_out = done;
    return OK;
}

/* It could not be read, which says nothing of the file: the next look reads it again although it is the same. */
static void page_failed(struct book_page *page, struct result why)
{
    page_refused(page, 0, why.sys != 0 ? strerrordesc_np(why.sys) : why.why);
    page->seen_mtime_ns = -1;
}

static void page_read(struct book_page *page, int fd, size_t size)
{
    struct alias_table table;
    uint8_t *text = NULL;
    uint32_t line = 0;

    struct result r = text_read(fd, size, &text, &size);
    if (!is_ok(r)) {
        page_failed(page, r);
        return;
    }
    alias_table_init(&table);
    struct bytes whole = {text, size};
    r = page->users ? book_users_read(&table, whole) : alias_table_read(&table, page->form, whole, &line);
    mem_free(text);
    if (!is_ok(r)) {
        if (r.code == CODE_FULL)
            page_failed(page, r);
        else
            page_refused(page, line, r.why);
        alias_table_fini(&table);
        return;
    }
    alias_table_fini(&page->table);
    page->table = table;
    page->broken = false;
    LOG(ALIASES_READ, LOG_TEXT("path", page->path), LOG_NUM("entries", table.entry_count));
}

/* Whether the file is another one than the last time; notes what it is now. */
static bool page_changed(struct book_page *page, int64_t mtime_ns, int64_t size, int64_t inode)
{
    if (page->seen_mtime_ns == mtime_ns && page->seen_size == size && page->seen_inode == inode)
        return false;
    page->seen_mtime_ns = mtime_ns;
    page->seen_size = size;
    page->seen_inode = inode;
    return true;
}

static void page_look(struct book_page *page)
{
    int fd = open((const char *)page->path.data, O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY);
    struct stat st;

    if (fd < 0 || fstat(fd, &st) != 0) {
        int sys = errno;
        if (page_changed(page, 0, -1, sys))
            page_refused(page, 0, strerrordesc_np(sys));
    } else if (!S_ISREG(st.st_mode)) {
        if (page_changed(page, 0, -2, 0))
            page_refused(page, 0, "it is not a regular file");
    } else if (page_changed(page, (int64_t)st.st_mtim.tv_sec * 1000000000 + st.st_mtim.tv_nsec, (int64_t)st.st_size,
                   (int64_t)st.st_ino)) {
        if (st.st_size > FILES_SIZE_MAX)
            page_refused(page, 0, "it is over 64 MiB");
        else
            page_read(page, fd, (size_t)st.st_size);
    }
    if (fd >= 0)
        close(fd);
}

static void includes_want(struct book *b, const struct book_page *page)
{
    void *value = NULL;

    for (size_t i = 0; map_next(&page->table.entries, &i, &value);)
        for (const struct alias_entry *e = value; e != NULL; e = e->next)
            for (const struct alias_target *t = e->targets; t != NULL; t = t->next)
                if (t->kind == ALIAS_INCLUDE && !is_ok(page_want(b, t->text, ALIAS_FORM_LIST, false)))
                    return; /* the heap; what is not there counts as broken */
}

static bool is_include_list(const struct book_page *page)
{
    return page->form == ALIAS_FORM_LIST && !page->users;
}

void files_refresh(struct book *b)
{
    for (struct book_page *page = b->pages; page != NULL; page = page->next) {
        if (is_include_list(page))
            page->wanted = false;
        else
            page_look(page);
    }
    for (struct book_page *page = b->pages; page != NULL; page = page->next)
        if (!is_include_list(page))
            includes_want(b, page);
    for (struct book_page **at = &b->pages; *at != NULL;) {
        struct book_page *page = *at;

        if (!page->wanted) {
            *at = page->next;
            alias_table_fini(&page->table);
            mem_free(page);
            continue;
        }
        if (is_include_list(page))
            page_look(page);
        at = &page->next;
    }
}

void files_fini(struct book *b)
{
    while (b->pages != NULL) {
        struct book_page *next = b->pages->next;
        alias_table_fini(&b->pages->table);
        mem_free(b->pages);
        b->pages = next;
    }
}
