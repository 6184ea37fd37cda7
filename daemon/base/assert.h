/* assert: ASSERT stays on in the shipped build: stop rather than lose mail; the supervisor restarts us.
 *
 * For: what our own code promised (a state, a bound, an invariant). Not for: anything that a peer, a file or a
 * user sent; that is input, checked and answered.
 *   ASSERT(s->state == SERVER_READY);
 *   STATIC_ASSERT(COMMAND_SIZE_MAX >= 512); */
#ifndef MANSIO_ASSERT_H
#define MANSIO_ASSERT_H

#define ASSERT(condition) ((condition) ? (void)0 : assert_fail(__FILE__, __LINE__, #condition))
#define STATIC_ASSERT(condition) _Static_assert(condition, #condition)

/* Writes file:line and the broken promise to standard error and aborts the process. */
__attribute__((noreturn)) void assert_fail(const char *file, int line, const char *what);

#endif
