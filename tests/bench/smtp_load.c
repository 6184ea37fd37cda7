/* Sends mail as fast as a server takes it, from many sessions in one loop, and says how long each message took.
 *
 *   smtp_load [options] ADDRESS:PORT
 *     -s N  sessions at once (1)              -n N  messages in all (1)         -x S  begin none after S seconds
 *     -l N  octets of content (4096); 0: sizes as real mail has them, median 12 kB, mean 43 kB
 *     -r N  recipients of each message (1)    -k N  messages per connection (0: keep it to the end)
 *     -p 0  a command at a time  -p 1  MAIL, RCPT and DATA in one write  -p 2  and all of it behind the last content
 *     -f A  reverse-path   -t A  forward-path: %m becomes the message's number, %r the recipient's
 *     -T    STARTTLS, certificates not checked
 *     -b N  number of the first message (0)   -o FILE  a line for each 250: the message's number and the time
 *     -w S  wait up to S seconds for the server to come up
 *     -q N  pause while more than N messages taken have not come to the sink that counts into   -c FILE
 *
 * A message's latency runs from the write that holds its MAIL to the reply to its content. Messages are built once and
 * only their number is written anew, so that this program costs the machine little. At the end one JSON object on
 * standard output; exit status 1 when a message was refused or lost.
 *
 * Each session is a small machine: the replies it still waits for stand in a queue of expectations, so that the same
 * code serves all three ways of pipelining. */
#include <arpa/inet.h>
#include <fcntl.h>
#include <netinet/tcp.h>
#include <openssl/ssl.h>
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

#define OPTIONS "s:n:x:l:r:k:p:f:t:Tb:o:w:q:c:"

enum {
    LINE_MAX_SIZE = 2048,
    LATENCY_COUNT_MAX = 8000000,
    EVENTS = 256,
};

enum expect { EXPECT_GREETING, EXPECT_EHLO, EXPECT_STARTTLS, EXPECT_ENVELOPE, EXPECT_GO, EXPECT_TAKEN, EXPECT_BYE };

struct session {
    int fd;
    bool handshaking, wants_write, pipelines, refused;
    enum expect expect;
    SSL *tls;
    long sent_here;     /* messages on this connection */
    long number, ahead; /* the message under way; with -p 2 the one whose envelope is already out, or -1 */
    long replies_to_go; /* of the envelope: MAIL and each RCPT */
    long rcpts_unsent;  /* without pipelining */
    double began, ahead_began;
    uint8_t *out;
    size_t out_size, out_done, out_room;
    size_t line_size;
    char line[LINE_MAX_SIZE];
};

static struct {
    long sessions, messages, size, recipients, per_connection, pipelining, first;
    bool tls;
    const char *from, *to;
    struct sockaddr_in server;
} plan = {
    .sessions = 1, .messages = 1, .size = 4096, .recipients = 1, .from = "sender@load.test", .to = "r%r@load.test"};

static int epoll_fd;
static SSL_CTX *tls_context;
static FILE *taken_file;
static long ahead_max;
static struct counters *arrived;
static char *content;
static long begun, taken, failed, connections, alive;
static float *latency_ms;
static double last_taken;
static uint64_t octets_taken;
static volatile sig_atomic_t stopping;

static double seconds_now(clockid_t clock)
{
    struct timespec t;

    clock_gettime(clock, &t);
    return (double)t.tv_sec + (double)t.tv_nsec / 1e9;
}

static void fatal(const char *what)
{
    perror(what);
    exit(2);
}

/* --- what we say --- */

static void say(struct session *s, const char *text, size_t size)
{
    if (s->out_size + size > s->out_room) {
        s->out_room = (s->out_size + size) * 2;
        s->out = realloc(s->out, s->out_room);
        if (s->out == NULL)
            fatal("memory");
    }
    memcpy(s->out + s->out_size, text, size);
    s->out_size += size;
}

static void say_path(struct session *s, const char *verb, const char *path, long message, long recipient)
{
    char line[512];
    int size = snprintf(line, sizeof line, "%s", verb);

    for (; *path != '\0' && size < 480; path++) {
        if (path[0] == '%' && (path[1] == 'm' || path[1] == 'r'))
            size += snprintf(line + size, sizeof line - (size_t)size, "%ld", *++path == 'm' ? message : recipient);
        else
            line[size++] = *path;
    }
    memcpy(line + size, ">\r\n", 3);
    say(s, line, (size_t)size + 3);
}

