#include <confuse.h>
#include <stdarg.h>
#include <stdio.h>

#include "daemon/config/lexical.h"
#include "daemon/config/tree.h"

enum { KEYS_PER_BLOCK_MAX = 40 };

struct config_tree {
    cfg_t *root;
    cfg_opt_t options[CONFIG_BLOCK_COUNT][KEYS_PER_BLOCK_MAX];
};

/* What the callbacks of the parse under way work for; libConfuse hands them no context of ours. */
static struct {
    const char *name;
    struct config_error *error;
    int replaced_line; /* a cell that was freed during the parse: its key is being set again */
    bool parsing;
} current;

void config_error_set(struct config_error *error_out, const char *name, int line, const char *format, ...)
{
    size_t used;
    va_list args;

    if (error_out->text[0] != 0)
        return;
    (void)snprintf(error_out->text, sizeof error_out->text, line > 0 ? "%.500s:%d: " : "%.500s: ", name, line);
    used = strlen(error_out->text);
    va_start(args, format);
    (void)vsnprintf(error_out->text + used, sizeof error_out->text - used, format, args);
    va_end(args);
}

static int cell_parse(cfg_t *cfg, cfg_opt_t *opt, const char *value, void *result)
{
    size_t size = strlen(value);
    struct config_tree_cell *cell;

    if (current.replaced_line != 0) {
        config_error_set(current.error, current.name, cfg->line, "'%s' is set again; it was already set on line %d",
            opt->name, current.replaced_line);
        return -1;
    }
    cell = mem_take(sizeof *cell + size + 1);
    if (cell == NULL) {
        config_error_set(current.error, current.name, cfg->line, "out of memory");
        return -1;
    }
    memcpy(cell + 1, value, size + 1);
    cell->line = cfg->line;
    cell->text = (struct bytes){(const uint8_t *)(cell + 1), size};
    *(struct config_tree_cell **)result = cell;
    return 0;
}

static void cell_free(void *value)
{
    struct config_tree_cell *cell = value;

    if (current.parsing && cell != NULL)
        current.replaced_line = cell->line;
    mem_free(cell);
}

static void keys_list(char *out, size_t out_size, const cfg_opt_t *options)
{
    size_t used = 0;

    out[0] = 0;
    for (const cfg_opt_t *o = options; o->name != NULL; o++) {
        int n = snprintf(out + used, out_size - used, "%s%s", used > 0 ? ", " : "", o->name);

        if (n < 0 || (size_t)n >= out_size - used)
            return;
        used += (size_t)n;
    }
}

static bool is_root(const cfg_t *cfg)
{
    return cfg->name == NULL || strcmp(cfg->name, "root") == 0;
}

/* libConfuse's words, put as "what was read, what was expected". */
static void __attribute__((format(printf, 2, 0))) on_error(cfg_t *cfg, const char *format, va_list args)
{
    char text[256], keys[512];

    if (strncmp(format, "no such option", 14) == 0) {
        const char *key = va_arg(args, const char *);

        keys_list(keys, sizeof keys, cfg->opts);
        config_error_set(current.error, current.name, cfg->line, "unknown key '%.100s'%s%s; expected one of: %s", key,
            is_root(cfg) ? "" : " in block ", is_root(cfg) ? "" : cfg->name, keys);
    } else if (strncmp(format, "found duplicate title", 21) == 0) {
        config_error_set(current.error, current.name, cfg->line,
            "a second block of this kind is titled '%.200s'; expected each title once", va_arg(args, const char *));
    } else if (strncmp(format, "premature end", 13) == 0) {
        config_error_set(current.error, current.name, cfg->line,
            "the text ends within a block or behind a key; expected a value or '}'");
    } else {
        (void)vsnprintf(text, sizeof text, format, args);
        config_error_set(current.error, current.name, cfg->line, "%s", text);
    }
}

static void options_fill(struct config_tree *tree)
{
    static const cfg_flag_t flags[CONFIG_BLOCK_COUNT] = {
#define BLOCK(id, name, type, flags_) [CONFIG_BLOCK_##id] = flags_,
#include "daemon/config/keys.def"
#undef BLOCK
    };
    size_t counts[CONFIG_BLOCK_COUNT] = {0};

    for (size_t i = 0; i < config_key_count; i++) {
        const struct config_key *k = &config_keys[i];
        cfg_opt_t one = CFG_PTR_CB(k->name, 0, CFGF_NODEFAULT, cell_parse, cell_free);
        cfg_opt_t list = CFG_PTR_LIST_CB(k->name, 0, CFGF_NODEFAULT, cell_parse, cell_free);

        ASSERT(counts[k->block] < KEYS_PER_BLOCK_MAX - CONFIG_BLOCK_COUNT);
        tree->options[k->block][counts[k->block]++] = config_key_is_list(k) ? list : one;
    }
    for (size_t b = 1; b < CONFIG_BLOCK_COUNT; b++) {
        cfg_opt_t section = CFG_SEC(config_block_names[b], tree->options[b], flags[b]);

        tree->options[CONFIG_BLOCK_ROOT][counts[CONFIG_BLOCK_ROOT]++] = section;
    }
    /* the arrays came zeroed, which is CFG_END */
}

