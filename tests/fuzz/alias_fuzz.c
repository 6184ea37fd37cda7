/* Any text as an alias file, a table, a list and a list of users: a whole table or an error with its line; what a table holds
 * is found again under its key in any case of letters, and each target keeps its bounds. Input: the text. */
#include "daemon/lookup/book.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void look(const struct alias_table *t)
{
    void *value = NULL;

    for (size_t i = 0; map_next(&t->entries, &i, &value);)
        for (const struct alias_entry *entry = value; entry != NULL; entry = entry->next) {
            ASSERT(alias_table_find(t, entry->key) == entry);
            uint32_t count = 0;
            for (const struct alias_target *at = entry->targets; at != NULL; at = at->next, count++) {
                ASSERT(at->text.size > 0 && at->text.size <= ALIAS_TARGET_SIZE_MAX);
                ASSERT((at->kind != ALIAS_FILE && at->kind != ALIAS_INCLUDE) || at->text.data[0] == '/');
                for (size_t o = 0; o < at->text.size; o++)
                    ASSERT(at->text.data[o] >= ' ' && at->text.data[o] != 127);
            }
            ASSERT(count == entry->target_count);
        }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    for (enum alias_form form = ALIAS_FORM_ALIASES; form <= ALIAS_FORM_LIST; form++) {
        struct alias_table t;
        uint32_t line = 0, lines = 1;

        for (size_t i = 0; i < size; i++)
            lines += data[i] == '\n';
        alias_table_init(&t);
        struct result r = alias_table_read(&t, form, (struct bytes){data, size}, &line);
        if (is_ok(r))
            look(&t);
        else
            ASSERT(r.why != NULL && line <= lines);
        alias_table_fini(&t);
    }
    struct alias_table users;
    alias_table_init(&users);
    ASSERT(is_ok(book_users_read(&users, (struct bytes){data, size})));
    look(&users);
    alias_table_fini(&users);
    return 0;
}
