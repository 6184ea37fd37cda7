#include "daemon/auth/password.h"

#include <crypt.h>

STATIC_ASSERT(sizeof(struct crypt_data) <= sizeof(struct password_room));
STATIC_ASSERT((int)PASSWORD_SIZE_MAX <= (int)CRYPT_MAX_PASSPHRASE_SIZE);

const char PASSWORD_OF_NOBODY[] = "$y$j9T$mkLFLCZVn3tWBXyqn3GUy/$...........................................";

RESULT
password_hash(struct bytes password, struct buf *out)
{
    char setting[CRYPT_GENSALT_OUTPUT_SIZE], text[PASSWORD_SIZE_MAX];
    struct crypt_data *data;
    struct result r;

    if (password.size >= sizeof text || memchr(password.data, 0, password.size) != NULL)
        return FAIL(CODE_SYNTAX, "the password is too long or holds NUL");
    if (crypt_gensalt_rn("$y$", 0, NULL, 0, setting, sizeof setting) == NULL)
        return FAIL_SYS(errno, "crypt has no yescrypt");
    data = mem_take_zero(sizeof *data);
    if (data == NULL)
        return FAIL(CODE_FULL, "out of memory");
    memcpy(text, password.data, password.size);
    text[password.size] = 0;
    const char *hash = crypt_rn(text, setting, data, sizeof *data);
    r = hash == NULL ? FAIL_SYS(errno, "crypt failed") : buf_put_str(out, hash);
    explicit_bzero(text, sizeof text);
    explicit_bzero(data, sizeof *data);
    mem_free(data);
    return r;
}

bool password_check(struct password_room *room, const char *password, const char *hash)
{
    const char *made = crypt_rn(password, hash, room->octets, (int)sizeof room->octets);
    size_t size = strlen(hash);
    uint8_t differs = made == NULL || strlen(made) != size;

    for (size_t i = 0; !differs && i < size; i++)
        differs |= (uint8_t)(made[i] ^ hash[i]);
    explicit_bzero(room, sizeof *room);
    return differs == 0;
}