static RESULT plain_parse(struct config_tree *tree, struct bytes text, struct config_error *error_out)
{
    struct lexical_error error = {0};
    size_t room = lexical_room(text.size);
    uint8_t *memory = mem_take(room + 1);
    struct buf plain;
    struct result r;
    int rc;

    if (memory == NULL)
        return FAIL(CODE_FULL, "out of memory");
    buf_init(&plain, memory, room);
    r = lexical_plain(text, &plain, &error);
    if (!is_ok(r)) {
        config_error_set(error_out, current.name, error.line, "found '%.*s', expected %s",
            BYTES_ARG(bytes_head(error.found, 100)), error.why);
        mem_free(memory);
        return r;
    }
    memory[plain.size] = 0;
    cfg_set_error_function(tree->root, on_error);
    current.parsing = true;
    rc = cfg_parse_buf(tree->root, (const char *)memory);
    current.parsing = false;
    mem_free(memory);
    if (rc == CFG_SUCCESS)
        return OK;
    config_error_set(error_out, current.name, tree->root->line, "the text could not be read");
    return FAIL(CODE_SYNTAX, "the configuration has an error");
}

RESULT config_tree_parse(
    const char *name, struct bytes text, struct config_tree **tree_out, struct config_error *error_out)
{
    struct config_tree *tree = mem_take_zero(sizeof *tree);
    struct result r;

    error_out->text[0] = 0;
    *tree_out = NULL;
    if (tree == NULL) {
        config_error_set(error_out, name, 0, "out of memory");
        return FAIL(CODE_FULL, "out of memory");
    }
    current.name = name;
    current.error = error_out;
    current.replaced_line = 0;
    options_fill(tree);
    tree->root = cfg_init(tree->options[CONFIG_BLOCK_ROOT], CFGF_NONE);
    r = tree->root != NULL ? plain_parse(tree, text, error_out) : FAIL(CODE_FULL, "out of memory");
    if (!is_ok(r)) {
        config_error_set(error_out, name, 0, "%s", r.why);
        config_tree_free(&tree);
        return r;
    }
    *tree_out = tree;
    return OK;
}

void config_tree_free(struct config_tree **tree)
{
    if (*tree == NULL)
        return;
    if ((*tree)->root != NULL)
        (void)cfg_free((*tree)->root);
    mem_free(*tree);
    *tree = NULL;
}

size_t config_tree_count(const struct config_tree *tree, enum config_block kind)
{
    return kind == CONFIG_BLOCK_ROOT ? 1 : cfg_size(tree->root, config_block_names[kind]);
}

struct config_tree_block config_tree_block(const struct config_tree *tree, enum config_block kind, size_t index)
{
    cfg_t *section =
        kind == CONFIG_BLOCK_ROOT ? tree->root : cfg_getnsec(tree->root, config_block_names[kind], (unsigned)index);
    struct config_tree_block block = {.kind = kind, .section = section};

    ASSERT(section != NULL);
    block.line = section->line;
    if (cfg_title(section) != NULL)
        block.title = bytes_of(cfg_title(section));
    if (kind == CONFIG_BLOCK_ROOT)
        return block;
    for (size_t i = 0; i < config_key_count; i++) {
        struct config_tree_values values;

        if (config_keys[i].block != kind)
            continue;
        values = config_tree_values(&block, config_keys[i].name);
        if (values.count > 0 && config_tree_cell(&values, 0)->line < block.line)
            block.line = config_tree_cell(&values, 0)->line;
    }
    return block;
}

struct config_tree_values config_tree_values(const struct config_tree_block *block, const char *key)
{
    cfg_opt_t *option = cfg_getopt(block->section, key);

    ASSERT(option != NULL);
    return (struct config_tree_values){(option->flags & CFGF_MODIFIED) != 0, cfg_opt_size(option), option};
}

const struct config_tree_cell *config_tree_cell(const struct config_tree_values *values, size_t index)
{
    ASSERT(index < values->count);
    return cfg_opt_getnptr(values->option, (unsigned)index);
}
