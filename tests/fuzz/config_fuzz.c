/* Any text at all: an answer, no crash; what was accepted keeps its promises. */
#include "daemon/config/config.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct config *cfg = NULL;
    struct config_error error = {""};

    if (!is_ok(config_read_text("fuzz.conf", (struct bytes){data, size}, &cfg, &error))) {
        ASSERT(cfg == NULL && error.text[0] != 0);
        return 0;
    }
    ASSERT(cfg->hostname.size > 0 && cfg->hostname.data[cfg->hostname.size] == 0);
    ASSERT(cfg->listen_count > 0 && cfg->domain_count > 0);
    ASSERT(cfg->retry.step_count > 0 && cfg->retry.step_count <= RETRY_STEP_COUNT_MAX);
    ASSERT(cfg->routes.count > 0 && cfg->routes.items[cfg->routes.count - 1].pattern.size == 0);
    for (size_t i = 0; i < cfg->listen_count; i++)
        ASSERT(cfg->listens[i].endpoint_count > 0);
    for (size_t i = 0; i < cfg->domain_count; i++)
        ASSERT(config_domain_find(cfg, cfg->domains[i].name) == &cfg->domains[i]);
    config_free(&cfg);
    return 0;
}
