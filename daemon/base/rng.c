#include "daemon/base/base.h"

uint64_t rng_next(struct rng *r)
{
    uint64_t z = (r->state += 0x9e3779b97f4a7c15u);
    z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9u;
    z = (z ^ (z >> 27)) * 0x94d049bb133111ebu;
    return z ^ (z >> 31);
}

uint64_t rng_below(struct rng *r, uint64_t bound)
{
    uint64_t reject_below;

    ASSERT(bound > 0);
    reject_below = (0 - bound) % bound; /* so that every residue is equally likely */
    for (;;) {
        uint64_t value = rng_next(r);
        if (value >= reject_below)
            return value % bound;
    }
}
