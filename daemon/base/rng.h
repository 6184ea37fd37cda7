/* rng: seeded randomness for cores (retry jitter, choice among equal MX hosts). Not for secrets.
 *
 * splitmix64 (Steele, Lea, Flood 2014): one word of state, every seed is good, the same seed gives the same run.
 *   struct rng rng = {seed};
 *   uint64_t pick = rng_below(&rng, count); */
#ifndef MANSIO_RNG_H
#define MANSIO_RNG_H

struct rng {
    uint64_t state;
};

uint64_t rng_next(struct rng *r);
/* Uniform in [0, bound); bound must be above 0. */
uint64_t rng_below(struct rng *r, uint64_t bound);

#endif
