#include <idn2.h>

#include "daemon/base/base.h"

#include "smtp/address.h"
#include "smtp/idna.h"

static RESULT ascii_put(struct bytes domain, struct buf *out)
{
    for (size_t i = 0; i < domain.size; i++)
        TRY(buf_put_octet(out, octet_lower(domain.data[i])));
    return OK;
}

RESULT
idna_to_ascii(struct bytes domain, struct buf *out)
{
    /* U-labels may be longer than the A-labels they stand for, but not without bound. */
    char text[4 * DOMAIN_SIZE_MAX + 1];
    char *ascii = NULL;

    if (!bytes_has_8bit(domain))
        return ascii_put(domain, out);
    if (domain.size >= sizeof text)
        return FAIL(CODE_FULL, "domain too long");
    if (!utf8_is_valid(domain) || memchr(domain.data, 0, domain.size) != NULL)
        return FAIL(CODE_SYNTAX, "domain is not valid UTF-8");
    memcpy(text, domain.data, domain.size);
    text[domain.size] = '\0';
    /* Non-transitional UTS 46 processing: maps case and width first, as people type them. */
    int code = idn2_to_ascii_8z(text, &ascii, IDN2_NONTRANSITIONAL | IDN2_NFC_INPUT);
    if (code != IDN2_OK)
        return FAIL(code == IDN2_TOO_BIG_DOMAIN || code == IDN2_TOO_BIG_LABEL ? CODE_FULL : CODE_SYNTAX,
            "domain not allowed by IDNA");
    struct bytes view = bytes_of(ascii);
    struct result r = view.size > DOMAIN_SIZE_MAX     ? FAIL(CODE_FULL, "domain too long")
                      : !domain_is_valid(view, false) ? FAIL(CODE_SYNTAX, "domain not allowed by IDNA")
                                                      : ascii_put(view, out);
    idn2_free(ascii);
    return r;
}
