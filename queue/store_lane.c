#include "queue/store_inside.h"

static void lane_key(struct row_key *key_out, struct bytes lane)
{
    ASSERT(row_lane_valid(lane));
    memcpy(key_out->room, lane.data, lane.size);
    key_out->size = lane.size;
}

RESULT store_lane_put(struct store *s, struct bytes lane, const struct lane_health *health)
{
    uint8_t room[ROW_HEADER_SIZE + LANE_HEALTH_SIZE_MAX];
    struct buf value = row_buf(room, sizeof room);
    struct row_key key;

    lane_key(&key, lane);
    TRY(lane_health_put(&value, health));
    return store_row_put(s, DB_LANE, &key, &value);
}

RESULT store_lane_delete(struct store *s, struct bytes lane)
{
    struct row_key key;

    lane_key(&key, lane);
    return store_row_forget(s, DB_LANE, &key);
}

static RESULT lane_open(struct bytes key, struct bytes value, struct lane_health *health_out)
{
    struct bytes payload;

    TRY(row_open(key, value, &payload));
    struct wire_reader in = wire_reader_over(payload);
    TRY(lane_health_get(&in, health_out));
    TRY(wire_end(&in));
    return row_lane_valid(key) ? OK : FAIL(CODE_CORRUPT, "not the name of a lane");
}

bool store_lane_sound(struct bytes key, struct bytes value)
{
    struct lane_health health;

    return is_ok(lane_open(key, value, &health));
}

RESULT store_lane_next(struct store *s, struct bytes after, struct bytes *lane_out, struct lane_health *health_out)
{
    MDB_cursor *cursor;
    struct row_key place;
    struct bytes key, value;

    if (after.size > 0 && !row_lane_valid(after))
        return FAIL(CODE_GONE, "no lane has such a name");
    TRY(store_cursor(s, DB_LANE, &cursor));
    if (after.size > 0) { /* the smallest key behind it: the same name and a NUL */
        lane_key(&place, after);
        place.room[place.size++] = 0;
    }
    TRY(store_seek(cursor, after.size > 0 ? MDB_SET_RANGE : MDB_FIRST, after.size > 0 ? &place : NULL, &key, &value));
    while (!is_ok(lane_open(key, value, health_out))) {
        store_note(s, DB_LANE, key);
        TRY(store_seek(cursor, MDB_NEXT, NULL, &key, &value));
    }
    *lane_out = key;
    return OK;
}

/* --- the door --- */

static const struct row_key paused_key = {"paused", 6};

RESULT store_paused_put(struct store *s, bool paused)
{
    uint8_t room[ROW_HEADER_SIZE];
    struct buf value = row_buf(room, sizeof room);

    return paused ? store_row_put(s, DB_META, &paused_key, &value) : store_row_forget(s, DB_META, &paused_key);
}

RESULT store_paused_get(struct store *s, bool *paused_out)
{
    struct bytes payload;
    struct result r = store_row_get(s, DB_META, &paused_key, &payload);

    *paused_out = is_ok(r) || r.code == CODE_CORRUPT; /* somebody closed it */
    return r.code == CODE_GONE || r.code == CODE_CORRUPT ? OK : r;
}
