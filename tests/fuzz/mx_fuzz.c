/* The MX walk in a world made of octets: each answer and each outcome is drawn from the input. Whatever comes, the walk
 * ends, stays within its bounds, never names ourselves, and a temporary failure never becomes a permanent verdict. */
#include "dns/mx.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static struct dns_answer answer;
static struct bytes rest;

static uint8_t draw(void)
{
    uint8_t octet = rest.size > 0 ? rest.data[0] : 0;

    rest = bytes_after(rest, 1);
    return octet;
}

static void draw_name(struct dns_name *name_out)
{
    static const char *const names[] = {"a.example", "b.example", "c.example", "us.example", "", "192.0.2.1",
        "-bad.example", "d.example", "_x.example",
        "a-very-long-label-that-eats-the-room-of-names.and-another-one.example"};
    struct result r = dns_name_set(name_out, bytes_of(names[draw() % COUNT_OF(names)]));
    ASSERT(is_ok(r));
    if (name_out->size > 0 && draw() % 2)
        name_out->text[0] = (uint8_t)('a' + draw() % 26);
}

static void draw_answer(uint16_t type)
{
    uint8_t kind = draw();

    dns_answer_fail(&answer, type, (enum dns_status)(kind % 3 ? DNS_OK : kind / 3 % DNS_STATUS_COUNT));
    if (answer.status != DNS_OK)
        return;
    answer.authentic = kind & 64;
    draw_name(&answer.canonical);
    answer.unusable = kind & 128 ? 1 : 0;
    answer.count = draw() % ((type == DNS_TYPE_MX ? DNS_MX_COUNT_MAX : DNS_ADDRESS_COUNT_MAX) + 1);
    uint16_t preference = 0;
    for (unsigned i = 0; i < answer.count; i++) {
        if (type == DNS_TYPE_MX) {
            answer.mx[i].preference = preference = (uint16_t)(preference + draw() % 3);
            draw_name(&answer.mx[i].host);
        } else {
            answer.address[i] = (struct dns_address){.family = type == DNS_TYPE_A ? 4 : 6};
            answer.address[i].octets[0] = draw();
            answer.address[i].octets[3] = draw();
        }
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static const struct bytes names[] = {BYTES_INIT("us.example")};
    static const struct dns_endpoint ours[] = {{{4, {192, 0, 0, 99}}, 25}, {{6, {32, 0, 0, 99}}, 25}};
    static const struct bytes domains[] = {BYTES_INIT("d.example"), BYTES_INIT("[192.0.2.1]"), BYTES_INIT("us.example"),
        BYTES_INIT("[IPv6:2001:db8::1]"), BYTES_INIT("bad..name"), BYTES_INIT("")};
    static struct mx_walk w;
    const struct mx_self self = {names, COUNT_OF(names), ours, COUNT_OF(ours)};
    uint16_t open[MX_ASK_COUNT_MAX] = {0};
    bool temporary = false;
    unsigned tries = 0;
    struct mx_event event;

    rest = (struct bytes){data, size};
    uint8_t first = draw();
    const struct mx_target target = {.domain = domains[draw() % COUNT_OF(domains)],
        .port = 25,
        .direct = first & 1,
        .ipv4 = (first & 2) || !(first & 4),
        .ipv6 = first & 4};
    mx_walk_init(&w, &target, &self, first);
    for (;;) {
        while (mx_walk_next(&w, &event)) {
            if (event.kind == MX_EVENT_DONE) {
                ASSERT(event.verdict.permanent == (event.verdict.status[0] == '5'));
                ASSERT(!temporary || !event.verdict.permanent || w.saw_ourselves);
                return 0;
            }
            if (event.kind == MX_EVENT_ASK) {
                ASSERT(open[event.ask] == 0 && event.name.size > 0);
                open[event.ask] = event.type;
                continue;
            }
            ASSERT(!dns_address_equal(&event.address, &ours[0].address) &&
                   !dns_address_equal(&event.address, &ours[1].address));
            enum mx_outcome outcome = (enum mx_outcome)(draw() % (MX_TRY_FAILED + 1));
            tries += outcome != MX_TRY_NO_ROUTE;
            ASSERT(tries <= DELIVERY_ADDRESS_TRIES_MAX);
            mx_walk_result(&w, outcome);
        }
        unsigned ask = draw() % MX_ASK_COUNT_MAX, passed = 0;
        while (open[ask] == 0) {
            ask = (ask + 1) % MX_ASK_COUNT_MAX;
            ASSERT(++passed < MX_ASK_COUNT_MAX); /* or the walk waits for nothing */
        }
        draw_answer(open[ask]);
        open[ask] = 0;
        temporary = temporary || dns_status_is_temporary(answer.status);
        mx_walk_answer(&w, ask, &answer);
    }
}
