/* Blocks double from 1 KiB to 64 KiB; a larger piece gets a block of its own size. The first block is kept over a
 * reset, so that a session in its steady state never asks the heap. */
#include "daemon/base/base.h"

enum { ARENA_BLOCK_SIZE_MIN = 1024, ARENA_BLOCK_SIZE_MAX = 65536, ARENA_ALIGN = 16 };

struct arena_block {
    struct arena_block *next;
    size_t used;
    size_t room;
    _Alignas(ARENA_ALIGN) uint8_t data[];
};

void arena_init(struct arena *a, size_t size_max)
{
    *a = (struct arena){.blocks = NULL, .size = 0, .size_max = size_max};
}

void arena_reset(struct arena *a)
{
    while (a->blocks != NULL && a->blocks->next != NULL) {
        struct arena_block *next = a->blocks->next;
        mem_free(a->blocks);
        a->blocks = next;
    }
    if (a->blocks != NULL) {
        if (a->blocks->room > ARENA_BLOCK_SIZE_MIN) {
            mem_free(a->blocks);
            a->blocks = NULL;
        } else {
            a->blocks->used = 0;
        }
    }
    a->size = 0;
}

void arena_fini(struct arena *a)
{
    while (a->blocks != NULL) {
        struct arena_block *next = a->blocks->next;
        mem_free(a->blocks);
        a->blocks = next;
    }
    a->size = 0;
}

static RESULT arena_grow(struct arena *a, size_t size)
{
    size_t room = a->blocks == NULL ? ARENA_BLOCK_SIZE_MIN : a->blocks->room * 2;

    if (room > ARENA_BLOCK_SIZE_MAX)
        room = ARENA_BLOCK_SIZE_MAX;
    if (room < size)
        room = size;
    struct arena_block *block = mem_take(sizeof *block + room);
    if (block == NULL)
        return FAIL(CODE_FULL, "out of memory");
    *block = (struct arena_block){.next = a->blocks, .used = 0, .room = room};
    a->blocks = block;
    return OK;
}

RESULT arena_take(struct arena *a, size_t size, void **memory_out)
{
    size_t rounded = (size + ARENA_ALIGN - 1) & ~(size_t)(ARENA_ALIGN - 1);

    if (rounded < size || rounded > a->size_max - a->size)
        return FAIL(CODE_FULL, "arena bound reached");
    if (a->blocks == NULL || a->blocks->room - a->blocks->used < rounded)
        TRY(arena_grow(a, rounded));
    *memory_out = a->blocks->data + a->blocks->used;
    memset(*memory_out, 0, rounded);
    a->blocks->used += rounded;
    a->size += rounded;
    return OK;
}

RESULT arena_copy(struct arena *a, struct bytes in, struct bytes *copy_out)
{
    void *memory = NULL;

    TRY(arena_take(a, in.size, &memory));
    if (in.size > 0)
        memcpy(memory, in.data, in.size);
    *copy_out = (struct bytes){memory, in.size};
    return OK;
}
