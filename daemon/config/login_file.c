#include "daemon/config/login_file.h"

static bool is_blank(uint8_t octet)
{
    return octet == ' ' || octet == '\t';
}

static struct bytes word_take(struct bytes *rest)
{
    size_t size = 0;

    while (size < rest->size && !is_blank(rest->data[size]))
        size++;
    struct bytes word = bytes_head(*rest, size);
    while (size < rest->size && is_blank(rest->data[size]))
        size++;
    *rest = bytes_after(*rest, size);
    return word;
}

RESULT login_file_next(struct bytes *rest, struct login_file_line *line)
{
    while (rest->size > 0) {
        struct bytes text = bytes_trim(bytes_line_take(rest));

        line->number++;
        if (text.size == 0 || text.data[0] == '#')
            continue;
        if (bytes_index(text, 0) != BYTES_NOT_FOUND)
            return FAIL(CODE_SYNTAX, "a line with NUL");
        line->name = word_take(&text);
        line->credentials.login = word_take(&text);
        line->credentials.password = text;
        if (line->credentials.password.size == 0)
            return FAIL(CODE_SYNTAX, "expected a name, a login and a password");
        if (line->credentials.login.size > CLIENT_AUTH_LOGIN_SIZE_MAX)
            return FAIL(CODE_SYNTAX, "a login longer than 256 octets");
        if (line->credentials.password.size > CLIENT_AUTH_PASSWORD_SIZE_MAX)
            return FAIL(CODE_SYNTAX, "a password longer than 512 octets");
        return OK;
    }
    return FAIL(CODE_MORE, "no more logins");
}

bool login_file_find(struct bytes text, struct bytes name, struct client_credentials *credentials_out)
{
    struct login_file_line line = {0};

    while (is_ok(login_file_next(&text, &line)))
        if (bytes_equal(line.name, name)) {
            *credentials_out = line.credentials;
            return true;
        }
    return false;
}
