/* top: the queue on a whole screen, once a second: what comes and goes, and the next hops, with keys to act on one of them.
 * Everything shown is asked of the daemon as other verbs do; whatever the screen's size, only what fits is drawn. */
#include <locale.h>
#include <stdio.h>
#include <sys/mman.h>
#include <time.h>
#include <unistd.h>

#include "tools/ask.h"
#include "tools/render.h"

#ifdef MANSIO_NCURSES

#include <curses.h>

enum { AGE_COUNT = 6, AGES_EVERY = 10 /* turns: their counting walks the queue */ };
enum { TURN_MS = 1000, LANES_MAX = 1000, HEAD_LINES = 4, SIZE_LINES_MIN = 6, SIZE_COLUMNS_MIN = 20 };

struct counts { /* from the metrics */
    double accepted, delivered, deferred, failed, messages, scheduled, held, jobs, oldest;
};

struct screen {
    const struct tool *t;
    struct counts now, before;
    double seconds; /* between the two */
    bool rates_known;
    struct timespec at;
    json_t *lanes; /* array, the busiest first */
    size_t chosen, first;
    char chosen_lane[LANE_NAME_SIZE_MAX + 1];
    char word[128]; /* what the last key did */
    bool by_age;
    unsigned ages_due; /* turns until they are counted again */
    int64_t ages[AGE_COUNT];
};

/* --- asking --- */

static void metric_take(struct counts *c, const char *line)
{
    static const struct {
        const char *name;
        size_t offset;
    } names[] = {
        {"mansio_messages_accepted_total ", offsetof(struct counts, accepted)},
        {"mansio_recipient_results_total{result=\"delivered\"} ", offsetof(struct counts, delivered)},
        {"mansio_recipient_results_total{result=\"deferred\"} ", offsetof(struct counts, deferred)},
        {"mansio_recipient_results_total{result=\"failed\"} ", offsetof(struct counts, failed)},
        {"mansio_queue_messages ", offsetof(struct counts, messages)},
        {"mansio_queue_recipients{state=\"scheduled\"} ", offsetof(struct counts, scheduled)},
        {"mansio_queue_recipients{state=\"held\"} ", offsetof(struct counts, held)},
        {"mansio_jobs_in_flight ", offsetof(struct counts, jobs)},
        {"mansio_queue_oldest_age_seconds ", offsetof(struct counts, oldest)},
    };

    for (size_t i = 0; i < COUNT_OF(names); i++)
        if (strncmp(line, names[i].name, strlen(names[i].name)) == 0)
            *(double *)((char *)c + names[i].offset) = strtod(line + strlen(names[i].name), NULL);
}

static void metrics_line(const struct tool *t, void *context, const json_t *line, uint64_t index)
{
    (void)t;
    (void)index;
    for (const char *at = render_str(line, "text"); at != NULL && *at != 0;) {
        metric_take(context, at);
        at = strchr(at, '\n');
        at = at == NULL ? NULL : at + 1;
    }
}

static const struct {
    const char *filter, *words;
} age_rows[AGE_COUNT] = {{"age<=5m", "up to 5 minutes"}, {"age>5m age<=1h", "5 minutes to 1 hour"},
    {"age>1h age<=4h", "1 to 4 hours"}, {"age>4h age<=1d", "4 hours to 1 day"}, {"age>1d age<=3d", "1 to 3 days"},
    {"age>3d", "more than 3 days"}};

/* Recipients by the age of their message. */
static enum tool_exit ages_ask(struct screen *s)
{
    enum tool_exit exit = TOOL_OK;

    for (size_t i = 0; i < AGE_COUNT && exit == TOOL_OK; i++) {
        json_t *end;

        exit = tool_ask_quietly(s->t,
            json_pack("{s:i,s:s,s:s}", "v", CONTROL_VERSION, "verb", "count", "filter", age_rows[i].filter), NULL, NULL,
            &end);
        s->ages[i] = render_num(end, "recipients");
        json_decref(end);
    }
    return exit;
}

