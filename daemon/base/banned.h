/* banned: names that pure code may not speak (STATES ITS BOUNDS, READS NO CLOCK, DOES NO I/O).
 *
 * Forced into every file of a pure core by prelude.h, after the allowed system headers. Code that does I/O
 * is kept from the unbounded string functions by the compiler flags of the build instead (see CMakeLists.txt).
 * Use: nothing to call; a forbidden identifier is a compile error. */
#ifndef MANSIO_BANNED_H
#define MANSIO_BANNED_H

#include <stdio.h> /* so that its declarations are read before the poison */
#include <time.h>

/* with clang the C library's checked forms of these are macros */
#undef sprintf
#undef printf
#undef fprintf

/* unbounded, or silently cutting */
#pragma GCC poison strcpy strcat sprintf vsprintf strtok gets strncpy strncat scanf sscanf
/* the heap: cores live in memory that their caller gave */
#pragma GCC poison malloc calloc realloc strdup strndup
/* clocks and randomness come in as arguments */
#pragma GCC poison time clock_gettime gettimeofday localtime gmtime rand random srand srandom
/* the outside */
#pragma GCC poison socket bind listen accept connect recv sendmsg open openat fopen printf fprintf getenv exit

#endif
