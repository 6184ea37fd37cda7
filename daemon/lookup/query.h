/* query: the query of a lookup block, made ready for one key. Pure.
 *
 * For: the back ends that speak SQL and LDAP. Not for: asking. A key is an address, a domain or a login: %a is the whole of it, %u
 * what stands before its last @, %d what stands behind (both the whole of a key without @); %% is a percent sign.
 * In SQL each becomes a place-holder and its value is bound; in an LDAP filter the value is escaped (RFC 4515 section 3).
 *   struct query_values values;
 *   TRY(query_sql(template, key, '$', &sql, &values));         SELECT … WHERE user = $1 AND domain = $2
 *   TRY(query_ldap(template, key, &filter)); */
#ifndef MANSIO_LOOKUP_QUERY_H
#define MANSIO_LOOKUP_QUERY_H

#include "daemon/base/base.h"

enum { QUERY_VALUES_MAX = 16, QUERY_SIZE_MAX = 8192 };

struct query_values {
    struct bytes items[QUERY_VALUES_MAX]; /* parts of the key */
    unsigned count;
};

/* `mark` stands before the number of a place-holder: '$' or '?'. CODE_FULL: too long, or too many places; CODE_GONE: the query
 * wants a user and the key has none (@example.org). */
RESULT query_sql(
    struct bytes query, struct bytes key, uint8_t mark, struct buf *sql_out, struct query_values *values_out);
RESULT query_ldap(struct bytes query, struct bytes key, struct buf *filter_out);

#endif
