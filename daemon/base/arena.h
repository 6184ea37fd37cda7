/* arena: memory of one transaction (or one row, one job): many small pieces, one end.
 *
 * For: things that die together. Not for: things freed one by one.
 * Grows by blocks from the heap up to a stated bound and gives all back (but its first block) at reset.
 *   struct arena a;
 *   arena_init(&a, TRANSACTION_ARENA_SIZE_MAX);
 *   TRY(arena_copy(&a, view, &kept));
 *   arena_reset(&a);  ...  arena_fini(&a); */
#ifndef MANSIO_ARENA_H
#define MANSIO_ARENA_H

struct arena_block;

struct arena {
    struct arena_block *blocks; /* newest first */
    size_t size;                /* octets handed out */
    size_t size_max;
};

void arena_init(struct arena *a, size_t size_max);
void arena_reset(struct arena *a);
void arena_fini(struct arena *a);

/* `size` zeroed octets, aligned for any type. CODE_FULL past the bound or when the heap has none. */
RESULT arena_take(struct arena *a, size_t size, void **memory_out);
/* A copy of `in` that lives as long as the arena's content. */
RESULT arena_copy(struct arena *a, struct bytes in, struct bytes *copy_out);

#endif