static void lane_line(const struct tool *t, void *context, const json_t *line, uint64_t index)
{
    (void)t;
    if (index < LANES_MAX)
        json_array_append(context, (json_t *)(uintptr_t)line);
}

/* Busy ones first, then those that fail, then by name: a list that does not jump about. */
static int lane_order(const void *a, const void *b)
{
    const json_t *const x = *(json_t *const *)a, *const y = *(json_t *const *)b;
    int64_t busy = render_num(y, "in_flight") - render_num(x, "in_flight"),
            failing = render_num(y, "failures") - render_num(x, "failures");

    if (busy != 0)
        return busy > 0 ? 1 : -1;
    if (failing != 0)
        return failing > 0 ? 1 : -1;
    return strcmp(render_str(x, "lane"), render_str(y, "lane"));
}

static json_t *lanes_sorted(json_t *found)
{
    size_t count = json_array_size(found);
    json_t **rows = mem_take_zero((count + 1) * sizeof *rows);
    json_t *sorted = json_array();

    for (size_t i = 0; rows != NULL && i < count; i++)
        rows[i] = json_array_get(found, i);
    if (rows != NULL && count > 0)
        qsort(rows, count, sizeof *rows, lane_order);
    for (size_t i = 0; rows != NULL && i < count; i++)
        json_array_append(sorted, rows[i]);
    mem_free(rows);
    json_decref(found);
    return sorted;
}

static enum tool_exit screen_ask(struct screen *s)
{
    json_t *found = json_array(), *end;
    struct counts fresh = {0};
    struct timespec at;
    enum tool_exit exit = tool_ask_quietly(
        s->t, json_pack("{s:i,s:s}", "v", CONTROL_VERSION, "verb", "metrics"), metrics_line, &fresh, &end);

    json_decref(end);
    if (exit == TOOL_OK) {
        exit = tool_ask_quietly(
            s->t, json_pack("{s:i,s:s}", "v", CONTROL_VERSION, "verb", "lanes"), lane_line, found, &end);
        json_decref(end);
    }
    if (exit == TOOL_OK && s->by_age && s->ages_due-- == 0) {
        exit = ages_ask(s);
        s->ages_due = AGES_EVERY;
    }
    clock_gettime(CLOCK_MONOTONIC, &at);
    s->seconds = (double)(at.tv_sec - s->at.tv_sec) + (double)(at.tv_nsec - s->at.tv_nsec) / 1e9;
    s->rates_known = s->at.tv_sec != 0 && s->seconds > 0.05;
    s->at = at;
    s->before = s->now;
    s->now = fresh;
    json_decref(s->lanes);
    s->lanes = lanes_sorted(found);
    s->chosen = 0;
    for (size_t i = 0; i < json_array_size(s->lanes); i++) /* the choice stays with its lane */
        if (strcmp(render_str(json_array_get(s->lanes, i), "lane"), s->chosen_lane) == 0)
            s->chosen = i;
    return exit;
}

/* --- drawing --- */

static void line_put(int row, const char *text, attr_t look)
{
    attrset(look);
    mvaddnstr(row, 0, text, COLS);
    clrtoeol();
    attrset(A_NORMAL);
}

static double rate(const struct screen *s, double now, double before)
{
    return s->rates_known && now >= before ? (now - before) / s->seconds : 0;
}

static void head_draw(const struct screen *s)
{
    char *text = NULL;
    size_t size;
    FILE *out = open_memstream(&text, &size);
    time_t t = (time_t)tool_now();
    struct tm tm = {0};

    localtime_r(&t, &tm);
    fprintf(out, "%02d:%02d:%02d  %.0f messages, %.0f recipients", tm.tm_hour, tm.tm_min, tm.tm_sec, s->now.messages,
        s->now.scheduled + s->now.held);
    if (s->now.held > 0)
        fprintf(out, " (%.0f held)", s->now.held);
    fputs(", oldest ", out);
    render_span(out, (int64_t)s->now.oldest);
    fprintf(out, "  %.*s", BYTES_ARG(s->t->cfg->hostname));
    fclose(out);
    line_put(0, text, A_BOLD);
    free(text);
    out = open_memstream(&text, &size);
    fprintf(out, "in %.1f/s  out %.1f/s  deferred %.1f/s  failed %.1f/s  flying %.0f",
        rate(s, s->now.accepted, s->before.accepted), rate(s, s->now.delivered, s->before.delivered),
        rate(s, s->now.deferred, s->before.deferred), rate(s, s->now.failed, s->before.failed), s->now.jobs);
    fclose(out);
    line_put(1, text, A_NORMAL);
    free(text);
}

