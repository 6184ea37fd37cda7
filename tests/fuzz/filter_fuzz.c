/* Any octets as a filter: refused with a place inside the text, or run over a whole and a half subject; what the half one
 * decides the whole one decides alike, and no id outside the range matches. */
#include "queue/filter.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static const struct envelope_head head = {.id = {1000},
        .arrival = {0},
        .reverse_path = BYTES_INIT("alice@one.example"),
        .body_size = 5000,
        .subject = BYTES_INIT("a*b?c"),
        .login = BYTES_INIT("alice")};
    static const struct recipient rcpt = {.forward_path = BYTES_INIT("bob@two.example"),
        .lane = BYTES_INIT("mx:two.example"),
        .attempts = 4,
        .last_reply = BYTES_INIT("450 4.2.0 Greylisted, come back")};
    static struct filter f;
    struct filter_error error;
    struct filter_subject whole = {.head = &head, .rcpt = &rcpt, .state = "held", .now = {7200000}};
    struct filter_subject half = {.head = &head, .now = {7200000}};
    struct message_id first, last;
    struct result r = filter_parse((struct bytes){data, size}, &f, &error);

    if (!is_ok(r)) {
        ASSERT(error.why != NULL && error.at <= size && error.size <= size - error.at);
        return 0;
    }
    enum filter_verdict verdict = filter_match(&f, &whole), guess = filter_match(&f, &half);
    ASSERT(verdict != FILTER_UNKNOWN);
    ASSERT(guess == FILTER_UNKNOWN || guess == verdict);
    filter_id_range(&f, &first, &last);
    ASSERT(verdict == FILTER_NO || (first.value <= 1000 && last.value >= 1000));
    return 0;
}
