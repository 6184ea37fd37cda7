#include "daemon/queued/metrics.h"

static RESULT heading_put(struct buf *out, const char *name, const char *type, const char *help)
{
    TRY(buf_put_str(out, "# HELP "));
    TRY(buf_put_str(out, name));
    TRY(buf_put_octet(out, ' '));
    TRY(buf_put_str(out, help));
    TRY(buf_put_str(out, "\n# TYPE "));
    TRY(buf_put_str(out, name));
    TRY(buf_put_octet(out, ' '));
    TRY(buf_put_str(out, type));
    return buf_put_octet(out, '\n');
}

static RESULT value_put(struct buf *out, uint64_t value)
{
    TRY(buf_put_octet(out, ' '));
    TRY(buf_put_u64(out, value));
    return buf_put_octet(out, '\n');
}

/* Milliseconds as seconds. */
static RESULT seconds_put(struct buf *out, uint64_t ms)
{
    TRY(buf_put_u64(out, ms / 1000));
    if (ms % 1000 == 0)
        return OK;
    TRY(buf_put_octet(out, '.'));
    return buf_put_u64_pad(out, ms % 1000, 3);
}

/* A label's value: backslash, quote and LF are escaped, other controls and what is not ASCII are shown as ?. */
static RESULT label_put(struct buf *out, const char *name, struct bytes value)
{
    TRY(buf_put_str(out, name));
    TRY(buf_put_str(out, "=\""));
    for (size_t i = 0; i < value.size; i++) {
        uint8_t c = value.data[i];
        if (c == '\\' || c == '"')
            TRY(buf_put_octet(out, '\\'));
        TRY(buf_put_octet(out, c < ' ' || c > '~' ? '?' : c));
    }
    return buf_put_octet(out, '"');
}

static RESULT single_put(struct buf *out, const char *name, const char *type, const char *help, uint64_t value)
{
    TRY(heading_put(out, name, type, help));
    TRY(buf_put_str(out, name));
    return value_put(out, value);
}

static RESULT labelled_put(struct buf *out, const char *name, const char *label, const char *word, uint64_t value)
{
    TRY(buf_put_str(out, name));
    TRY(buf_put_octet(out, '{'));
    TRY(label_put(out, label, bytes_of(word)));
    TRY(buf_put_octet(out, '}'));
    return value_put(out, value);
}

/* How a histogram is written: its values have `per_unit` to a second, 0: they are no times. */
struct scale {
    const uint64_t *bounds;
    uint64_t per_unit;
};

static RESULT scaled_put(struct buf *out, const struct scale *scale, uint64_t value)
{
    uint64_t rest = scale->per_unit == 0 ? 0 : value % scale->per_unit;

    TRY(buf_put_u64(out, scale->per_unit == 0 ? value : value / scale->per_unit));
    if (rest == 0)
        return OK;
    TRY(buf_put_octet(out, '.'));
    return buf_put_u64_pad(out, rest, scale->per_unit == 1000 ? 3 : 6);
}

/* One series: `label` is its own, as name="value", or empty. */
static RESULT series_put(
    struct buf *out, const char *name, const char *label, const struct histogram *h, const struct scale *scale)
{
    uint64_t sum = 0;

    for (size_t i = 0; i <= HISTOGRAM_BOUNDS; i++) {
        sum += h->buckets[i];
        TRY(buf_put_str(out, name));
        TRY(buf_put_str(out, "_bucket{"));
        TRY(buf_put_str(out, label));
        TRY(buf_put_str(out, label[0] != 0 ? ",le=\"" : "le=\""));
        if (i == HISTOGRAM_BOUNDS)
            TRY(buf_put_str(out, "+Inf"));
        else
            TRY(scaled_put(out, scale, scale->bounds[i]));
        TRY(buf_put_str(out, "\"}"));
        TRY(value_put(out, sum));
    }
    for (unsigned last = 0; last < 2; last++) {
        TRY(buf_put_str(out, name));
        TRY(buf_put_str(out, last == 0 ? "_sum" : "_count"));
        if (label[0] != 0) {
            TRY(buf_put_octet(out, '{'));
            TRY(buf_put_str(out, label));
            TRY(buf_put_octet(out, '}'));
        }
        TRY(buf_put_octet(out, ' '));
        TRY(last == 0 ? scaled_put(out, scale, h->sum) : buf_put_u64(out, h->count));
        TRY(buf_put_octet(out, '\n'));
    }
    return OK;
}

