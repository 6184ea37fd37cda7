/* base: everything of daemon/base in one include; it knows no mail.
 *
 * For: every file of Mansio. See the single headers for their manuals. */
#ifndef MANSIO_BASE_H
#define MANSIO_BASE_H

#include "daemon/base/prelude.h"

#include "daemon/base/assert.h"
#include "daemon/base/result.h"

#include "daemon/base/bytes.h"

#include "daemon/base/buf.h"

#include "daemon/base/arena.h"
#include "daemon/base/checksum.h"
#include "daemon/base/ids.h"
#include "daemon/base/instant.h"
#include "daemon/base/limits.h"
#include "daemon/base/mem.h"
#include "daemon/base/rng.h"
#include "daemon/base/wire.h"

#define COUNT_OF(array) (sizeof(array) / sizeof((array)[0]))

#endif
