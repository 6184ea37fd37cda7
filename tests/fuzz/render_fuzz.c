/* Lines of the control protocol, whatever strangers put into subjects and addresses, on a terminal: valid UTF-8 without a
 * control character but line ends. First octet: which view; the rest is the JSON. */
#include "tools/render.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void view(FILE *out, unsigned which, const json_t *object)
{
    switch (which % 6) {
    case 0:
        render_mailq(out, object, 1000000);
        break;
    case 1:
        render_message(out, object, 1000000);
        break;
    case 2:
        render_show(out, object, 1000000);
        break;
    case 3:
        render_trace(out, object, 1000000);
        break;
    case 4:
        render_stats(out, object);
        break;
    default:
        render_lane(out, object, 1000000);
        break;
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    char *text = NULL;
    size_t text_size = 0;

    if (size == 0)
        return 0;
    json_t *object = json_loadb((const char *)data + 1, size - 1, JSON_REJECT_DUPLICATES, NULL);
    if (object == NULL)
        return 0;
    FILE *out = open_memstream(&text, &text_size);
    ASSERT(out != NULL);
    view(out, data[0], object);
    fclose(out);
    json_decref(object);
    for (size_t i = 0; i < text_size; i++) {
        uint8_t octet = (uint8_t)text[i];
        ASSERT((octet >= 0x20 && octet != 0x7f) || octet == '\n');
        ASSERT(octet != 0xc2 || (i + 1 < text_size && (uint8_t)text[i + 1] >= 0xa0)); /* C1 */
    }
    free(text);
    return 0;
}
