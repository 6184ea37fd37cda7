/* sendmail_kit: the sendmail command's parts without the command: no message is sent, nothing is said.
 * Include it in one file of a program. */
#ifndef MANSIO_TESTS_SENDMAIL_KIT_H
#define MANSIO_TESTS_SENDMAIL_KIT_H

#include "tools/sendmail.h"

void sendmail_say(const char *format, ...)
{
    (void)format;
}

static void kit_open(struct sendmail *s)
{
    static struct config *cfg;
    struct config_error error;

    if (cfg == NULL)
        ASSERT(is_ok(config_read_text("fuzz", BYTES("hostname = \"h.test\" origin = \"o.test\""), &cfg, &error)));
    *s = (struct sendmail){.cfg = cfg};
    s->user.address = BYTES("me@o.test");
    arena_init(&s->arena, (size_t)64 << 20);
}

static void kit_close(struct sendmail *s)
{
    sendmail_input_free(&s->input);
    sendmail_input_free(&s->message);
    mem_free(s->envelope.recipients);
    mem_free(s->envelope.index);
    arena_fini(&s->arena);
}

#endif
