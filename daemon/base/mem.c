#include "daemon/base/base.h"

static uint64_t fail_countdown;

static bool mem_must_fail(void)
{
    return fail_countdown > 0 && --fail_countdown == 0;
}

void mem_fail_nth(uint64_t n)
{
    fail_countdown = n;
}

uint64_t mem_fail_left(void)
{
    return fail_countdown;
}

void *mem_take(size_t size)
{
    return mem_must_fail() ? NULL : malloc(size == 0 ? 1 : size);
}

void *mem_take_zero(size_t size)
{
    return mem_must_fail() ? NULL : calloc(1, size == 0 ? 1 : size);
}

void *mem_resize(void *memory, size_t size)
{
    return mem_must_fail() ? NULL : realloc(memory, size == 0 ? 1 : size);
}

void mem_free(void *memory)
{
    free(memory);
}