static RESULT histogram_put(struct buf *out, const char *name, const char *help, const struct histogram *h,
    const uint64_t bounds[HISTOGRAM_BOUNDS], bool is_time)
{
    TRY(heading_put(out, name, "histogram", help));
    return series_put(out, name, "", h, &(struct scale){bounds, is_time ? 1000 : 0});
}

static RESULT stages_put(struct buf *out, const struct engine_stats *e)
{
    static const char *const labels[TALLY_STAGE_COUNT] = {
#define STAGE(id, name) "stage=\"" name "\"",
        TALLY_STAGES(STAGE)
#undef STAGE
    };
    static const char name[] = "mansio_stage_seconds";

    TRY(heading_put(out, name, "histogram", "How long each stage of the way took."));
    for (size_t i = 0; i < TALLY_STAGE_COUNT; i++)
        TRY(series_put(out, name, labels[i], &e->stages[i], &(struct scale){tally_stage_bounds_us, 1000000}));
    return OK;
}

static RESULT queue_put(struct buf *out, const struct metrics *m)
{
    const struct store_stats *s = m->store;

    TRY(single_put(out, "mansio_queue_messages", "gauge", "Messages in the queue.", s->messages));
    TRY(heading_put(out, "mansio_queue_recipients", "gauge", "Recipients in the queue."));
    TRY(labelled_put(out, "mansio_queue_recipients", "state", "scheduled", store_stats_waiting(s)));
    TRY(labelled_put(out, "mansio_queue_recipients", "state", "held", store_stats_held(s)));
    TRY(heading_put(out, "mansio_queue_oldest_age_seconds", "gauge", "Age of the oldest message."));
    TRY(buf_put_str(out, "mansio_queue_oldest_age_seconds "));
    TRY(seconds_put(out, m->oldest_ms > 0 ? (uint64_t)m->oldest_ms : 0));
    TRY(buf_put_octet(out, '\n'));
    TRY(single_put(out, "mansio_store_map_bytes", "gauge", "Address space reserved for the database.", s->map_size));
    TRY(single_put(out, "mansio_store_used_bytes", "gauge", "Pages of the database in use.", s->used_size));
    TRY(single_put(out, "mansio_store_history_rows", "gauge", "Attempts remembered.", s->history));
    return single_put(out, "mansio_store_quarantine_rows", "gauge", "Damaged rows put aside.", s->quarantine);
}

static RESULT work_put(struct buf *out, const struct metrics *m)
{
    const struct engine_stats *e = m->engine;

    TRY(single_put(out, "mansio_messages_accepted_total", "counter", "Messages made durable.", e->accepted));
    TRY(heading_put(out, "mansio_recipient_results_total", "counter", "Results of delivery attempts."));
    TRY(labelled_put(out, "mansio_recipient_results_total", "result", "delivered", e->delivered));
    TRY(labelled_put(out, "mansio_recipient_results_total", "result", "deferred", e->deferred));
    TRY(labelled_put(out, "mansio_recipient_results_total", "result", "failed", e->failed));
    TRY(single_put(out, "mansio_notifications_total", "counter", "Delivery status notifications queued.", e->dsns));
    TRY(single_put(out, "mansio_commits_total", "counter", "Group commits.", e->commits));
    TRY(single_put(out, "mansio_commit_failures_total", "counter", "Group commits that failed.", e->commit_failures));
    TRY(histogram_put(out, "mansio_commit_batch_size", "Messages, results and pieces in one group commit.",
        &e->batch_sizes, tally_batch_bounds, false));
    TRY(histogram_put(out, "mansio_delivery_delay_seconds", "From a message's arrival to a recipient's delivery.",
        &e->delivery_delays, tally_delay_bounds_ms, true));
    TRY(stages_put(out, e));
    TRY(single_put(
        out, "mansio_accepted_bytes_total", "counter", "Content of messages made durable.", e->accepted_octets));
    TRY(single_put(out, "mansio_delivered_bytes_total", "counter", "Content of messages, once for each transfer of it.",
        e->delivered_octets));
    TRY(single_put(
        out, "mansio_sessions_open", "gauge", "Clients that are connected, a second late.", e->sessions_open));
    TRY(single_put(out, "mansio_sessions_total", "counter", "Clients that were let in.", e->sessions_begun));
    TRY(single_put(out, "mansio_sessions_refused_total", "counter", "Clients that were turned away with 421 or 554.",
        e->sessions_refused));
    TRY(heading_put(out, "mansio_dns_answers_total", "counter", "Answers to questions about next hops."));
    TRY(labelled_put(out, "mansio_dns_answers_total", "outcome", "found", e->dns[TALLY_DNS_FOUND]));
    TRY(labelled_put(out, "mansio_dns_answers_total", "outcome", "none", e->dns[TALLY_DNS_NONE]));
    TRY(labelled_put(out, "mansio_dns_answers_total", "outcome", "failed", e->dns[TALLY_DNS_FAILED]));
    TRY(single_put(out, "mansio_transactions_open", "gauge", "Transactions being received.", e->transactions));
    TRY(single_put(out, "mansio_jobs_in_flight", "gauge", "Jobs with workers.", e->jobs));
    return single_put(out, "mansio_accepting", "gauge", "1 while new mail is taken.", e->open);
}

