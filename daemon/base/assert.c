#include "daemon/base/assert.h"

#include <stdio.h>

void assert_fail(const char *file, int line, const char *what)
{
    fprintf(stderr, "event=assert_failed file=%s line=%d what=\"%s\"\n", file, line, what);
    abort();
}
