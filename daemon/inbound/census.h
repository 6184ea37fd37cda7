/* census: how many sessions there are in all inbound processes together, and how many of one client.
 *
 * For: limits.sessions and limits.sessions_per_client, which are the server's and not one process's. It also holds the table of rates.h.
 * The inbound processes of one supervisor share a page of memory in which each writes only its own row of client keys;
 * counting reads all rows. So a process that dies leaves a row that the next one takes over, empty, and nothing is locked;
 * two connections accepted in the same microsecond by two processes may both be the last one allowed.
 *   TRY(census_open(name, sessions_max, &census));
 *   if (census_count(census, key) < limit && census_enter(census, key, &place)) ... census_leave(census, place);
 * Without shared memory (no /dev/shm) the process counts alone. */
#ifndef MANSIO_INBOUND_CENSUS_H
#define MANSIO_INBOUND_CENSUS_H

#include "daemon/inbound/rates.h"

struct census;

/* The group of those that a process has started: its id and when it began, so that a later process of that id does not count on. */
uint64_t census_group(int32_t pid);
/* `group` names the processes that count together, of this user; 0 counts alone. */
RESULT
census_open(uint64_t group, uint32_t sessions_max, struct census **census_out);
void census_close(struct census **census);

/* Sessions of `key` (not 0) in all processes; key 0: all sessions. */
uint32_t census_count(const struct census *c, uint64_t key);
/* False when this process has no place left. */
bool census_enter(struct census *c, uint64_t key, uint32_t *place_out);
void census_leave(struct census *c, uint32_t place);

/* Somebody whom we know (a login, a local user, an exempt host) sends: when, by the monotonic clock, for all processes. */
void census_worked(struct census *c, int64_t now_ms);
int64_t census_worked_at(const struct census *c);

/* The table of buckets in the same memory, for rates.h. */
struct rates_slot *census_rates(struct census *c);

#endif
