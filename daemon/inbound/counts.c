#include "daemon/inbound/counts.h"

struct count {
    enum door_family family;
    uint8_t label_size;
    uint8_t label[COUNTS_LABEL_SIZE_MAX];
    uint64_t fresh; /* not told yet */
};

struct counts {
    struct loop *loop;
    struct depot *depot;
    struct loop_timer timer;
    size_t count;
    struct count rows[COUNTS_MAX];
};

static void tell(void *ctx)
{
    struct counts *c = ctx;

    for (size_t i = 0; i < c->count; i++) {
        struct count *row = &c->rows[i];
        if (row->fresh == 0)
            continue;
        depot_say(c->depot,
            &(struct msg){.kind = MSG_door_count,
                .door_count = {.family = row->family, .label = {row->label, row->label_size}, .count = row->fresh}});
        row->fresh = 0;
    }
}

struct counts *counts_new(struct loop *loop, struct depot *depot)
{
    struct counts *c = mem_take_zero(sizeof *c);

    if (c == NULL)
        return NULL;
    c->loop = loop;
    c->depot = depot;
    c->timer = (struct loop_timer){.fn = tell, .ctx = c};
    return c;
}

void counts_free(struct counts **counts)
{
    if (*counts == NULL)
        return;
    loop_timer_stop((*counts)->loop, &(*counts)->timer);
    mem_free(*counts);
    *counts = NULL;
}

void counts_add(struct counts *c, enum door_family family, struct bytes label)
{
    size_t i = 0;

    if (c == NULL)
        return;
    label = bytes_head(label, COUNTS_LABEL_SIZE_MAX);
    while (i < c->count && (c->rows[i].family != family ||
                               !bytes_equal((struct bytes){c->rows[i].label, c->rows[i].label_size}, label)))
        i++;
    if (i == COUNTS_MAX)
        return;
    if (i == c->count) {
        c->rows[i] = (struct count){.family = family, .label_size = (uint8_t)label.size};
        memcpy(c->rows[i].label, label.data, label.size);
        c->count++;
    }
    c->rows[i].fresh++;
    if (!c->timer.armed)
        loop_timer_set(c->loop, &c->timer, instant_after(loop_now(c->loop), COUNTS_WAIT_MS));
}