static void lane_draw(int row, const json_t *lane, bool chosen)
{
    char *text = NULL;
    size_t size;
    FILE *out = open_memstream(&text, &size);

    fprintf(out, "%-11s %6" PRId64 " %5" PRId64 " %7.1f %7.1f  ", render_str(lane, "state"),
        render_num(lane, "in_flight"), render_num(lane, "slots"), json_number_value(json_object_get(lane, "in_1m")),
        json_number_value(json_object_get(lane, "out_1m")));
    render_text(out, render_str(lane, "lane"));
    if (render_str(lane, "last_error")[0] != 0) {
        fputs("  ", out);
        render_text(out, render_str(lane, "last_error"));
    }
    fclose(out);
    line_put(row, text, chosen ? A_REVERSE : A_NORMAL);
    free(text);
}

static void ages_draw(const struct screen *s, size_t rows)
{
    int64_t most = 1;

    line_put(2, "recipients  age of the message", A_UNDERLINE);
    for (size_t i = 0; i < AGE_COUNT; i++)
        most = s->ages[i] > most ? s->ages[i] : most;
    for (size_t i = 0; i < rows && i < AGE_COUNT; i++) {
        char text[256];
        int used = snprintf(text, sizeof text, "%10" PRId64 "  %-20s ", s->ages[i], age_rows[i].words);

        line_put((int)i + 3, text, A_NORMAL);
        for (int64_t bar = 0; used + bar < COLS && bar < s->ages[i] * (COLS - used) / most; bar++)
            mvaddch((int)i + 3, used + (int)bar, '#');
    }
}

static void screen_draw(struct screen *s)
{
    static const char keys[] = "q quit  up/down choose  r retry  s suspend/resume  h hold  u release  a ages";
    size_t count = json_array_size(s->lanes);
    size_t rows = LINES > HEAD_LINES ? (size_t)LINES - HEAD_LINES : 0;

    erase();
    if (LINES < SIZE_LINES_MIN || COLS < SIZE_COLUMNS_MIN) {
        line_put(0, "too small (q)", A_NORMAL);
        refresh();
        return;
    }
    head_draw(s);
    if (s->by_age) {
        ages_draw(s, rows);
        line_put(LINES - 1, "q quit  a next hops", A_DIM);
        refresh();
        return;
    }
    line_put(2, "state       flying slots    in/s   out/s  next hop", A_UNDERLINE);
    if (s->chosen < s->first)
        s->first = s->chosen;
    if (s->chosen >= s->first + rows)
        s->first = s->chosen - rows + 1;
    for (size_t i = 0; i < rows && s->first + i < count; i++)
        lane_draw((int)i + 3, json_array_get(s->lanes, s->first + i), s->first + i == s->chosen);
    if (count == 0)
        line_put(3, "no next hop has work", A_NORMAL);
    line_put(LINES - 1, s->word[0] != 0 ? s->word : keys, A_DIM);
    refresh();
}

/* --- keys --- */

static void choose(struct screen *s, size_t index)
{
    size_t count = json_array_size(s->lanes);

    if (count == 0)
        return;
    s->chosen = index < count ? index : count - 1;
    (void)snprintf(
        s->chosen_lane, sizeof s->chosen_lane, "%s", render_str(json_array_get(s->lanes, s->chosen), "lane"));
}