static void say_envelope(struct session *s, long number)
{
    say_path(s, "MAIL FROM:<", plan.from, number, 0);
    for (long i = 0; i < plan.recipients; i++)
        say_path(s, "RCPT TO:<", plan.to, number, i);
    say(s, "DATA\r\n", 6);
}

/* As real mail: one size for each number, so that runs are alike. */
static size_t content_size(long number)
{
    static const size_t sizes[] = {900, 2000, 3500, 5000, 8000, 12000, 15000, 22000, 40000, 80000, 280000};

    return plan.size != 0 ? (size_t)plan.size : sizes[(uint64_t)number * 2654435761u % COUNT_OF(sizes)];
}

static void say_content(struct session *s)
{
    char header[320];
    size_t size = content_size(s->number);
    int head = snprintf(header, sizeof header,
        "From: <sender@load.test>\r\nTo: <r@load.test>\r\nSubject: a message of the benchmark\r\n"
        "Date: Thu, 01 Jan 2026 00:00:00 +0000\r\nMessage-ID: <%ld@load.test>\r\nX-Number: %ld\r\n\r\n",
        s->number, s->number);

    say(s, header, (size_t)head);
    if (size > (size_t)head)
        say(s, content, (size - (size_t)head) / 64 * 64); /* whole lines */
    say(s, ".\r\n", 3);
}

static bool may_begin(const struct session *s)
{
    return begun < plan.messages && !stopping && (plan.per_connection == 0 || s->sent_here < plan.per_connection);
}

static void begin(struct session *s)
{
    s->refused = false;
    if (!may_begin(s)) {
        s->expect = EXPECT_BYE;
        say(s, "QUIT\r\n", 6);
        return;
    }
    s->number = plan.first + begun++;
    s->sent_here++;
    s->began = seconds_now(CLOCK_MONOTONIC);
    s->expect = EXPECT_ENVELOPE;
    s->replies_to_go = 1 + plan.recipients;
    s->rcpts_unsent = plan.recipients;
    if (s->pipelines)
        say_envelope(s, s->number);
    else
        say_path(s, "MAIL FROM:<", plan.from, s->number, 0);
}

static void begin_ahead(struct session *s)
{
    if (!may_begin(s))
        return;
    s->ahead = plan.first + begun++;
    s->sent_here++;
    s->ahead_began = seconds_now(CLOCK_MONOTONIC);
    say_envelope(s, s->ahead);
}

static void take_up_ahead(struct session *s)
{
    s->number = s->ahead;
    s->began = s->ahead_began;
    s->ahead = -1;
    s->expect = EXPECT_ENVELOPE;
    s->replies_to_go = 1 + plan.recipients;
}

/* --- what we hear --- */

static void message_taken(struct session *s)
{
    last_taken = seconds_now(CLOCK_MONOTONIC);
    if (taken < LATENCY_COUNT_MAX)
        latency_ms[taken] = (float)((last_taken - s->began) * 1e3);
    taken++;
    octets_taken += content_size(s->number);
    if (taken_file != NULL)
        fprintf(taken_file, "%ld %.6f\n", s->number, seconds_now(CLOCK_REALTIME));
    if (s->ahead >= 0)
        take_up_ahead(s);
    else
        begin(s);
}

static void hear_envelope(struct session *s, bool fine)
{
    s->refused |= !fine;
    s->replies_to_go--;
    if (s->pipelines) {
        if (s->replies_to_go == 0)
            s->expect = EXPECT_GO;
        return;
    }
    if (s->rcpts_unsent > 0) {
        say_path(s, "RCPT TO:<", plan.to, s->number, plan.recipients - s->rcpts_unsent--);
        return;
    }
    say(s, "DATA\r\n", 6);
    s->expect = EXPECT_GO;
}

