/* Files of the drop folder, where everybody may write: what is taken can become commands (no control character in it), and
 * what was read, written again, reads as the same. */
#include <stdio.h>

#include "tests/fuzz/sendmail_kit.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void clean(struct bytes value)
{
    for (size_t i = 0; i < value.size; i++)
        ASSERT(value.data[i] >= 0x20 && value.data[i] != 0x7f);
}

static void line_put(struct sendmail_input *out, const char *letter, struct bytes value)
{
    ASSERT(is_ok(sendmail_input_put(out, bytes_of(letter))) && is_ok(sendmail_input_put(out, value)));
    ASSERT(is_ok(sendmail_input_put(out, BYTES("\n"))));
}

static void number_put(struct sendmail_input *out, const char *letter, unsigned value)
{
    char text[16];

    ASSERT(snprintf(text, sizeof text, "%u", value) > 0);
    line_put(out, letter, bytes_of(text));
}

/* The file that says what `s` holds. */
static void file_write(const struct sendmail *s, struct sendmail_input *file)
{
    struct sendmail_input envelope = {.data = NULL};
    char first[80];

    line_put(&envelope, "F", s->envelope.reverse_path);
    for (size_t i = 0; i < s->envelope.recipient_count; i++)
        line_put(&envelope, "R", s->envelope.recipients[i].forward_path);
    number_put(&envelope, "N", s->options.notify);
    number_put(&envelope, "T", s->options.ret);
    if (s->options.body_given)
        number_put(&envelope, "B", s->options.body);
    if (s->options.envid != NULL)
        line_put(&envelope, "V", bytes_of(s->options.envid));
    ASSERT(snprintf(first, sizeof first, "mansio-drop 1 %zu %zu\n", envelope.size, s->message.size) > 0);
    ASSERT(is_ok(sendmail_input_put(file, bytes_of(first))));
    ASSERT(is_ok(sendmail_input_put(file, sendmail_input_bytes(&envelope))));
    ASSERT(is_ok(sendmail_input_put(file, sendmail_input_bytes(&s->message))));
    sendmail_input_free(&envelope);
}

static void same(const struct sendmail *a, const struct sendmail *b)
{
    ASSERT(bytes_equal(a->envelope.reverse_path, b->envelope.reverse_path));
    ASSERT(a->envelope.recipient_count == b->envelope.recipient_count);
    for (size_t i = 0; i < a->envelope.recipient_count; i++)
        ASSERT(bytes_equal(a->envelope.recipients[i].forward_path, b->envelope.recipients[i].forward_path));
    ASSERT(a->options.notify == b->options.notify && a->options.ret == b->options.ret);
    ASSERT(a->options.body_given == b->options.body_given && a->options.body == b->options.body);
    ASSERT(bytes_equal(sendmail_input_bytes(&a->message), sendmail_input_bytes(&b->message)));
    ASSERT(a->message.has_8bit == b->message.has_8bit);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct sendmail_input file = {.data = NULL};
    struct sendmail s, again;
    struct bytes in = {data, size};

    kit_open(&s);
    if (is_ok(sendmail_drop_read(&s, in))) {
        clean(s.envelope.reverse_path);
        ASSERT(s.envelope.recipient_count > 0 && s.envelope.recipient_count <= RCPT_COUNT_MAX);
        for (size_t i = 0; i < s.envelope.recipient_count; i++)
            clean(s.envelope.recipients[i].forward_path);
        if (s.options.envid != NULL)
            clean(bytes_of(s.options.envid));
        file_write(&s, &file);
        kit_open(&again);
        ASSERT(is_ok(sendmail_drop_read(&again, sendmail_input_bytes(&file))));
        same(&s, &again);
        kit_close(&again);
        for (size_t i = 0; i < 3 && i < size; i++) { /* not whole: it may yet be written (D1) */
            kit_open(&again);
            ASSERT(!is_ok(sendmail_drop_read(&again, bytes_head(in, size - i - 1))));
            kit_close(&again);
        }
    }
    sendmail_input_free(&file);
    kit_close(&s);
    return 0;
}
