#include "daemon/inbound/users.h"

#include <pwd.h>

enum { USERS_ARENA_SIZE_MAX = USERS_COUNT_MAX * 128 };

static int user_order(const void *a, const void *b)
{
    const struct user *x = a, *y = b;

    return x->uid < y->uid ? -1 : x->uid > y->uid;
}

void users_load(struct users *users)
{
    struct user *items = mem_take(USERS_COUNT_MAX * sizeof *items), *fitted;
    const struct passwd *entry;

    *users = (struct users){.count = 0};
    arena_init(&users->arena, USERS_ARENA_SIZE_MAX);
    if (items == NULL)
        return;
    setpwent();
    while (users->count < USERS_COUNT_MAX && (entry = getpwent()) != NULL) {
        struct user *user = &items[users->count];

        user->uid = entry->pw_uid;
        if (is_ok(arena_copy(&users->arena, bytes_of(entry->pw_name), &user->name)))
            users->count++;
    }
    endpwent();
    qsort(items, users->count, sizeof *items, user_order);
    fitted = mem_resize(items, (users->count + 1) * sizeof *items);
    users->items = fitted != NULL ? fitted : items;
}

struct bytes users_name(const struct users *users, uint32_t uid)
{
    struct user wanted = {.uid = uid};
    const struct user *found =
        users->count == 0 ? NULL : bsearch(&wanted, users->items, users->count, sizeof wanted, user_order);

    return found == NULL ? BYTES_NONE : found->name;
}

void users_fini(struct users *users)
{
    mem_free(users->items);
    arena_fini(&users->arena);
    *users = (struct users){.count = 0};
}