/* The last line of a reply. False: nothing more to do with this connection. */
static bool hear(struct session *s, const char *line)
{
    bool fine = line[0] == '2' || (line[0] == '3' && s->expect == EXPECT_GO);

    if (!fine && failed < 5)
        fprintf(stderr, "smtp_load: %s\n", line);
    switch (s->expect) {
    case EXPECT_GREETING:
        s->expect = EXPECT_EHLO;
        say(s, "EHLO load.test\r\n", 16);
        return fine;
    case EXPECT_EHLO:
        if (plan.tls && s->tls == NULL) {
            s->expect = EXPECT_STARTTLS;
            say(s, "STARTTLS\r\n", 10);
        } else {
            begin(s);
        }
        return fine;
    case EXPECT_STARTTLS:
        s->tls = SSL_new(tls_context);
        SSL_set_fd(s->tls, s->fd);
        SSL_set_connect_state(s->tls);
        s->handshaking = true;
        return fine;
    case EXPECT_ENVELOPE:
        hear_envelope(s, fine);
        return fine;
    case EXPECT_GO:
        if (!fine || s->refused)
            return false;
        say_content(s);
        if (s->pipelines && plan.pipelining == 2)
            begin_ahead(s);
        s->expect = EXPECT_TAKEN;
        return true;
    case EXPECT_TAKEN:
        if (fine)
            message_taken(s);
        return fine;
    case EXPECT_BYE:
        return false;
    }
    return false;
}

/* --- the wire --- */

static void want_write(struct session *s, bool wanted)
{
    struct epoll_event e = {.events = EPOLLIN | (wanted ? EPOLLOUT : 0), .data.ptr = s};

    if (wanted == s->wants_write)
        return;
    s->wants_write = wanted;
    epoll_ctl(epoll_fd, EPOLL_CTL_MOD, s->fd, &e);
}

/* True while the handshake is under way or done; then the SMTP dialogue starts anew. */
static bool handshake(struct session *s)
{
    int r = SSL_connect(s->tls);
    int why;

    if (r == 1) {
        s->handshaking = false;
        s->expect = EXPECT_EHLO;
        say(s, "EHLO load.test\r\n", 16);
        return true;
    }
    why = SSL_get_error(s->tls, r);
    want_write(s, why == SSL_ERROR_WANT_WRITE);
    return why == SSL_ERROR_WANT_READ || why == SSL_ERROR_WANT_WRITE;
}

static bool flush(struct session *s)
{
    if (s->handshaking && (!handshake(s) || s->handshaking))
        return s->handshaking;
    while (s->out_done < s->out_size) {
        size_t left = s->out_size - s->out_done;
        ssize_t n = s->tls != NULL ? SSL_write(s->tls, s->out + s->out_done, left > 1 << 20 ? 1 << 20 : (int)left)
                                   : send(s->fd, s->out + s->out_done, left, MSG_NOSIGNAL);

        if (n <= 0) {
            bool again = s->tls != NULL ? SSL_get_error(s->tls, (int)n) == SSL_ERROR_WANT_WRITE : errno == EAGAIN;
            want_write(s, again);
            return again;
        }
        s->out_done += (size_t)n;
    }
    s->out_size = s->out_done = 0;
    want_write(s, false);
    return true;
}

/* Eats all whole lines that have come. */
static bool hear_lines(struct session *s)
{
    char *at = s->line;
    char *end = s->line + s->line_size;
    char *nl;

    while ((nl = memchr(at, '\n', (size_t)(end - at))) != NULL) {
        *nl = '\0';
        if (s->expect == EXPECT_EHLO && nl - at > 4 && strncasecmp(at + 4, "PIPELINING", 10) == 0)
            s->pipelines = plan.pipelining > 0;
        if ((nl - at < 4 || at[3] != '-') && !hear(s, at))
            return false;
        at = nl + 1;
    }
    s->line_size = (size_t)(end - at);
    memmove(s->line, at, s->line_size);
    return s->line_size < LINE_MAX_SIZE;
}

static bool serve(struct session *s)
{
    for (;;) {
        size_t room = LINE_MAX_SIZE - s->line_size;
        ssize_t n;

        if (s->handshaking && (!flush(s) || s->handshaking))
            return s->handshaking;
        n = s->tls != NULL ? SSL_read(s->tls, s->line + s->line_size, (int)room)
                           : recv(s->fd, s->line + s->line_size, room, 0);
        if (n <= 0)
            return s->tls != NULL ? SSL_get_error(s->tls, (int)n) == SSL_ERROR_WANT_READ : n < 0 && errno == EAGAIN;
        s->line_size += (size_t)n;
        if (!hear_lines(s) || !flush(s))
            return false;
        if (s->tls == NULL && (size_t)n < room)
            return true;
    }
}

