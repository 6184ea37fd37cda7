/* events_md: prints docs/events.md from daemon/base/events.def. Run by the build target `docs`; a test compares. */
#include <stdio.h>

#include "daemon/base/log.h"

/* Cells are one line of a table, so a bar would end them. */
static void cell_put(const char *text)
{
    for (; *text != 0; text++)
        if (*text == '|')
            fputs("\\|", stdout);
        else
            putchar(*text);
}

int main(void)
{
    fputs("# Events\n\n"
          "Every line of the log is one event: a time, the process, `event=NAME` and the fields below; with\n"
          "`log { format = \"json\" }` the same as one JSON object. Text fields are escaped, so that nothing an "
          "outsider sent can\n"
          "become a second line or steer a terminal. `id` is the message's id: one id can be followed from the first "
          "session to\n"
          "the last bounce. A field is left out where it has nothing to say.\n\n"
          "This page is made from `daemon/base/events.def` (`cmake --build BUILD --target docs`).\n\n"
          "| event | level | fields | meaning |\n"
          "|---|---|---|---|\n",
        stdout);
    for (enum log_event e = 0; e < LOG_EVENT_COUNT; e++) {
        printf("| `%s` | %s | %s | ", log_event_name(e), log_level_name(log_event_level(e)), log_event_fields(e));
        cell_put(log_event_meaning(e));
        fputs(" |\n", stdout);
    }
    return ferror(stdout) != 0 || fflush(stdout) != 0;
}
