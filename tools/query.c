#include <stdio.h>

#include "tools/query.h"
#include "tools/render.h"

void query_error_say(const struct tool *t, struct bytes text, const struct filter_error *error)
{
    size_t column = 0;

    fprintf(stderr, "%s: %s", t->program, error->why);
    if (error->nearest != NULL)
        fprintf(stderr, "; did you mean %s?", error->nearest);
    fprintf(stderr, "\n  ");
    for (size_t i = 0; i < text.size; i++) {
        uint8_t c = text.data[i];
        bool control = c < ' ' || c == 0x7f || (c >= 0x80 && c < 0xa0 && i > 0 && text.data[i - 1] == 0xc2);

        fputc(control ? '?' : c, stderr); /* one column for each octet or less: the mark stays below its place */
        if (i < error->at)
            column += (c & 0xc0) != 0x80;
    }
    fprintf(stderr, "\n  %*s", (int)column, "");
    for (size_t i = 0; i < (error->size > 0 ? error->size : 1); i++)
        if (error->at + i >= text.size || (text.data[error->at + i] & 0xc0) != 0x80)
            fputc('^', stderr);
    fputc('\n', stderr);
}

static bool is_id(const char *word)
{
    struct message_id id;

    return is_ok(message_id_parse(bytes_of(word), &id));
}

bool query_read(const struct tool *t, char *const *args, size_t count, struct query *q_out)
{
    struct filter_error error;
    struct filter *filter;
    struct buf text;
    bool ids = true;

    *q_out = (struct query){.kind = count == 0 ? QUERY_NOTHING : QUERY_IDS, .ids = args, .id_count = count};
    if (count == 1 && strcmp(args[0], "all") == 0)
        q_out->kind = QUERY_ALL;
    for (size_t i = 0; i < count; i++)
        ids = ids && is_id(args[i]);
    if (q_out->kind != QUERY_IDS || ids)
        return true;
    q_out->kind = QUERY_FILTER;
    buf_init(&text, q_out->filter, FILTER_SIZE_MAX);
    for (size_t i = 0; i < count; i++)
        if ((i > 0 && !is_ok(buf_put_octet(&text, ' '))) || !is_ok(buf_put_str(&text, args[i]))) {
            fprintf(stderr, "%s: the filter is longer than %d octets\n", t->program, FILTER_SIZE_MAX);
            return false;
        }
    q_out->filter[text.size] = 0;
    filter = mem_take(sizeof *filter);
    if (filter == NULL)
        return false;
    bool parsed = is_ok(filter_parse(buf_bytes(&text), filter, &error));
    mem_free(filter);
    if (!parsed)
        query_error_say(t, buf_bytes(&text), &error);
    return parsed;
}

bool query_more(const struct query *q, size_t from)
{
    return from == 0 || (q->kind == QUERY_IDS && from < q->id_count);
}

json_t *query_request(const struct query *q, const char *verb, size_t from)
{
    json_t *request = json_pack("{s:i,s:s}", "v", CONTROL_VERSION, "verb", verb);

    if (q->kind == QUERY_ALL) {
        json_object_set_new(request, "all", json_true());
    } else if (q->kind == QUERY_FILTER) {
        json_object_set_new(request, "filter", json_stringn(q->filter, strlen(q->filter)));
    } else if (q->kind == QUERY_IDS) {
        json_t *list = json_array();
        for (size_t i = from; i < q->id_count && i < from + QUERY_IDS_MAX; i++)
            json_array_append_new(list, json_string(q->ids[i]));
        json_object_set_new(request, "ids", list);
    }
    return request;
}