static void connect_anew(struct session *s)
{
    struct epoll_event e = {.events = EPOLLIN, .data.ptr = s};
    int one = 1;

    s->fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK, 0);
    setsockopt(s->fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
    s->expect = EXPECT_GREETING;
    s->handshaking = s->wants_write = s->pipelines = s->refused = false;
    s->sent_here = 0;
    s->number = s->ahead = -1;
    s->out_size = s->out_done = s->line_size = 0;
    if (connect(s->fd, (struct sockaddr *)&plan.server, sizeof plan.server) != 0 && errno != EINPROGRESS)
        fatal("smtp_load: connect");
    epoll_ctl(epoll_fd, EPOLL_CTL_ADD, s->fd, &e);
    connections++;
}

static void disconnected(struct session *s)
{
    bool orderly = s->expect == EXPECT_BYE;

    if (s->tls != NULL)
        SSL_free(s->tls);
    s->tls = NULL;
    close(s->fd);
    if (!orderly && failed++ < 5)
        fprintf(stderr, "smtp_load: a connection was lost or a message refused (waiting for reply %d)\n", s->expect);
    if (orderly && begun < plan.messages && !stopping)
        connect_anew(s);
    else
        alive--;
}

/* --- the run --- */

static void stop(int number)
{
    (void)number;
    stopping = 1;
}

static int by_size(const void *a, const void *b)
{
    float x = *(const float *)a;
    float y = *(const float *)b;

    return (x > y) - (x < y);
}

static void wait_for_server(double seconds)
{
    double end = seconds_now(CLOCK_MONOTONIC) + seconds;
    int refused = 1;

    while (refused != 0 && seconds_now(CLOCK_MONOTONIC) < end) {
        int fd = socket(AF_INET, SOCK_STREAM, 0);

        refused = connect(fd, (struct sockaddr *)&plan.server, sizeof plan.server);
        close(fd);
        if (refused != 0)
            usleep(1000);
    }
}

/* The server's queue is to live, not to grow: whoever sends sleeps until enough has left it. */
static void keep_pace(void)
{
    while (arrived != NULL && !stopping && taken - (long)arrived->messages > ahead_max)
        counters_wait(arrived, (uint32_t)(taken - ahead_max));
}

static void counters_open(const char *path)
{
    int fd = open(path, O_RDWR | O_CLOEXEC);

    arrived = fd >= 0 ? counters_map(fd) : MAP_FAILED;
    if (arrived == MAP_FAILED)
        fatal(path);
    close(fd);
}

static void options(int argc, char **argv)
{
    int c;
    char *colon;

    while ((c = getopt(argc, argv, OPTIONS)) != -1) {
        switch (c) {
        case 's':
            plan.sessions = atol(optarg);
            break;
        case 'n':
            plan.messages = atol(optarg);
            break;
        case 'x':
            alarm((unsigned)atol(optarg));
            break;
        case 'l':
            plan.size = atol(optarg);
            break;
        case 'r':
            plan.recipients = atol(optarg);
            break;
        case 'k':
            plan.per_connection = atol(optarg);
            break;
        case 'p':
            plan.pipelining = atol(optarg);
            break;
        case 'f':
            plan.from = optarg;
            break;
        case 't':
            plan.to = optarg;
            break;
        case 'T':
            plan.tls = true;
            break;
        case 'b':
            plan.first = atol(optarg);
            break;
        case 'o':
            taken_file = fopen(optarg, "w");
            if (taken_file == NULL)
                fatal(optarg);
            break;
        case 'q':
            ahead_max = atol(optarg);
            break;
        case 'c':
            counters_open(optarg);
            break;
        case 'w':
            break; /* after the address is known */
        default:
            exit(2);
        }
    }
    colon = optind < argc ? strrchr(argv[optind], ':') : NULL;
    if (colon == NULL) {
        fprintf(stderr, "usage: smtp_load [options] ADDRESS:PORT (see the head of smtp_load.c)\n");
        exit(2);
    }
    *colon = '\0';
    plan.server.sin_family = AF_INET;
    plan.server.sin_port = htons((uint16_t)atoi(colon + 1));
    if (inet_pton(AF_INET, argv[optind], &plan.server.sin_addr) != 1)
        fatal("smtp_load: address");
    optind = 1;
    while ((c = getopt(argc, argv, OPTIONS)) != -1)
        if (c == 'w')
            wait_for_server(atof(optarg));
}

