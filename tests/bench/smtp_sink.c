/* Takes mail from anybody, throws it away, and says how much came and when.
 *
 *   smtp_sink [options] ADDRESS:PORT...
 *     -n N  end after N messages     -r N  end after N recipients     -o FILE  a line for each message: number and time
 *     -e "450 4.2.0 not now"  answers every RCPT with this
 *     -d N  answers the first RCPT for <uK@...> so, where K is a multiple of N: one message in N comes a second time
 *     -c FILE  keeps the number of messages and of recipients so far in its first 16 octets, for whoever waits
 * At its end (also at SIGTERM) one JSON object on standard output; first and last are the times of day of the first and
 * the last message. It writes one segment for each group of commands and looks for the end of content with one scan, so
 * that it costs the machine little. Not a model of a server: lines may be of any length, commands come in any order. */
#include <arpa/inet.h>
#include <fcntl.h>
#include <netinet/tcp.h>
#include <signal.h>
#include <stdio.h>
#include <strings.h>
#include <sys/epoll.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#include "daemon/base/base.h"
#include "tests/bench/counters.h"

enum { INPUT_SIZE = 65536, OUTPUT_SIZE = 65536, EVENTS = 256, LISTENERS_MAX = 8, TAIL_SIZE = 5, NUMBER_MAX = 1 << 26 };

struct visitor {
    int fd;
    bool in_content, in_header, leaving;
    long rcpts, number;
    size_t size;
    uint8_t input[INPUT_SIZE];
};

static long messages, recipients, connections, present, present_max, messages_wanted, recipients_wanted;
static uint64_t octets;
static double first, last;
static const char *rcpt_reply = "250 2.1.5 ok\r\n";
static long defer_each;
static uint8_t *deferred; /* a bit for each number that has been put off */
static FILE *file;
static struct counters *counters;
static int epoll_fd;
static int listeners[LISTENERS_MAX];
static int listener_count;
static volatile sig_atomic_t stopping;

static double seconds_now(void)
{
    struct timespec t;

    clock_gettime(CLOCK_REALTIME, &t);
    return (double)t.tv_sec + (double)t.tv_nsec / 1e9;
}

static void fatal(const char *what)
{
    perror(what);
    exit(2);
}

static void stop(int number)
{
    (void)number;
    stopping = 1;
}

static void message_done(struct visitor *v)
{
    last = seconds_now();
    if (messages++ == 0)
        first = last;
    recipients += v->rcpts;
    v->rcpts = 0;
    v->in_content = false;
    if (counters != NULL)
        counters_say(counters, (uint64_t)messages, (uint64_t)recipients);
    if (file != NULL)
        fprintf(file, "%ld %.6f\n", v->number, last);
    if ((messages_wanted != 0 && messages >= messages_wanted) ||
        (recipients_wanted != 0 && recipients >= recipients_wanted))
        stopping = 1;
}

/* Eats content; the number is looked for in the first piece, where our generator puts it. Returns the octets eaten. */
static size_t eat_content(struct visitor *v, const uint8_t *at, size_t size)
{
    static const uint8_t end[TAIL_SIZE] = "\r\n.\r\n";
    const uint8_t *found;

    if (v->in_header) {
        const uint8_t *field = memmem(at, size, "\r\nX-Number: ", 12);

        v->in_header = field == NULL && size < 2048;
        if (field != NULL)
            v->number = atol((const char *)field + 12);
        else if (v->in_header && memmem(at, size, end, TAIL_SIZE) == NULL)
            return 0;
        v->in_header = false;
    }
    found = memmem(at, size, end, TAIL_SIZE);
    if (found == NULL) {
        size_t eaten = size < TAIL_SIZE ? 0 : size - (TAIL_SIZE - 1);

        octets += eaten;
        return eaten;
    }
    octets += (size_t)(found - at) + TAIL_SIZE;
    message_done(v);
    return (size_t)(found - at) + TAIL_SIZE;
}

