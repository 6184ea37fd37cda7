/* Preloaded into mansiod for a run under callgrind: there /proc/self/exe is valgrind's own program, so a role is started
 * from the path in MANSIO_COST_PROGRAM instead. */
#include <unistd.h>

#include "daemon/base/prelude.h"

int execv(const char *path, char *const argv[])
{
    const char *program = getenv("MANSIO_COST_PROGRAM");

    return execve(program != NULL && strcmp(path, "/proc/self/exe") == 0 ? program : path, argv, environ);
}