static RESULT tls_put(struct buf *out, const struct tally_tls *tls)
{
    static const char name[] = "mansio_tls_certificate_not_after_timestamp_seconds";

    if (tls->count > 0)
        TRY(heading_put(out, name, "gauge", "When a certificate that clients are shown ends."));
    for (uint32_t i = 0; i < tls->count; i++) {
        const struct tally_certificate *one = &tls->certificates[i];
        TRY(buf_put_str(out, name));
        TRY(buf_put_octet(out, '{'));
        TRY(label_put(out, "index", bytes_of((const char[]){(char)('0' + i / 10), (char)('0' + i % 10), 0})));
        TRY(buf_put_octet(out, ','));
        TRY(label_put(out, "name", (struct bytes){one->name, one->name_size}));
        TRY(buf_put_octet(out, ','));
        TRY(label_put(out, "key", one->rsa ? BYTES("rsa") : BYTES("ecdsa")));
        TRY(buf_put_octet(out, '}'));
        TRY(value_put(out, one->ends > 0 ? (uint64_t)one->ends : 0));
    }
    if (!tls->dane_known)
        return OK;
    return single_put(out, "mansio_dane_live", "gauge",
        "1 while the resolver vouches for signed zones, and for them alone.", tls->dane_live);
}

/* Rows of one family stand together; one without rows is not shown. */
static RESULT doors_put(struct buf *out, const struct metrics *m)
{
    static const struct {
        const char *name, *label, *help;
    } families[DOOR_FAMILY_COUNT] = {
        [DOOR_LOGIN] = {"mansio_logins_total", "result", "Logins that were judged, or not judged and why."},
        [DOOR_LIMITED] = {"mansio_limited_total", "limit", "How often a rate was used up."},
        [DOOR_REFUSED] = {"mansio_connections_refused_total", "why", "Connections that were turned away."},
        [DOOR_WAITED] = {"mansio_delays_total", "kind", "Answers to errors, and greetings, that had to wait."},
        [DOOR_LISTED] = {"mansio_dns_listed_total", "list", "Clients found on a DNS list."},
        [DOOR_SCORED] = {"mansio_clients_scored_total", "verdict", "Clients that were scored."},
    };
    const struct tally_doors *d = m->doors;

    for (unsigned f = 0; f < DOOR_FAMILY_COUNT; f++)
        for (size_t i = 0, shown = 0; i < d->count; i++) {
            const struct tally_door *row = &d->rows[i];
            if (row->family != f)
                continue;
            if (shown++ == 0)
                TRY(heading_put(out, families[f].name, "counter", families[f].help));
            TRY(buf_put_str(out, families[f].name));
            TRY(buf_put_octet(out, '{'));
            TRY(label_put(out, families[f].label, (struct bytes){row->label, row->label_size}));
            TRY(buf_put_octet(out, '}'));
            TRY(value_put(out, row->count));
        }
    TRY(heading_put(out, "mansio_bans_total", "counter", "Bans that were made."));
    TRY(labelled_put(out, "mansio_bans_total", "by", "failed logins", d->bans_by_guessing));
    TRY(labelled_put(out, "mansio_bans_total", "by", "postmaster", d->bans_by_hand));
    TRY(single_put(out, "mansio_bans", "gauge", "Bans in force.", m->bans));
    return single_put(out, "mansio_logins_held", "gauge", "Logins whose mail is held, for having used up their quota.",
        m->logins_held);
}

