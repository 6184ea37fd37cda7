#include "daemon/local/quota.h"

#include <fcntl.h>
#include <stdio.h>
#include <sys/stat.h>
#include <unistd.h>

enum { QUOTA_SIZE_MAX = 8192 }; /* the standard's bound is 5120: then it is counted anew */

static bool take_number(struct bytes *rest, int64_t *number_out)
{
    bool minus = rest->size > 0 && rest->data[0] == '-';
    size_t i = minus ? 1 : 0, first = i;
    int64_t number = 0;

    for (; i < rest->size && rest->data[i] >= '0' && rest->data[i] <= '9'; i++) {
        if (number > (INT64_MAX - 9) / 10)
            return false;
        number = number * 10 + (rest->data[i] - '0');
    }
    *rest = bytes_after(*rest, i);
    *number_out = minus ? -number : number;
    return i > first;
}

/* "1000S,10C": what is not named is without bound. */
static void bounds_read(struct bytes line, int64_t *size_out, int64_t *count_out)
{
    int64_t number;

    *size_out = *count_out = 0;
    while (take_number(&line, &number) && line.size > 0) {
        if (line.data[0] == 'S')
            *size_out = number;
        else if (line.data[0] == 'C')
            *count_out = number;
        line = bytes_after(line, line.size > 1 && line.data[1] == ',' ? 2 : 1);
    }
}

bool quota_has_room(struct bytes text, uint64_t size)
{
    int64_t size_max, count_max, octets = 0, messages = 0;

    bounds_read(bytes_line_take(&text), &size_max, &count_max);
    while (text.size > 0) {
        struct bytes line = bytes_line_take(&text);
        int64_t one = 0, count = 0;

        while (line.size > 0 && line.data[0] == ' ')
            line = bytes_after(line, 1);
        bool read = take_number(&line, &one);
        while (line.size > 0 && line.data[0] == ' ')
            line = bytes_after(line, 1);
        if (!read || !take_number(&line, &count) || __builtin_add_overflow(octets, one, &octets) ||
            __builtin_add_overflow(messages, count, &messages))
            return true; /* not a file that can be trusted to refuse mail */
    }
    return (size_max <= 0 || (octets <= size_max && size <= (uint64_t)(size_max - (octets > 0 ? octets : 0)))) &&
           (count_max <= 0 || messages < count_max);
}

RESULT quota_check(int dir_fd, uint64_t size, bool *counted_out)
{
    uint8_t room[QUOTA_SIZE_MAX];
    int fd = openat(dir_fd, "maildirsize", O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC);

    *counted_out = fd >= 0;
    if (fd < 0)
        return OK;
    ssize_t got = read(fd, room, sizeof room);
    close(fd);
    if (got <= 0 || (size_t)got == sizeof room || quota_has_room((struct bytes){room, (size_t)got}, size))
        return OK;
    return FAIL_SYS(EDQUOT, "the mailbox is over its quota");
}

void quota_add(int dir_fd, uint64_t size)
{
    char line[40];
    int fd = openat(dir_fd, "maildirsize", O_WRONLY | O_APPEND | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC);

    if (fd < 0)
        return;
    int length = snprintf(line, sizeof line, "%" PRIu64 " 1\n", size);
    (void)!write(fd, line, (size_t)length);
    close(fd);
}
