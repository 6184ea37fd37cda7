/* postmasters: who may do everything: root, the daemon's own user, and the members of the group mansio.
 *
 * For: the sockets of queued. Not for: what others may do (control.h).
 *   postmasters_know();                         before the sandbox closes: looks the group up
 *   may_all = postmasters_include(fd);          a connected UNIX socket, judged by its other end */
#ifndef MANSIO_QUEUED_POSTMASTERS_H
#define MANSIO_QUEUED_POSTMASTERS_H

#include "daemon/base/base.h"

void postmasters_know(void);
bool postmasters_include(int fd);

#endif
