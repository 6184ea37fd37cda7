/* bytes: a borrowed view of octets, never NUL-terminated.
 *
 * For: everything that comes from the network, the disk or a user. Not for: owning memory (see buf.h, arena.h).
 * A view is good until the next call on the owner of the memory; keep one by copying it into an arena.
 *   struct bytes verb = BYTES("EHLO");
 *   if (bytes_equal_nocase(line, verb)) ...
 *   struct bytes domain = bytes_after(address, at + 1); */
#ifndef MANSIO_BYTES_H
#define MANSIO_BYTES_H

struct bytes {
    const uint8_t *data;
    size_t size;
};

/* A view of a string literal; BYTES_INIT is the form for static initialisers. */
#define BYTES_INIT(literal)                                                                                            \
    {                                                                                                                  \
        (const uint8_t *)("" literal), sizeof(literal) - 1                                                             \
    }
#define BYTES(literal) ((struct bytes)BYTES_INIT(literal))
#define BYTES_NONE ((struct bytes){NULL, 0})
/* For printf("%.*s"). */
#define BYTES_ARG(b) (int)(b).size, (const char *)(b).data

enum { BYTES_NOT_FOUND = -1 };

/* A view of a NUL-terminated string of ours. */
struct bytes bytes_of(const char *string);

bool bytes_equal(struct bytes a, struct bytes b);
/* ASCII letters compare without case; other octets as they are. */
bool bytes_equal_nocase(struct bytes a, struct bytes b);
bool bytes_starts(struct bytes b, struct bytes prefix);
bool bytes_starts_nocase(struct bytes b, struct bytes prefix);
bool bytes_ends_nocase(struct bytes b, struct bytes suffix);

/* Index of the first (last) octet, or BYTES_NOT_FOUND. */
ptrdiff_t bytes_index(struct bytes b, uint8_t octet);
ptrdiff_t bytes_rindex(struct bytes b, uint8_t octet);
/* Index of the first occurrence of needle, or BYTES_NOT_FOUND. */
ptrdiff_t bytes_find(struct bytes b, struct bytes needle);

/* The first `size` octets; the octets from `from` on. Both clamp to the view. */
struct bytes bytes_head(struct bytes b, size_t size);
struct bytes bytes_after(struct bytes b, size_t from);
/* Without leading and trailing space and tab. */
struct bytes bytes_trim(struct bytes b);
/* Takes the first line off `rest` and returns it without its end, LF or CRLF; the last one may have none. */
struct bytes bytes_line_take(struct bytes *rest);

/* True when any octet is above 127. */
bool bytes_has_8bit(struct bytes b);

/* Order as memcmp on the common length, then the shorter first. */
int bytes_compare(struct bytes a, struct bytes b);

/* FNV-1a with a seed, for hash tables in memory (not for disk). */
uint64_t bytes_hash(struct bytes b, uint64_t seed);

/* An unsigned decimal number that fills the whole view: CODE_SYNTAX if not digits or empty, CODE_FULL if over max. */
RESULT bytes_to_u64(struct bytes b, uint64_t max, uint64_t *value_out);

uint8_t octet_lower(uint8_t octet);

#endif