static bool puts_off(const uint8_t *line, size_t size)
{
    const uint8_t *path = memmem(line, size, "<u", 2);
    long number = path != NULL ? atol((const char *)path + 2) : 0;

    if (defer_each == 0 || number <= 0 || number >= NUMBER_MAX || number % defer_each != 0 ||
        (deferred[number / 8] >> (number % 8) & 1) != 0)
        return false;
    deferred[number / 8] |= (uint8_t)(1 << (number % 8));
    return true;
}

static const char *answer(struct visitor *v, const uint8_t *line, size_t size)
{
    if (size >= 4 && strncasecmp((const char *)line, "EHLO", 4) == 0)
        return "250-sink.test\r\n250-PIPELINING\r\n250-SIZE\r\n250-8BITMIME\r\n250 ENHANCEDSTATUSCODES\r\n";
    if (size >= 4 && strncasecmp((const char *)line, "RCPT", 4) == 0) {
        if (puts_off(line, size))
            return "450 4.2.0 not now\r\n";
        v->rcpts += rcpt_reply[0] == '2';
        return rcpt_reply;
    }
    if (size >= 4 && strncasecmp((const char *)line, "DATA", 4) == 0) {
        if (v->rcpts == 0)
            return "554 5.5.1 no recipients\r\n";
        v->in_content = v->in_header = true;
        v->number = -1;
        return "354 go\r\n";
    }
    if (size >= 4 && strncasecmp((const char *)line, "QUIT", 4) == 0) {
        v->leaving = true;
        return "221 2.0.0 bye\r\n";
    }
    v->rcpts = 0; /* MAIL, RSET, HELO, NOOP */
    return "250 2.0.0 ok\r\n";
}

static bool serve(struct visitor *v)
{
    static char out[OUTPUT_SIZE];
    size_t out_size = 0, at = 0;
    ssize_t n = recv(v->fd, v->input + v->size, INPUT_SIZE - 1 - v->size, 0);

    if (n <= 0)
        return n < 0 && (errno == EAGAIN || errno == EINTR);
    v->size += (size_t)n;
    v->input[v->size] = '\0';
    while (at < v->size && !v->leaving && out_size < OUTPUT_SIZE - 256) {
        const char *reply;

        if (v->in_content) {
            size_t eaten = eat_content(v, v->input + at, v->size - at);

            at += eaten;
            if (v->in_content)
                break;
            reply = "250 2.0.0 taken\r\n";
        } else {
            const uint8_t *nl = memchr(v->input + at, '\n', v->size - at);

            if (nl == NULL)
                break;
            reply = answer(v, v->input + at, (size_t)(nl - v->input) - at);
            /* The line break before the content may be the one that its end needs: keep it in sight. */
            at = (size_t)(nl - v->input) + 1;
        }
        out_size += (size_t)snprintf(out + out_size, OUTPUT_SIZE - out_size, "%s", reply);
    }
    memmove(v->input, v->input + at, v->size - at);
    v->size -= at;
    if (out_size > 0 && send(v->fd, out, out_size, MSG_NOSIGNAL) != (ssize_t)out_size)
        return false; /* replies are far smaller than the socket's buffer: such a peer does not read */
    return !v->leaving;
}

static void welcome(int listener)
{
    int fd;
    int one = 1;

    while ((fd = accept4(listener, NULL, NULL, SOCK_NONBLOCK)) >= 0) {
        struct visitor *v = malloc(sizeof *v);
        struct epoll_event e = {.events = EPOLLIN, .data.ptr = v};

        if (v == NULL)
            fatal("memory");
        memset(v, 0, offsetof(struct visitor, input));
        v->fd = fd;
        setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
        epoll_ctl(epoll_fd, EPOLL_CTL_ADD, fd, &e);
        connections++;
        if (++present > present_max)
            present_max = present;
        if (send(fd, "220 sink.test ESMTP\r\n", 21, MSG_NOSIGNAL) < 0)
            continue; /* gone again: the loop hears of it */
    }
}