static RESULT lane_line_put(struct buf *out, const char *name, struct bytes lane, const char *result, uint64_t value)
{
    TRY(buf_put_str(out, name));
    TRY(buf_put_octet(out, '{'));
    TRY(label_put(out, "lane", lane));
    if (result != NULL) {
        TRY(buf_put_octet(out, ','));
        TRY(label_put(out, "result", bytes_of(result)));
        TRY(buf_put_str(out, result[0] == 'f' ? ",class=\"5\"" : result[2] == 'l' ? ",class=\"2\"" : ",class=\"4\""));
    }
    TRY(buf_put_octet(out, '}'));
    return value_put(out, value);
}

static RESULT lane_results_put(struct buf *out, const struct tally_lanes *lanes)
{
    static const char *const words[TALLY_RESULT_COUNT] = {"delivered", "deferred", "failed"};
    static const char name[] = "mansio_lane_results_total";

    TRY(heading_put(out, name, "counter", "Results by next hop; the lane * is all that are not named."));
    for (size_t i = 0; i < lanes->count && i < METRICS_LANES_MAX; i++)
        for (size_t r = 0; r < TALLY_RESULT_COUNT; r++)
            TRY(lane_line_put(out, name, (struct bytes){lanes->rows[i].name, lanes->rows[i].name_size}, words[r],
                lanes->rows[i].results[r]));
    for (size_t r = 0; r < TALLY_RESULT_COUNT; r++) {
        uint64_t sum = lanes->others[r];
        for (size_t i = METRICS_LANES_MAX; i < lanes->count; i++)
            sum += lanes->rows[i].results[r];
        TRY(lane_line_put(out, name, BYTES("*"), words[r], sum));
    }
    return OK;
}

static uint64_t lane_value(const struct lane_view *view, unsigned which)
{
    return which == 0   ? view->in_flight
           : which == 1 ? view->slots
           : which == 2 ? view->health.failures
                        : view->health.suspended;
}

static RESULT lanes_put(struct buf *out, const struct metrics *m)
{
    static const char *const gauges[][2] = {{"mansio_lane_in_flight", "Jobs of the next hop with workers."},
        {"mansio_lane_slots", "Connections that the next hop may have."},
        {"mansio_lane_failures", "Back-offs in a row."}, {"mansio_lane_suspended", "1 while the postmaster holds it."}};
    struct lane_view view;

    for (unsigned g = 0; g < COUNT_OF(gauges); g++) {
        size_t cursor = 0;
        TRY(heading_put(out, gauges[g][0], "gauge", gauges[g][1]));
        for (unsigned i = 0; i < METRICS_LANES_MAX && scheduler_lane_view(m->scheduler, &cursor, &view); i++)
            TRY(lane_line_put(out, gauges[g][0], view.name, NULL, lane_value(&view, g)));
    }
    return OK;
}

/* The part about next hops is left out when long names fill the room: a scrape must not end half a line. */
RESULT metrics_put(struct buf *out, const struct metrics *m)
{
    TRY(queue_put(out, m));
    TRY(work_put(out, m));
    if (m->tls != NULL)
        TRY(tls_put(out, m->tls));
    if (m->doors != NULL)
        TRY(doors_put(out, m));
    size_t before = out->size;
    if (m->results != NULL && !is_ok(lane_results_put(out, m->results)))
        out->size = before;
    before = out->size;
    if (m->scheduler != NULL && !is_ok(lanes_put(out, m)))
        out->size = before;
    return OK;
}
