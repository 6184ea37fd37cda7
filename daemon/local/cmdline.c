#include "daemon/local/cmdline.h"

#include <sysexits.h>

static bool is_blank(uint8_t octet)
{
    return octet == ' ' || octet == '\t';
}

struct words {
    struct buf *room;
    struct cmdline *command;
    bool open;     /* a word has begun */
    bool by_value; /* and a value stands at its front, perhaps an empty one */
};

static RESULT word_begin(struct words *w)
{
    if (w->open)
        return OK;
    if (w->command->argc == CMDLINE_ARGS_MAX)
        return FAIL(CODE_FULL, "the command has too many words");
    w->command->argv[w->command->argc++] = (char *)w->room->data + w->room->size;
    w->open = true;
    w->by_value = false;
    return OK;
}

static RESULT word_end(struct words *w)
{
    if (!w->open)
        return OK;
    w->open = false;
    TRY(buf_put_octet(w->room, 0));
    if (w->by_value && w->command->argv[w->command->argc - 1][0] == '-')
        return FAIL(CODE_REFUSED, "the address would be taken for an option");
    return OK;
}

static RESULT fact_put(struct words *w, uint8_t letter, const struct cmdline_facts *f)
{
    bool first = (char *)w->room->data + w->room->size == w->command->argv[w->command->argc - 1];
    struct bytes value;

    switch (letter) {
    case 'u':
        value = f->user;
        break;
    case 'e':
        value = f->extension;
        break;
    case 'd':
        value = f->domain;
        break;
    case 'r':
        value = f->recipient;
        break;
    case 's':
        value = f->sender;
        break;
    case '%':
        return buf_put_octet(w->room, '%');
    default:
        return FAIL(CODE_SYNTAX, "behind % in a command stands u, e, d, r, s or %");
    }
    if (bytes_index(value, 0) != BYTES_NOT_FOUND)
        return FAIL(CODE_REFUSED, "the address holds a NUL");
    w->by_value = w->by_value || first;
    return buf_put(w->room, value);
}

static RESULT parse(struct bytes text, const struct cmdline_facts *facts, struct words *w)
{
    uint8_t quote = 0;

    for (size_t i = 0; i < text.size; i++) {
        uint8_t octet = text.data[i];

        if (quote == 0 && is_blank(octet)) {
            TRY(word_end(w));
            continue;
        }
        TRY(word_begin(w));
        if (quote != 0 ? octet == quote : (octet == '\'' || octet == '"')) {
            quote = quote != 0 ? 0 : octet;
        } else if (octet == '\\' && quote != '\'' && i + 1 < text.size) {
            TRY(buf_put_octet(w->room, text.data[++i]));
        } else if (octet == '%' && i + 1 < text.size) {
            TRY(fact_put(w, text.data[++i], facts));
        } else {
            TRY(buf_put_octet(w->room, octet));
        }
    }
    TRY(word_end(w));
    if (quote != 0)
        return FAIL(CODE_SYNTAX, "a quotation mark in the command has no partner");
    return OK;
}

RESULT cmdline_parse(
    struct bytes text, const struct cmdline_facts *facts, struct buf *room, struct cmdline *cmdline_out)
{
    struct words w = {.room = room, .command = cmdline_out};

    cmdline_out->argc = 0;
    struct result r = parse(text, facts, &w);
    if (r.code == CODE_FULL)
        return FAIL(CODE_FULL, "the command is too long");
    TRY(r);
    cmdline_out->argv[cmdline_out->argc] = NULL;
    if (cmdline_out->argc == 0 || cmdline_out->argv[0][0] == 0)
        return FAIL(CODE_SYNTAX, "the command is empty");
    return OK;
}

struct cmdline_fate cmdline_exit_fate(int status)
{
    static const struct {
        int status;
        struct cmdline_fate fate;
    } rows[] = {
        {EX_OK, {JOB_DELIVERED, "2.0.0", "the command took the message"}},
        {EX_USAGE, {JOB_DEFERRED, "4.3.5", "the command was called wrongly"}},
        {EX_DATAERR, {JOB_FAILED, "5.6.0", "the command refused the message's form"}},
        {EX_NOINPUT, {JOB_DEFERRED, "4.3.0", "the command had no input"}},
        {EX_NOUSER, {JOB_FAILED, "5.1.1", "the command knows no such user"}},
        {EX_NOHOST, {JOB_FAILED, "5.1.2", "the command knows no such host"}},
        {EX_UNAVAILABLE, {JOB_FAILED, "5.3.0", "the command refused the message"}},
        {EX_SOFTWARE, {JOB_DEFERRED, "4.3.0", "the command failed"}},
        {EX_OSERR, {JOB_DEFERRED, "4.3.0", "the system failed the command"}},
        {EX_OSFILE, {JOB_DEFERRED, "4.3.0", "the command misses a file of the system"}},
        {EX_CANTCREAT, {JOB_DEFERRED, "4.2.0", "the command cannot make its file"}},
        {EX_IOERR, {JOB_DEFERRED, "4.3.0", "the command could not read or write"}},
        {EX_TEMPFAIL, {JOB_DEFERRED, "4.3.0", "the command wants the message again later"}},
        {EX_PROTOCOL, {JOB_FAILED, "5.5.0", "the command met a wrong dialogue"}},
        {EX_NOPERM, {JOB_FAILED, "5.7.0", "the command may not do that"}},
        {EX_CONFIG, {JOB_DEFERRED, "4.3.5", "the command is not configured rightly"}},
        {126, {JOB_DEFERRED, "4.3.5", "the command cannot be run"}},
        {127, {JOB_DEFERRED, "4.3.5", "the command is not there"}},
    };

    for (size_t i = 0; i < COUNT_OF(rows); i++)
        if (rows[i].status == status)
            return rows[i].fate;
    return (struct cmdline_fate){JOB_FAILED, "5.3.0", "the command refused the message"};
}

static struct bytes first_line(struct bytes output)
{
    ptrdiff_t lf = bytes_index(output, '\n');

    return bytes_trim(lf == BYTES_NOT_FOUND ? output : bytes_head(output, (size_t)lf));
}

struct bytes cmdline_output_status(struct bytes output, enum job_outcome outcome)
{
    struct bytes line = first_line(output);
    uint8_t class = outcome == JOB_DELIVERED ? '2' : outcome == JOB_FAILED ? '5' : '4';
    size_t size = 0, dots = 0;

    while (size < line.size && size < 9 && line.data[size] != ' ') {
        bool dot = line.data[size] == '.';

        if (!dot && (line.data[size] < '0' || line.data[size] > '9'))
            return BYTES_NONE;
        if (dot && (size == 0 || line.data[size - 1] == '.'))
            return BYTES_NONE;
        dots += dot;
        size++;
    }
    if (dots != 2 || line.data[0] != class || line.data[1] != '.' || line.data[size - 1] == '.' ||
        (size < line.size && line.data[size] != ' '))
        return BYTES_NONE;
    return bytes_head(line, size);
}

struct bytes cmdline_output_line(struct bytes output, struct buf *room)
{
    struct bytes line = bytes_head(first_line(output), 200);

    buf_reset(room);
    for (size_t i = 0; i < line.size; i++) {
        uint8_t octet = line.data[i];
        if (!is_ok(buf_put_octet(room, octet < ' ' || octet > 126 ? (uint8_t)'?' : octet)))
            break;
    }
    return buf_bytes(room);
}
