/* convert_kit: both passes of a conversion over content cut into portions, and what always holds of them.
 *
 *   enum convert_verdict verdict = convert_run(&convert, content, true, 7, &out); */
#ifndef MANSIO_CONVERT_KIT_H
#define MANSIO_CONVERT_KIT_H

#include "smtp/convert.h"
#include "smtp/idna.h"

static void convert_append(struct buf *out, struct bytes piece)
{
    struct result r = buf_put(out, piece);
    ASSERT(is_ok(r));
}

static enum convert_verdict convert_run(
    struct convert *convert, struct bytes in, bool bodies, size_t portion, struct buf *out)
{
    struct convert_config cfg = {.bodies = bodies, .domain = idna_to_ascii};
    struct bytes rest = in, piece;
    bool more = true;

    convert_init(convert, &cfg);
    while (more && rest.size > 0) {
        more = convert_survey(convert, bytes_head(rest, portion));
        rest = bytes_after(rest, portion);
    }
    if (more)
        convert_survey_end(convert);
    if (convert->verdict != CONVERT_OK)
        return convert->verdict;
    convert_begin(convert);
    for (rest = in; rest.size > 0; rest = bytes_after(rest, portion)) {
        struct bytes part = bytes_head(rest, portion);
        while (part.size > 0)
            convert_append(out, convert_feed(convert, &part));
    }
    while ((piece = convert_end(convert)).size > 0)
        convert_append(out, piece);
    ASSERT(convert->verdict == CONVERT_OK);
    ASSERT(out->size <= in.size + convert->size_added);
    return CONVERT_OK;
}

#endif
