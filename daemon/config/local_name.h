/* local_name: this machine's own fully qualified name, for a configuration that names none.
 *
 * For: the default of `hostname`. Not for: look-ups of any other name.
 * Asks the kernel and /etc/hosts, never the network: a program that reads its configuration must not wait for DNS.
 *   TRY(local_name_put(&out)); */
#ifndef MANSIO_CONFIG_LOCAL_NAME_H
#define MANSIO_CONFIG_LOCAL_NAME_H

#include "daemon/base/base.h"

/* The kernel's name when it has a dot; else the first dotted name on a line of /etc/hosts that also holds the short one;
 * else the short name. CODE_SYNTAX when none of them is a host name. */
RESULT local_name_put(struct buf *out);
/* The pure part: `hosts` is the text of /etc/hosts. */
RESULT local_name_choose(struct bytes own, struct bytes hosts, struct buf *out);

#endif
