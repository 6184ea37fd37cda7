/* The lists of the block `checks`. */
#include "daemon/config/reader.h"
#include "daemon/config/value.h"

static const char EXPECTED[] =
    "a zone, perhaps its answer, and a weight: \"bl.example 3\", \"bl.example=127.0.0.4 2\", "
    "\"wl.example -5\"";

enum { WEIGHT_MAX = 1000 };

/* "127.0.0.4": what a list answers for one kind of entry. */
static bool answer_is_valid(struct bytes text)
{
    struct config_network network;

    return is_ok(value_network(text, &network)) && network.prefix_bits == 128 && network.address[12] == 127;
}

static RESULT list_read(struct reader *r, const struct config_tree_cell *cell, struct config_dnslist *list)
{
    struct bytes words = bytes_trim(cell->text);
    ptrdiff_t blank = bytes_rindex(words, ' '), equals;
    struct bytes zone = bytes_trim(bytes_head(words, blank == BYTES_NOT_FOUND ? 0 : (size_t)blank));
    struct bytes number = bytes_after(words, zone.size > 0 ? (size_t)blank + 1 : 0);
    bool negative = bytes_starts(number, BYTES("-"));
    const char *why;
    uint64_t weight;

    if (zone.size == 0 || !is_ok(bytes_to_u64(bytes_after(number, negative), WEIGHT_MAX, &weight)))
        return reader_wrong(r, cell, "lists", EXPECTED);
    equals = bytes_index(zone, '=');
    if (equals != BYTES_NOT_FOUND) {
        struct bytes answer = bytes_after(zone, (size_t)equals + 1);

        if (!answer_is_valid(answer))
            return reader_wrong(r, cell, "lists", EXPECTED);
        TRY(reader_keep(r->cfg, answer, &list->answer));
        zone = bytes_head(zone, (size_t)equals);
    }
    if (!is_ok(reader_name(r, zone, &list->zone, &why)))
        return reader_wrong(r, cell, "lists", EXPECTED);
    list->weight = negative ? -(int32_t)weight : (int32_t)weight;
    return OK;
}

RESULT config_checks_read(struct reader *r, const struct config_tree_block *block)
{
    struct config_tree_values values = config_tree_values(block, "lists");
    struct config_checks *checks = &r->cfg->checks;
    void *items;

    if (values.count > CHECKS_LIST_COUNT_MAX)
        return READER_FAIL(
            r, block->line, "lists: found %zu, expected at most %d", values.count, CHECKS_LIST_COUNT_MAX);
    TRY(reader_list(r->cfg, values.count, sizeof *checks->lists, &items));
    checks->lists = items;
    for (; checks->list_count < values.count; checks->list_count++) {
        checks->lists[checks->list_count] = (struct config_dnslist){0};
        TRY(list_read(r, config_tree_cell(&values, checks->list_count), &checks->lists[checks->list_count]));
    }
    return OK;
}