static void prepare(void)
{
    static const char line[65] = "The quick brown fox jumps over the lazy dog, 0123456789 times.\r\n";
    size_t size = plan.size != 0 ? (size_t)plan.size : 300000;
    struct rlimit files = {20000, 20000};

    setrlimit(RLIMIT_NOFILE, &files);
    signal(SIGPIPE, SIG_IGN);
    signal(SIGALRM, stop);
    signal(SIGTERM, stop);
    content = malloc(size + 64);
    latency_ms = malloc(
        sizeof *latency_ms * (size_t)(plan.messages < LATENCY_COUNT_MAX ? plan.messages + 1 : LATENCY_COUNT_MAX));
    if (content == NULL || latency_ms == NULL)
        fatal("memory");
    for (size_t i = 0; i < size; i += 64)
        memcpy(content + i, line, 64);
    if (plan.tls) {
        tls_context = SSL_CTX_new(TLS_client_method());
        SSL_CTX_set_mode(tls_context, SSL_MODE_ENABLE_PARTIAL_WRITE | SSL_MODE_ACCEPT_MOVING_WRITE_BUFFER);
    }
    epoll_fd = epoll_create1(0);
}

static void report(double seconds)
{
    struct rusage u;
    long known = taken < LATENCY_COUNT_MAX ? taken : LATENCY_COUNT_MAX;

    qsort(latency_ms, (size_t)known, sizeof *latency_ms, by_size);
    getrusage(RUSAGE_SELF, &u);
    printf("{\"taken\":%ld,\"failed\":%ld,\"connections\":%ld,\"seconds\":%.4f,\"per_second\":%.1f,\"octets\":%" PRIu64
           ",\"p50_ms\":%.3f,\"p90_ms\":%.3f,\"p99_ms\":%.3f,\"max_ms\":%.3f,\"cpu_seconds\":%.3f}\n",
        taken, failed, connections, seconds, (double)taken / seconds, octets_taken, known ? latency_ms[known / 2] : 0.0,
        known ? latency_ms[known * 9 / 10] : 0.0, known ? latency_ms[known * 99 / 100] : 0.0,
        known ? latency_ms[known - 1] : 0.0,
        (double)(u.ru_utime.tv_sec + u.ru_stime.tv_sec) + (double)(u.ru_utime.tv_usec + u.ru_stime.tv_usec) / 1e6);
}

int main(int argc, char **argv)
{
    double start;
    long opened = 0;

    options(argc, argv);
    prepare();
    start = seconds_now(CLOCK_MONOTONIC);
    while (alive > 0 || opened < plan.sessions) {
        struct epoll_event events[EVENTS];
        int count;

        /* A session a millisecond: some peers listen with a short backlog. */
        while (opened < plan.sessions && seconds_now(CLOCK_MONOTONIC) >= start + (double)opened * 0.001) {
            struct session *s = calloc(1, sizeof *s);

            if (s == NULL)
                fatal("memory");
            connect_anew(s);
            opened++;
            alive++;
        }
        keep_pace();
        count = epoll_wait(epoll_fd, events, EVENTS, opened < plan.sessions ? 1 : 1000);
        for (int i = 0; i < count; i++) {
            struct session *s = events[i].data.ptr;

            if (((events[i].events & EPOLLOUT) != 0 && !flush(s)) ||
                ((events[i].events & ~(uint32_t)EPOLLOUT) != 0 && !serve(s)))
                disconnected(s);
        }
        if (stopping && count == 0)
            break;
    }
    report((last_taken > 0 ? last_taken : seconds_now(CLOCK_MONOTONIC)) - start);
    if (taken_file != NULL)
        fclose(taken_file);
    return taken == plan.messages || (stopping && failed == 0) ? 0 : 1;
}
