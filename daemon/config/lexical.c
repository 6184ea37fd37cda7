#include "daemon/config/lexical.h"

enum { BRACES_OPEN_MAX = 4 }; /* a list in a block makes two */

struct lexer {
    struct bytes text;
    size_t at;
    int line;
    struct buf *out;
    struct lexical_error *error;
    size_t opened[BRACES_OPEN_MAX]; /* where the braces stand that are still open, and their lines */
    int opened_line[BRACES_OPEN_MAX];
    size_t opened_count;
};

static RESULT lexer_fail(struct lexer *l, size_t from, size_t size, const char *why)
{
    *l->error = (struct lexical_error){l->line, bytes_head(bytes_after(l->text, from), size), why};
    return FAIL(CODE_SYNTAX, why);
}

static uint8_t lexer_peek(const struct lexer *l, size_t ahead)
{
    return l->at + ahead < l->text.size ? l->text.data[l->at + ahead] : 0;
}

static bool starts_comment(const struct lexer *l)
{
    return lexer_peek(l, 0) == '#' || (lexer_peek(l, 0) == '/' && (lexer_peek(l, 1) == '/' || lexer_peek(l, 1) == '*'));
}

static RESULT lexer_comment(struct lexer *l)
{
    size_t from = l->at;
    int line = l->line;

    if (lexer_peek(l, 1) != '*' || lexer_peek(l, 0) == '#') {
        while (l->at < l->text.size && l->text.data[l->at] != '\n')
            l->at++;
        return OK;
    }
    for (l->at += 2; l->at < l->text.size; l->at++) {
        if (l->text.data[l->at] == '*' && lexer_peek(l, 1) == '/') {
            l->at += 2;
            return OK;
        }
        if (l->text.data[l->at] == '\n') {
            l->line++;
            TRY(buf_put_octet(l->out, '\n'));
        }
    }
    l->line = line;
    return lexer_fail(l, from, 2, "the comment's end, */");
}

/* One octet of a string, as libConfuse's single-quoted form wants it. */
static RESULT string_octet(struct lexer *l, uint8_t c)
{
    if (c < 0x20 || c == 0x7f)
        return lexer_fail(l, l->at, 1, "text without control characters");
    if (c == '\'' || c == '\\')
        TRY(buf_put_octet(l->out, '\\'));
    return buf_put_octet(l->out, c);
}

static RESULT lexer_quoted(struct lexer *l)
{
    uint8_t quote = lexer_peek(l, 0);
    size_t from = l->at;

    TRY(buf_put_octet(l->out, '\''));
    for (l->at++; l->at < l->text.size && l->text.data[l->at] != '\n'; l->at++) {
        uint8_t c = l->text.data[l->at];

        if (c == quote) {
            l->at++;
            return buf_put_str(l->out, "' ");
        }
        if (c == '\\') {
            uint8_t next = lexer_peek(l, 1);

            if (next != '\\' && next != '"' && next != '\'')
                return lexer_fail(l, l->at, 2, "\\\\, \\\" or \\' (other escapes have no meaning here)");
            l->at++;
            c = next;
        }
        TRY(string_octet(l, c));
    }
    return lexer_fail(l, from, l->at - from, "a closing quote on the same line");
}

static bool ends_word(const struct lexer *l)
{
    uint8_t c = lexer_peek(l, 0);

    return c <= ' ' || strchr("\"'{}()=,#", c) != NULL || (c == '+' && lexer_peek(l, 1) == '=');
}

static RESULT lexer_word(struct lexer *l)
{
    TRY(buf_put_octet(l->out, '\''));
    for (; l->at < l->text.size && !ends_word(l); l->at++)
        TRY(string_octet(l, l->text.data[l->at]));
    return buf_put_str(l->out, "' ");
}

/* `log|level = debug` is libConfuse's path into another block; a key here is written in its block. */
static RESULT key_check(struct lexer *l, size_t from, size_t to)
{
    struct bytes word = bytes_head(bytes_after(l->text, from), to - from);

    if (bytes_index(word, '|') >= 0 || word.size == 0)
        return lexer_fail(l, from, word.size, "the name of a key");
    return OK;
}

/* libConfuse takes the end of the text for the end of every open block. */
static RESULT lexer_brace(struct lexer *l, uint8_t c)
{
    if (c == '{') {
        if (l->opened_count == BRACES_OPEN_MAX)
            return lexer_fail(l, l->at, 1, "no block within a block");
        l->opened[l->opened_count] = l->at;
        l->opened_line[l->opened_count++] = l->line;
    } else if (c == '}') {
        if (l->opened_count == 0)
            return lexer_fail(l, l->at, 1, "a key or a block (no brace is open here)");
        l->opened_count--;
    }
    return OK;
}

static RESULT lexer_step(struct lexer *l, size_t *word_from, size_t *word_to)
{
    uint8_t c = l->text.data[l->at];

    if (c == '\n') {
        l->line++;
        l->at++;
        return buf_put_octet(l->out, '\n');
    }
    if (c == ' ' || c == '\t' || (c == '\r' && lexer_peek(l, 1) == '\n')) {
        l->at++;
        return OK;
    }
    if (starts_comment(l))
        return lexer_comment(l);
    if (c == '=' || (c == '+' && lexer_peek(l, 1) == '=')) {
        TRY(key_check(l, *word_from, *word_to));
        l->at += c == '=' ? 1 : 2;
        return buf_put_str(l->out, c == '=' ? "= " : "+= ");
    }
    if (c == '{' || c == '}' || c == ',') {
        TRY(lexer_brace(l, c));
        l->at++;
        TRY(buf_put_octet(l->out, c));
        return buf_put_octet(l->out, ' ');
    }
    if (c == '(' || c == ')')
        return lexer_fail(l, l->at, 1, "a key, a value or a brace (quote text that holds parentheses)");
    *word_from = l->at;
    TRY(c == '"' || c == '\'' ? lexer_quoted(l) : lexer_word(l));
    *word_to = l->at;
    if (*word_to == *word_from)
        return lexer_fail(l, l->at, 1, "text without control characters");
    return OK;
}

RESULT lexical_plain(struct bytes text, struct buf *out, struct lexical_error *error_out)
{
    struct lexer l = {.text = text, .line = 1, .out = out, .error = error_out};
    size_t word_from = 0, word_to = 0;

    if (bytes_starts(text, BYTES("\xef\xbb\xbf")))
        l.at = 3; /* a byte order mark that some editors leave */
    while (l.at < text.size)
        TRY(lexer_step(&l, &word_from, &word_to));
    if (l.opened_count > 0) {
        l.line = l.opened_line[l.opened_count - 1];
        return lexer_fail(&l, l.opened[l.opened_count - 1], 1, "a '}' that closes it");
    }
    return buf_put_octet(out, '\n');
}
