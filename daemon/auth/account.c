#include "daemon/auth/account.h"

bool account_name_is_valid(struct bytes name)
{
    if (name.size == 0 || name.size > ACCOUNT_NAME_SIZE_MAX || name.data[0] == '#' ||
        bytes_trim(name).size != name.size)
        return false;
    for (size_t i = 0; i < name.size; i++)
        if (name.data[i] < 0x20 || name.data[i] == 0x7f || name.data[i] == ':')
            return false;
    return true;
}

/* What crypt(3) makes: printable ASCII without the separators of this and other such files. */
static bool hash_is_sound(struct bytes hash)
{
    for (size_t i = 0; i < hash.size; i++)
        if (hash.data[i] < 0x21 || hash.data[i] > 0x7e || hash.data[i] == ':')
            return false;
    return hash.size > 0 && hash.size < ACCOUNT_HASH_SIZE_MAX;
}

RESULT
account_parse(struct bytes line, struct account *account_out)
{
    ptrdiff_t colon = bytes_index(line, ':');
    struct bytes rest;

    *account_out = (struct account){0};
    if (bytes_trim(line).size == 0 || line.data[0] == '#')
        return FAIL(CODE_GONE, "a comment");
    if (line.size >= ACCOUNT_LINE_SIZE_MAX)
        return FAIL(CODE_SYNTAX, "the line is too long");
    if (colon == BYTES_NOT_FOUND)
        return FAIL(CODE_SYNTAX, "expected user:hash");
    account_out->name = bytes_head(line, (size_t)colon);
    rest = bytes_after(line, (size_t)colon + 1);
    colon = bytes_index(rest, ':');
    account_out->hash = colon == BYTES_NOT_FOUND ? rest : bytes_head(rest, (size_t)colon);
    account_out->scram = bytes_after(rest, account_out->hash.size + 1);
    if (!account_name_is_valid(account_out->name))
        return FAIL(CODE_SYNTAX, "the name is not one that can be used");
    if (!hash_is_sound(account_out->hash))
        return FAIL(CODE_SYNTAX, "the hash is not one of crypt(3)");
    return OK;
}

RESULT
account_put(struct buf *out, const struct account *account)
{
    TRY(buf_put(out, account->name));
    TRY(buf_put_octet(out, ':'));
    TRY(buf_put(out, account->hash));
    if (account->scram.size > 0) {
        TRY(buf_put_octet(out, ':'));
        TRY(buf_put(out, account->scram));
    }
    return buf_put_octet(out, '\n');
}

bool account_line(struct bytes *text, struct bytes *line_out)
{
    ptrdiff_t end = bytes_index(*text, '\n');

    if (text->size == 0)
        return false;
    *line_out = end == BYTES_NOT_FOUND ? *text : bytes_head(*text, (size_t)end);
    *text = bytes_after(*text, line_out->size + 1);
    return true;
}

RESULT
account_find(struct bytes text, struct bytes name, struct account *account_out)
{
    struct account account;
    struct bytes line;
    bool found = false;

    while (account_line(&text, &line)) {
        if (!is_ok(account_parse(line, &account)) || !bytes_equal(account.name, name) || found)
            continue;
        *account_out = account;
        found = true;
    }
    return found ? OK : FAIL(CODE_GONE, "there is no such user");
}

RESULT
accounts_edit(struct bytes text, struct bytes name, struct bytes line, struct buf *out, bool *found_out)
{
    struct bytes old;

    *found_out = false;
    while (account_line(&text, &old)) {
        ptrdiff_t colon = bytes_index(old, ':');

        if (colon != BYTES_NOT_FOUND && bytes_equal(bytes_head(old, (size_t)colon), name)) {
            if (!*found_out)
                TRY(buf_put(out, line));
            *found_out = true;
            continue;
        }
        TRY(buf_put(out, old));
        TRY(buf_put_octet(out, '\n'));
    }
    return *found_out ? OK : buf_put(out, line);
}