static void bind_to(char *text)
{
    struct sockaddr_in address = {.sin_family = AF_INET};
    char *colon = strrchr(text, ':');
    int one = 1;
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK, 0);
    struct epoll_event e = {.events = EPOLLIN};

    if (colon == NULL || listener_count == LISTENERS_MAX)
        fatal(text);
    *colon = '\0';
    address.sin_port = htons((uint16_t)atoi(colon + 1));
    setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &one, sizeof one);
    if (inet_pton(AF_INET, text, &address.sin_addr) != 1 ||
        bind(fd, (struct sockaddr *)&address, sizeof address) != 0 || listen(fd, 4096) != 0)
        fatal(text);
    e.data.ptr = &listeners[listener_count];
    listeners[listener_count++] = fd;
    epoll_ctl(epoll_fd, EPOLL_CTL_ADD, fd, &e);
}

static void report(void)
{
    struct rusage u;

    getrusage(RUSAGE_SELF, &u);
    printf("{\"messages\":%ld,\"recipients\":%ld,\"octets\":%" PRIu64
           ",\"connections\":%ld,\"present_max\":%ld,\"first\":%.6f,"
           "\"last\":%.6f,\"cpu_seconds\":%.3f}\n",
        messages, recipients, octets, connections, present_max, first, last,
        (double)(u.ru_utime.tv_sec + u.ru_stime.tv_sec) + (double)(u.ru_utime.tv_usec + u.ru_stime.tv_usec) / 1e6);
}

static void share_counters(const char *path)
{
    int fd = open(path, O_RDWR | O_CREAT | O_TRUNC, 0644);

    if (fd < 0 || ftruncate(fd, sizeof *counters) != 0)
        fatal(path);
    counters = counters_map(fd);
    if (counters == MAP_FAILED)
        fatal(path);
    close(fd);
}

static void options(int argc, char **argv)
{
    static char refusal[512];
    int c;

    while ((c = getopt(argc, argv, "n:r:o:e:c:d:")) != -1) {
        switch (c) {
        case 'n':
            messages_wanted = atol(optarg);
            break;
        case 'r':
            recipients_wanted = atol(optarg);
            break;
        case 'o':
            file = fopen(optarg, "w");
            if (file == NULL)
                fatal(optarg);
            break;
        case 'c':
            share_counters(optarg);
            break;
        case 'd':
            defer_each = atol(optarg);
            deferred = calloc(NUMBER_MAX / 8, 1);
            if (deferred == NULL)
                fatal("memory");
            break;
        case 'e':
            snprintf(refusal, sizeof refusal, "%s\r\n", optarg);
            rcpt_reply = refusal;
            break;
        default:
            exit(2);
        }
    }
    if (optind == argc) {
        fprintf(stderr, "usage: smtp_sink [options] ADDRESS:PORT... (see the head of smtp_sink.c)\n");
        exit(2);
    }
}

int main(int argc, char **argv)
{
    struct rlimit files = {20000, 20000};
    struct sigaction action = {.sa_handler = stop};

    options(argc, argv);
    setrlimit(RLIMIT_NOFILE, &files);
    signal(SIGPIPE, SIG_IGN);
    sigaction(SIGTERM, &action, NULL);
    sigaction(SIGINT, &action, NULL);
    epoll_fd = epoll_create1(0);
    for (int i = optind; i < argc; i++)
        bind_to(argv[i]);
    while (!stopping) {
        struct epoll_event events[EVENTS];
        int count = epoll_wait(epoll_fd, events, EVENTS, 1000);

        for (int i = 0; i < count; i++) {
            int *listener = events[i].data.ptr;
            struct visitor *v = events[i].data.ptr;

            if (listener >= listeners && listener < listeners + LISTENERS_MAX) {
                welcome(*listener);
            } else if (!serve(v)) {
                close(v->fd);
                free(v);
                present--;
            }
        }
    }
    report();
    if (file != NULL)
        fclose(file);
    return 0;
}
