#include "daemon/queued/tally.h"

const uint64_t tally_delay_bounds_ms[HISTOGRAM_BOUNDS] = {
    100, 500, 1000, 5000, 30000, 60000, 300000, 1800000, 3600000, 14400000, 86400000};
const uint64_t tally_batch_bounds[HISTOGRAM_BOUNDS] = {1, 2, 4, 8, 16, 32, 64, 128, 256, 512, 1024};

const uint64_t tally_stage_bounds_us[HISTOGRAM_BOUNDS] = {
    500, 1000, 2500, 5000, 10000, 25000, 100000, 500000, 2000000, 10000000, 60000000};

void histogram_add(struct histogram *h, const uint64_t bounds[HISTOGRAM_BOUNDS], uint64_t value)
{
    size_t i = 0;

    while (i < HISTOGRAM_BOUNDS && value > bounds[i])
        i++;
    h->buckets[i]++;
    h->count++;
    h->sum += value;
}

/* --- flows --- */

static int64_t minute_of(struct walltime now)
{
    return now.ms / 60000;
}

static uint64_t counted(const struct tally_flow *flow, int64_t minute)
{
    bool known = minute <= flow->minute && minute > flow->minute - TALLY_MINUTES && minute >= 0;

    return known ? flow->counts[minute % TALLY_MINUTES] : 0;
}

void tally_flow_add(struct tally_flow *flow, struct walltime now, uint64_t count)
{
    int64_t minute = minute_of(now) > 0 ? minute_of(now) : 0;

    if (minute - flow->minute >= TALLY_MINUTES || minute < flow->minute) /* long ago, or the clock went back */
        *flow = (struct tally_flow){.minute = minute};
    while (flow->minute < minute)
        flow->counts[++flow->minute % TALLY_MINUTES] = 0;
    flow->counts[minute % TALLY_MINUTES] += (uint32_t)count;
}

uint64_t tally_flow_rate(const struct tally_flow *flow, struct walltime now, unsigned minutes)
{
    int64_t minute = minute_of(now), past_ms = now.ms - minute * 60000;
    uint64_t sum = counted(flow, minute - minutes) * (uint64_t)(60000 - past_ms) / 60;

    ASSERT(minutes > 0 && minutes < TALLY_MINUTES);
    for (unsigned i = 0; i < minutes; i++)
        sum += counted(flow, minute - i) * 1000;
    return sum / (minutes * UINT64_C(60));
}

/* --- lanes --- */

const struct tally_lane *tally_lane_find(const struct tally_lanes *lanes, struct bytes name)
{
    uint64_t hash = bytes_hash(name, 0);

    for (size_t i = 0; i < lanes->count; i++) {
        const struct tally_lane *row = &lanes->rows[i];
        if (row->hash == hash && bytes_equal((struct bytes){row->name, row->name_size}, name))
            return row;
    }
    return NULL;
}

/* NULL: the names are used up. */
static struct tally_lane *row_of(struct tally_lanes *lanes, struct bytes name)
{
    const struct tally_lane *found = tally_lane_find(lanes, name);

    ASSERT(name.size <= LANE_NAME_SIZE_MAX);
    if (found != NULL)
        return &lanes->rows[found - lanes->rows];
    if (lanes->count == TALLY_LANES_MAX)
        return NULL;
    struct tally_lane *row = &lanes->rows[lanes->count++];
    row->hash = bytes_hash(name, 0);
    row->name_size = (uint16_t)name.size;
    if (name.size > 0)
        memcpy(row->name, name.data, name.size);
    return row;
}

void tally_lane_add(struct tally_lanes *lanes, struct bytes name, enum tally_result result)
{
    struct tally_lane *row = row_of(lanes, name);

    if (row == NULL) {
        lanes->others[result]++;
        return;
    }
    row->results[result]++;
    if (result == TALLY_DELIVERED)
        tally_flow_add(&row->out, lanes->now, 1);
}

void tally_lane_in(struct tally_lanes *lanes, struct bytes name, uint64_t count)
{
    struct tally_lane *row = row_of(lanes, name);

    if (row != NULL)
        tally_flow_add(&row->in, lanes->now, count);
}

void tally_certificate_set(
    struct tally_tls *tls, uint32_t index, uint32_t count, struct bytes name, bool rsa, int64_t ends)
{
    name = bytes_head(name, TALLY_NAME_SIZE_MAX);
    tls->count = count < TALLY_CERTIFICATES_MAX ? count : TALLY_CERTIFICATES_MAX;
    if (index >= tls->count)
        return;
    struct tally_certificate *one = &tls->certificates[index];
    *one = (struct tally_certificate){.ends = ends, .rsa = rsa, .name_size = (uint8_t)name.size};
    if (name.size > 0)
        memcpy(one->name, name.data, name.size);
}

void tally_door_add(struct tally_doors *doors, unsigned family, struct bytes label, uint64_t count)
{
    size_t i = 0;

    label = bytes_head(label, TALLY_LABEL_SIZE_MAX);
    while (
        i < doors->count && (doors->rows[i].family != family ||
                                !bytes_equal((struct bytes){doors->rows[i].label, doors->rows[i].label_size}, label)))
        i++;
    if (i == TALLY_DOORS_MAX)
        return;
    struct tally_door *row = &doors->rows[i];
    if (i == doors->count) {
        *row = (struct tally_door){.family = family, .label_size = (uint8_t)label.size};
        if (label.size > 0)
            memcpy(row->label, label.data, label.size);
        doors->count++;
    }
    row->count += count;
}
