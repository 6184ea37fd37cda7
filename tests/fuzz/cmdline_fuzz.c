/* Command lines of aliases with values that strangers chose, and what commands print: words stay within the room, no value
 * makes a word of its own or an option, and a kept line of output is harmless. Input: the line, LF, the value, LF, the output. */
#include "daemon/local/cmdline.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static struct bytes line_take(struct bytes *rest)
{
    ptrdiff_t end = bytes_index(*rest, '\n');
    struct bytes line = end == BYTES_NOT_FOUND ? *rest : bytes_head(*rest, (size_t)end);

    *rest = bytes_after(*rest, line.size + 1);
    return line;
}

/* Words of a line are made by the line alone, never by a value. */
static void parse(struct bytes line, struct bytes value)
{
    static uint8_t room[CMDLINE_ROOM_SIZE], plain_room[CMDLINE_ROOM_SIZE];
    struct cmdline_facts facts = {value, value, value, value, value};
    struct cmdline_facts plain_facts = {BYTES("x"), BYTES("x"), BYTES("x"), BYTES("x"), BYTES("x")};
    struct buf words = BUF(room), plain_words = BUF(plain_room);
    struct cmdline c, plain;

    if (!is_ok(cmdline_parse(line, &facts, &words, &c)))
        return;
    ASSERT(c.argc > 0 && c.argc <= CMDLINE_ARGS_MAX && c.argv[c.argc] == NULL);
    for (size_t i = 0; i < c.argc; i++)
        ASSERT((uint8_t *)c.argv[i] >= room && (uint8_t *)c.argv[i] + strlen(c.argv[i]) < room + words.size);
    struct result r = cmdline_parse(line, &plain_facts, &plain_words, &plain);
    ASSERT(is_ok(r) ? plain.argc == c.argc : r.code == CODE_FULL);
    for (size_t i = 0; is_ok(r) && i < c.argc; i++)
        ASSERT(c.argv[i][0] != '-' || plain.argv[i][0] == '-');
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static uint8_t room[256];
    struct bytes rest = {data, size};
    struct bytes line = line_take(&rest);
    struct bytes value = line_take(&rest);
    struct buf kept = BUF(room);

    parse(line, value);
    struct bytes text = cmdline_output_line(rest, &kept);
    ASSERT(text.size <= 200);
    for (size_t i = 0; i < text.size; i++)
        ASSERT(text.data[i] >= 0x20 && text.data[i] != 0x7f);
    for (enum job_outcome o = 0; o < JOB_OUTCOME_COUNT; o++) {
        struct bytes status = cmdline_output_status(rest, o);
        ASSERT(status.size == 0 || (status.size >= 5 && status.data[1] == '.'));
    }
    return 0;
}
