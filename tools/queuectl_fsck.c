#include <stdio.h>

#include "daemon/base/json_put.h"
#include "tools/desk.h"
#include "tools/queuectl.h"

/* One finding: text without LF; it may quote damaged rows, so it is escaped like everything else. */
static void finding_say(void *context, struct bytes line)
{
    const struct tool *t = context;
    uint8_t room[8192];
    struct buf text = BUF(room);

    if (!is_ok(json_put_text(&text, bytes_head(line, 1024))))
        return;
    if (t->json)
        printf("{\"v\":1,\"finding\":%.*s}\n", BYTES_ARG(buf_bytes(&text)));
    else
        printf("%.*s\n", BYTES_ARG(bytes_head(bytes_after(buf_bytes(&text), 1), text.size - 2)));
}

static void counts_say(const struct tool *t, const struct store_fsck *f)
{
    const struct {
        const char *name, *meaning;
        uint64_t value;
    } rows[] = {
        {"messages", "messages", f->messages},
        {"recipients", "recipients", f->recipients},
        {"due_rows", "places in the schedule", f->due_rows},
        {"body_rows", "pieces of bodies", f->body_rows},
        {"history_rows", "attempts in the history", f->history_rows},
        {"lanes", "lanes with a remembered state", f->lanes},
        {"damaged", "damaged rows", f->damaged},
        {"orphan_due", "places in the schedule without a recipient", f->orphan_due},
        {"missing_due", "waiting recipients without a place in the schedule", f->missing_due},
        {"orphan_recipients", "recipients without a message", f->orphan_recipients},
        {"orphan_bodies", "bodies without a message", f->orphan_bodies},
        {"missing_bodies", "messages with an incomplete body", f->missing_bodies},
        {"orphan_seen", "remembered names without a message", f->orphan_seen},
        {"missing_seen", "expanded recipients that are not remembered", f->missing_seen},
        {"orphan_index", "rows of the domain index without a recipient", f->orphan_index},
        {"missing_index", "recipients that the domain index lacks", f->missing_index},
        {"orphan_held", "marks of held recipients that are not there", f->orphan_held},
        {"empty_messages", "messages without any recipient", f->empty_messages},
        {"unpublished", "messages on their way in (swept at the next start, if the daemon is down)", f->unpublished},
    };

    if (t->json)
        printf("{\"v\":1,\"clean\":%s", store_fsck_clean(f) ? "true" : "false");
    for (size_t i = 0; i < COUNT_OF(rows); i++) {
        if (t->json)
            printf(",\"%s\":%" PRIu64, rows[i].name, rows[i].value);
        else if (i < 6 || rows[i].value > 0)
            printf("%12" PRIu64 "  %s\n", rows[i].value, rows[i].meaning);
    }
    printf("%s", t->json               ? "}\n"
                 : store_fsck_clean(f) ? "the queue is sound\n"
                                       : "the queue is damaged; see queuectl(8), fsck\n");
}

/* The index is made of the recipients: emptied, it is made again while the daemon works. Nothing else can be mended without
 * knowing what was there. */
static enum tool_exit index_repair(const struct tool *t)
{
    struct store *store = NULL;
    char why[256] = "";
    struct result r = desk_store_open_alone(t->cfg, &store, why, sizeof why);

    if (!is_ok(r)) {
        fprintf(stderr, "%s: %s\n%s: the repair needs the queue for itself; end the daemon with: queuectl stop\n",
            t->program, why, t->program);
        return TOOL_UNAVAILABLE;
    }
    r = store_begin(store);
    if (is_ok(r)) {
        r = store_index_reset(store);
        if (is_ok(r))
            r = store_commit(store);
        else
            store_abandon(store);
    }
    store_close(&store);
    if (is_ok(r))
        return TOOL_OK;
    fprintf(stderr, "%s: %s\n", t->program, r.why);
    return TOOL_FAILED;
}

static bool index_is_sound(const struct store_fsck *f)
{
    return f->orphan_index + f->missing_index == 0;
}

enum tool_exit tool_fsck(const struct tool *t)
{
    struct tool context = *t;
    struct store *store = NULL;
    struct store_fsck found = {0};
    char why[256] = "";
    struct result r = desk_store_open(t->cfg, &store, why, sizeof why);

    if (!is_ok(r)) {
        fprintf(stderr, "%s: %s\n", t->program, why);
        return r.sys == EACCES || r.sys == EPERM ? TOOL_NO_RIGHT : TOOL_UNAVAILABLE;
    }
    r = store_fsck(store, &found, finding_say, &context);
    store_close(&store);
    if (!is_ok(r)) {
        fprintf(stderr, "%s: %s\n", t->program, r.why);
        return tool_finish(t, TOOL_FAILED);
    }
    counts_say(t, &found);
    if (t->repair && !index_is_sound(&found)) {
        enum tool_exit repaired = index_repair(t);
        if (repaired != TOOL_OK)
            return tool_finish(t, repaired);
        found.orphan_index = found.missing_index = 0;
        if (!t->json)
            puts("the index of domains was emptied; the daemon makes it anew");
    }
    return tool_finish(t, store_fsck_clean(&found) ? TOOL_OK : TOOL_FAILED);
}
