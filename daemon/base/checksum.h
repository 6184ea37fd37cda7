/* checksum: CRC-32C (Castagnoli, RFC 3720 B.4), to notice damaged rows and frames. Not against an attacker.
 *   uint32_t sum = checksum_crc32c(0, row);
 *   sum = checksum_crc32c(sum, more);    continues over a second piece */
#ifndef MANSIO_CHECKSUM_H
#define MANSIO_CHECKSUM_H

uint32_t checksum_crc32c(uint32_t before, struct bytes in);

#endif
