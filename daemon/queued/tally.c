#include "daemon/queued/tally.h"

const uint64_t tally_delay_bounds_ms[HISTOGRAM_BOUNDS] = {
    100, 500, 1000, 5000, 30000, 60000, 300000, 1800000, 3600000, 14400000, 86400000};
const uint64_t tally_batch_bounds[HISTOGRAM_BOUNDS] = {1, 2, 4, 8, 16, 32, 64, 128, 256, 512, 1024};

void histogram_add(struct histogram *h, const uint64_t bounds[HISTOGRAM_BOUNDS], uint64_t value)
{
    size_t i = 0;

    while (i < HISTOGRAM_BOUNDS && value > bounds[i])
        i++;
    h->buckets[i]++;
    h->count++;
    h->sum += value;
}

void tally_lane_add(struct tally_lanes *lanes, struct bytes name, enum tally_result result)
{
    uint64_t hash = bytes_hash(name, 0);

    ASSERT(name.size <= LANE_NAME_SIZE_MAX);
    for (size_t i = 0; i < lanes->count; i++) {
        struct tally_lane *row = &lanes->rows[i];
        if (row->hash == hash && bytes_equal((struct bytes){row->name, row->name_size}, name)) {
            row->results[result]++;
            return;
        }
    }
    if (lanes->count == TALLY_LANES_MAX) {
        lanes->others[result]++;
        return;
    }
    struct tally_lane *row = &lanes->rows[lanes->count++];
    row->hash = hash;
    row->name_size = (uint16_t)name.size;
    if (name.size > 0)
        memcpy(row->name, name.data, name.size);
    row->results[result] = 1;
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
