/* -bs: the caller speaks SMTP on standard input and output; what it says and hears passes as it is, so the daemon is the one
 * who answers and queues. */
#include <poll.h>
#include <stdio.h>
#include <sys/socket.h>
#include <unistd.h>

#include "tools/sendmail.h"

enum { PORTION_SIZE = 65536 };

/* One direction of the talk. */
struct stream {
    int from, to;
    bool ended; /* nothing more comes */
    size_t at, size;
    uint8_t data[PORTION_SIZE];
};

/* False when it broke. */
static bool stream_read(struct stream *t)
{
    ssize_t n = read(t->from, t->data, sizeof t->data);

    if (n < 0)
        return errno == EINTR || errno == EAGAIN;
    t->at = 0;
    t->size = (size_t)n;
    t->ended = n == 0;
    return true;
}

static bool stream_write(struct stream *t)
{
    ssize_t n = write(t->to, t->data + t->at, t->size - t->at);

    if (n < 0)
        return errno == EINTR || errno == EAGAIN;
    t->at += (size_t)n;
    return true;
}

/* Until the daemon hangs up. */
static bool relay(int fd)
{
    static struct stream up, down;

    up = (struct stream){.from = STDIN_FILENO, .to = fd};
    down = (struct stream){.from = fd, .to = STDOUT_FILENO};
    while (!down.ended) {
        bool up_waits = up.at == up.size, down_waits = down.at == down.size;
        struct pollfd p[] = {
            {.fd = up_waits ? (up.ended ? -1 : up.from) : up.to, .events = up_waits ? POLLIN : POLLOUT},
            {.fd = down_waits ? down.from : down.to, .events = down_waits ? POLLIN : POLLOUT},
        };

        if (poll(p, 2, -1) < 0 && errno != EINTR)
            return false;
        if (p[0].revents != 0 && !(up_waits ? stream_read(&up) : stream_write(&up)))
            return false;
        if (up.ended && up_waits && p[0].revents != 0)
            shutdown(fd, SHUT_WR); /* the caller has said all; the daemon's last words still come */
        if (p[1].revents != 0 && !(down_waits ? stream_read(&down) : stream_write(&down)))
            return false;
    }
    return true;
}

int sendmail_session(const struct config *cfg)
{
    int fd = sendmail_connect(cfg);
    bool whole;

    if (fd < 0) {
        printf("421 4.3.2 %.*s mail system is not running, try again later\r\n", BYTES_ARG(cfg->hostname));
        sendmail_say("the daemon does not answer: %s", strerror(errno));
        return EX_TEMPFAIL;
    }
    whole = relay(fd);
    close(fd);
    return whole ? EX_OK : EX_IOERR;
}
