/* mem: the one door to the heap, so that a test can make the n-th request fail.
 *
 *   struct job *job = mem_take_zero(sizeof *job);
 *   if (job == NULL) return FAIL(CODE_FULL, "out of memory");
 *   mem_free(job);
 * Threads: none; each process is one thread. */
#ifndef MANSIO_MEM_H
#define MANSIO_MEM_H

/* NULL when the heap has none (or a test said so). Release with mem_free. */
void *mem_take(size_t size);
void *mem_take_zero(size_t size);
/* As realloc: on NULL the old block stays. */
void *mem_resize(void *memory, size_t size);
void mem_free(void *memory);

/* For sweeps: the n-th request from now (1 = the next) fails, and those after it succeed. 0 switches this off. */
void mem_fail_nth(uint64_t n);
/* Requests left up to the one that fails, itself included; 0: it has failed, or none was to. */
uint64_t mem_fail_left(void);

#endif
