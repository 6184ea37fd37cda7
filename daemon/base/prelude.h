/* prelude: what every source file of Mansio sees first (the build forces it in).
 *
 * It includes the few system headers that pure code may use and then poisons what must not be used:
 *   - everywhere: the string functions that cannot state a bound;
 *   - in pure cores (targets built with MANSIO_PURE): clocks, randomness, sockets, files and the heap.
 * A stray call then fails to build in the file that makes it. Files that may do I/O include their system
 * headers first; those come before the poison because this file includes nothing else for them.
 *
 * Lifetime: none. Threads: none. */
#ifndef MANSIO_PRELUDE_H
#define MANSIO_PRELUDE_H

#include <errno.h>
#include <inttypes.h>
#include <limits.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#ifdef MANSIO_PURE
#include "daemon/base/banned.h"
#endif

#endif
