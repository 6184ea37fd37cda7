#include "tests/sim/lib/heap.h"

#include <malloc.h>

static size_t held;

void *__real_mem_take(size_t size);
void *__real_mem_take_zero(size_t size);
void *__real_mem_resize(void *memory, size_t size);
void __real_mem_free(void *memory);
void *__wrap_mem_take(size_t size);
void *__wrap_mem_take_zero(size_t size);
void *__wrap_mem_resize(void *memory, size_t size);
void __wrap_mem_free(void *memory);

size_t heap_held(void)
{
    return held;
}

static void *counted(void *memory)
{
    if (memory != NULL)
        held += malloc_usable_size(memory);
    return memory;
}

void *__wrap_mem_take(size_t size)
{
    return counted(__real_mem_take(size));
}

void *__wrap_mem_take_zero(size_t size)
{
    return counted(__real_mem_take_zero(size));
}

void *__wrap_mem_resize(void *memory, size_t size)
{
    size_t before = memory == NULL ? 0 : malloc_usable_size(memory);
    void *resized = __real_mem_resize(memory, size);

    if (resized == NULL)
        return NULL;
    held -= before;
    return counted(resized);
}

void __wrap_mem_free(void *memory)
{
    if (memory != NULL)
        held -= malloc_usable_size(memory);
    __real_mem_free(memory);
}