/* Tells the daemon something about the chosen lane; the last line says what came of it. */
static void lane_act(struct screen *s, const char *verb, bool by_filter)
{
    const json_t *lane = json_array_get(s->lanes, s->chosen);
    char filter[LANE_NAME_SIZE_MAX * 2 + 16];
    json_t *request, *end;

    if (lane == NULL)
        return;
    choose(s, s->chosen);
    request = json_pack("{s:i,s:s}", "v", CONTROL_VERSION, "verb", verb);
    (void)snprintf(filter, sizeof filter, "lane=\"%s\"", s->chosen_lane);
    json_object_set_new(request, by_filter ? "filter" : "lane", json_string(by_filter ? filter : s->chosen_lane));
    enum tool_exit exit = tool_ask_quietly(s->t, request, NULL, NULL, &end);
    if (exit != TOOL_OK)
        (void)snprintf(s->word, sizeof s->word, "%s: %.100s", verb, render_str(end, "error"));
    else if (by_filter || strcmp(verb, "retry") == 0)
        (void)snprintf(s->word, sizeof s->word, "%s: %" PRId64 " recipients of %.60s", verb,
            render_num(end, "recipients"), s->chosen_lane);
    else
        (void)snprintf(s->word, sizeof s->word, "%s: %.60s", verb, s->chosen_lane);
    json_decref(end);
}

/* False: enough. */
static bool key_do(struct screen *s, int key)
{
    const json_t *lane = json_array_get(s->lanes, s->chosen);

    if (key != ERR && key != KEY_RESIZE)
        s->word[0] = 0;
    switch (key) {
    case 'q':
    case 3:  /* ^C */
    case 27: /* ESC */
        return false;
    case KEY_DOWN:
    case 'j':
        choose(s, s->chosen + 1);
        break;
    case KEY_UP:
    case 'k':
        choose(s, s->chosen > 0 ? s->chosen - 1 : 0);
        break;
    case 'a':
        s->by_age = !s->by_age;
        s->ages_due = 0;
        break;
    case 'r':
        lane_act(s, "retry", false);
        break;
    case 's':
        lane_act(s, strcmp(render_str(lane, "state"), "suspended") == 0 ? "resume" : "suspend", false);
        break;
    case 'h':
        lane_act(s, "hold", true);
        break;
    case 'u':
        lane_act(s, "release", true);
        break;
    default:
        break;
    }
    return true;
}

/* What is said on stderr meanwhile must not fall into the picture: it is kept, and said when the terminal is itself again. */
static void stderr_give_back(int saved, int kept)
{
    char text[4096];
    ssize_t size;

    fflush(stderr);
    dup2(saved, STDERR_FILENO);
    close(saved);
    size = pread(kept, text, sizeof text, 0);
    if (size > 0)
        fwrite(text, 1, (size_t)size, stderr);
    close(kept);
}

enum tool_exit tool_top(const struct tool *t)
{
    struct screen s = {.t = t};
    enum tool_exit exit;
    int saved, kept;

    if (!isatty(STDIN_FILENO) || !isatty(STDOUT_FILENO)) {
        fprintf(stderr, "%s: top wants a terminal; for scripts there is: queuectl metrics\n", t->program);
        return TOOL_USAGE;
    }
    exit = screen_ask(&s);
    if (exit != TOOL_OK) {
        json_decref(s.lanes);
        return exit;
    }
    setlocale(LC_CTYPE, "");
    saved = dup(STDERR_FILENO);
    kept = memfd_create("stderr", MFD_CLOEXEC);
    if (saved < 0 || kept < 0 || initscr() == NULL)
        return TOOL_FAILED;
    dup2(kept, STDERR_FILENO);
    raw();
    noecho();
    keypad(stdscr, TRUE);
    set_escdelay(50);
    (void)curs_set(0);
    timeout(TURN_MS);
    do {
        screen_draw(&s);
        bool more = key_do(&s, getch());
        if (!more)
            break;
        exit = screen_ask(&s);
    } while (exit == TOOL_OK);
    endwin();
    stderr_give_back(saved, kept);
    json_decref(s.lanes);
    return exit;
}

#else

enum tool_exit tool_top(const struct tool *t)
{
    fprintf(stderr, "%s: built without ncurses, so there is no top; try: watch queuectl lanes\n", t->program);
    return TOOL_FAILED;
}

#endif
