#include "dns/name.h"

struct bytes dns_name_bytes(const struct dns_name *name)
{
    return (struct bytes){name->text, name->size};
}

static struct bytes without_last_dot(struct bytes text)
{
    return text.size > 0 && text.data[text.size - 1] == '.' ? bytes_head(text, text.size - 1) : text;
}

bool dns_name_is_valid(struct bytes text)
{
    size_t label = 0;

    if (text.size == 0)
        return true;
    if (text.size > DNS_NAME_SIZE_MAX)
        return false;
    for (size_t i = 0; i < text.size; i++) {
        uint8_t c = text.data[i];
        if (c == '.') {
            if (label == 0)
                return false;
            label = 0;
            continue;
        }
        if (c < 0x21 || c > 0x7e || c == '\\' || c == '"' || ++label > DNS_LABEL_SIZE_MAX)
            return false;
    }
    return label > 0;
}

RESULT
dns_name_set(struct dns_name *name_out, struct bytes text)
{
    text = without_last_dot(text);
    if (!dns_name_is_valid(text))
        return FAIL(CODE_SYNTAX, "not a domain name");
    if (text.size > 0)
        memcpy(name_out->text, text.data, text.size);
    name_out->size = (uint8_t)text.size;
    return OK;
}

static bool is_digit(uint8_t c)
{
    return c >= '0' && c <= '9';
}

static bool label_is_host(struct bytes label)
{
    if (label.size == 0 || label.data[0] == '-' || label.data[label.size - 1] == '-')
        return false;
    for (size_t i = 0; i < label.size; i++) {
        uint8_t c = octet_lower(label.data[i]);
        if (!is_digit(c) && !(c >= 'a' && c <= 'z') && c != '-' && c != '_')
            return false;
    }
    return true;
}

bool dns_name_is_host(struct bytes text)
{
    ptrdiff_t dot = bytes_rindex(text, '.');
    struct bytes last = bytes_after(text, (size_t)(dot + 1));
    bool number = true;

    if (text.size == 0 || !dns_name_is_valid(text))
        return false;
    for (size_t i = 0; i < last.size; i++)
        number = number && is_digit(last.data[i]);
    if (number)
        return false;
    for (struct bytes rest = text;;) {
        dot = bytes_index(rest, '.');
        if (!label_is_host(dot == BYTES_NOT_FOUND ? rest : bytes_head(rest, (size_t)dot)))
            return false;
        if (dot == BYTES_NOT_FOUND)
            return true;
        rest = bytes_after(rest, (size_t)dot + 1);
    }
}

bool dns_name_equal(struct bytes a, struct bytes b)
{
    return bytes_equal_nocase(without_last_dot(a), without_last_dot(b));
}
