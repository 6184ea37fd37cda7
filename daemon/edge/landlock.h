/* landlock: which files a process may still open, told to the kernel once and for good.
 *
 * For: sandbox.c, which knows who needs what. Not for: calls (seccomp, in sandbox.c).
 * What is not allowed is refused with EACCES. A rule is for what stands at a path now: a folder with all below it, a file only as long
 * as nobody puts another one in its place; so for files that editors replace, allow the folder.
 *   TRY(landlock_begin(&l));  landlock_allow(&l, "/etc/ssl", LANDLOCK_READ);  TRY(landlock_end(&l));
 * A kernel without it has version 0: nothing is restricted then, and no call fails. */
#ifndef MANSIO_EDGE_LANDLOCK_H
#define MANSIO_EDGE_LANDLOCK_H

#include "daemon/base/base.h"

struct landlock {
    int version; /* of the kernel's interface; 0: none */
    int ruleset;
    uint64_t files, net; /* what is handled: refused where no rule allows it */
    bool failed;
};

/* What a rule may allow, together. */
#define LANDLOCK_READ_FILES (1u << 0)
#define LANDLOCK_READ (1u << 1 | LANDLOCK_READ_FILES)    /* folders may be listed too */
#define LANDLOCK_WRITE_FILES (1u << 2)                   /* that are there */
#define LANDLOCK_CHANGE (1u << 3 | LANDLOCK_WRITE_FILES) /* files come and go */
#define LANDLOCK_FOLDERS (1u << 4)                       /* folders come and go, files move between them */
#define LANDLOCK_ALL (1u << 5)

/* `tcp`: binding and connecting TCP sockets is refused too, where the kernel knows how (version 4), but for landlock_allow_port. */
RESULT landlock_begin(struct landlock *l, bool tcp);
/* What is not there cannot be allowed, and needs not be. */
void landlock_allow(struct landlock *l, const char *path, unsigned access);
/* The folder that holds it, and the one that a link leads to. */
void landlock_allow_folder_of(struct landlock *l, struct bytes path, unsigned access);
/* The path, or what is there of it. */
void landlock_allow_existing(struct landlock *l, struct bytes path, unsigned access);
/* Everything but these paths and what is below them. What comes into a folder above them later is refused too. */
void landlock_allow_all_but(struct landlock *l, const char *const *paths, size_t count);
void landlock_allow_port(struct landlock *l, uint16_t port); /* to connect to */
RESULT landlock_end(struct landlock *l);

#endif
