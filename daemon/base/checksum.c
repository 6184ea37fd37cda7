/* Slicing by eight (Kounavis and Berry, Intel 2005): eight tables, one load each for eight octets; where the
 * processor has the SSE 4.2 instruction, that is used instead. Both give the same sum (unit test). */
#include "daemon/base/base.h"

#if defined(__x86_64__)
#include <nmmintrin.h>
#endif

static uint32_t tables[8][256];
static bool tables_ready;

static void tables_make(void)
{
    for (uint32_t i = 0; i < 256; i++) {
        uint32_t crc = i;
        for (int bit = 0; bit < 8; bit++)
            crc = crc & 1 ? crc >> 1 ^ 0x82f63b78u : crc >> 1;
        tables[0][i] = crc;
    }
    for (uint32_t i = 0; i < 256; i++)
        for (int t = 1; t < 8; t++)
            tables[t][i] = tables[t - 1][i] >> 8 ^ tables[0][tables[t - 1][i] & 255];
    tables_ready = true;
}

static uint32_t crc_tables(uint32_t crc, struct bytes in)
{
    size_t at = 0;

    if (!tables_ready)
        tables_make();
    for (; at + 8 <= in.size; at += 8) { /* a call of bytes_after for each word would be a third of the cost */
        uint64_t word;
        memcpy(&word, in.data + at, sizeof word);
        word ^= crc; /* little endian, as every machine that Debian's amd64 and arm64 run on */
        crc = tables[7][word & 255] ^ tables[6][word >> 8 & 255] ^ tables[5][word >> 16 & 255] ^
              tables[4][word >> 24 & 255] ^ tables[3][word >> 32 & 255] ^ tables[2][word >> 40 & 255] ^
              tables[1][word >> 48 & 255] ^ tables[0][word >> 56];
    }
    for (; at < in.size; at++)
        crc = crc >> 8 ^ tables[0][(crc ^ in.data[at]) & 255];
    return crc;
}

#if defined(__x86_64__)
__attribute__((target("sse4.2"))) static uint32_t crc_sse(uint32_t crc, struct bytes in)
{
    uint64_t wide = crc;
    size_t at = 0;

    for (; at + 8 <= in.size; at += 8) {
        uint64_t word;
        memcpy(&word, in.data + at, sizeof word);
        wide = _mm_crc32_u64(wide, word);
    }
    crc = (uint32_t)wide;
    for (; at < in.size; at++)
        crc = _mm_crc32_u8(crc, in.data[at]);
    return crc;
}
#endif

uint32_t checksum_crc32c(uint32_t before, struct bytes in)
{
#if defined(__x86_64__)
    if (__builtin_cpu_supports("sse4.2"))
        return ~crc_sse(~before, in);
#endif
    return ~crc_tables(~before, in);
}
