/* heap: how much the daemon's own objects hold of the heap: what they took through mem.h and have not given back.
 *
 * For: run.c, which looks at quiet points. Not for: what the simulator itself or a library takes. The linker puts these calls
 * before those of daemon/base/mem.c (--wrap).
 *   before = heap_held();  ...  heap_held() - before */
#ifndef MANSIO_SIM_HEAP_H
#define MANSIO_SIM_HEAP_H

#include "daemon/base/base.h"

/* Octets. */
size_t heap_held(void);

#endif
