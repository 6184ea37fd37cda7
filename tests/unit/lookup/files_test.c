/* files, job: tables from a real folder: read again when they change, kept when they break; a job's answers over a channel. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>

#include <cmocka.h>

#include <sys/stat.h>
#include <unistd.h>

#include "daemon/lookup/files.h"
#include "daemon/lookup/job.h"

static char folder[64];
static struct config *cfg;
static struct book book;

static void file_write(const char *name, const char *text)
{
    char path[128], fresh[160];

    snprintf(path, sizeof path, "%s/%s", folder, name);
    snprintf(fresh, sizeof fresh, "%s.new", path);
    FILE *file = fopen(fresh, "we");
    assert_non_null(file);
    fputs(text, file);
    fclose(file);
    assert_int_equal(rename(fresh, path), 0); /* another inode: seen even within one tick of the clock */
}

static int set_up(void **state)
{
    char text[512];
    struct config_error error;

    (void)state;
    snprintf(folder, sizeof folder, "/tmp/mansio-files-XXXXXX");
    assert_non_null(mkdtemp(folder));
    snprintf(text, sizeof text,
        "hostname = \"mx.test\"\ndomain \"a.test\" { aliases = \"%s/aliases\" users = \"%s/users\" }\n", folder,
        folder);
    if (!is_ok(config_read_text("test", bytes_of(text), &cfg, &error)))
        fail_msg("%s", error.text);
    book = (struct book){0};
    assert_true(is_ok(files_want(&book, cfg)));
    return 0;
}

static int tear_down(void **state)
{
    static const char *const names[] = {"aliases", "users", "list"};
    char path[128];

    (void)state;
    files_fini(&book);
    config_free(&cfg);
    for (size_t i = 0; i < COUNT_OF(names); i++) {
        snprintf(path, sizeof path, "%s/%s", folder, names[i]);
        if (unlink(path) != 0)
            rmdir(path);
    }
    return rmdir(folder);
}

static enum book_answer ask(const char *name)
{
    files_refresh(&book);
    return book_ask(&book, &cfg->domains[0], cfg->domains[0].name, bytes_of(name), NULL, NULL);
}

static void changes_are_seen_and_errors_are_not(void **state)
{
    (void)state;
    assert_int_equal(ask("alice"), BOOK_BROKEN); /* nothing there yet */
    file_write("users", "alice\n");
    assert_int_equal(ask("alice"), BOOK_BROKEN); /* an alias might say otherwise */
    file_write("aliases", "info: alice\n");
    assert_int_equal(ask("alice"), BOOK_FINAL);
    assert_int_equal(ask("info"), BOOK_ALIAS);
    assert_int_equal(ask("bob"), BOOK_UNKNOWN);
    file_write("aliases", "info: alice\nbob alice\n"); /* broken: the old one stays */
    assert_int_equal(ask("info"), BOOK_ALIAS);
    assert_int_equal(ask("bob"), BOOK_UNKNOWN);
    file_write("aliases", "bob: alice\n");
    assert_int_equal(ask("info"), BOOK_UNKNOWN);
    assert_int_equal(ask("bob"), BOOK_ALIAS);
    char path[128];
    snprintf(path, sizeof path, "%s/aliases", folder);
    assert_int_equal(unlink(path), 0); /* gone: the old one stays */
    assert_int_equal(ask("bob"), BOOK_ALIAS);
    assert_int_equal(mkdir(path, 0700), 0);
    assert_int_equal(ask("bob"), BOOK_ALIAS);
}

static const char *verdict(const char *address)
{
    static const char *const words[] = {"leaves", "unknown", "loop", "later", "too many"};
    struct expansion x;
    struct arena a;

    files_refresh(&book);
    arena_init(&a, 1 << 20);
    expand(&book, cfg, &a, bytes_of(address), &x);
    arena_fini(&a);
    return words[x.verdict];
}

static void lists_come_and_go(void **state)
{
    char text[256];

    (void)state;
    file_write("users", "alice\n");
    snprintf(text, sizeof text, "all: :include:%s/list\n", folder);
    file_write("aliases", text);
    assert_string_equal(verdict("all@a.test"), "later");
    file_write("list", "x@b.test\n");
    assert_string_equal(verdict("all@a.test"), "leaves");
    file_write("list", "x y\n"); /* broken: the old one stays */
    assert_string_equal(verdict("all@a.test"), "leaves");
    file_write("aliases", "all: alice\n");
    assert_string_equal(verdict("all@a.test"), "leaves");
    size_t pages = 0;
    for (const struct book_page *p = book.pages; p != NULL; p = p->next)
        pages++;
    assert_int_equal(pages, 2); /* nobody wants the list any more */
}

static void delivered_to_is_found_in_the_header_alone(void **state)
{
    static const char text[] = "Return-Path: <>\r\ndelivered-to:  All@a.test \r\nX: Delivered-To: no@a.test\r\n\r\n"
                               "Delivered-To: body@a.test\r\n";
    (void)state;
    assert_true(lookup_was_delivered_to(bytes_of(text), BYTES("all@a.test")));
    assert_false(lookup_was_delivered_to(bytes_of(text), BYTES("no@a.test")));
    assert_false(lookup_was_delivered_to(bytes_of(text), BYTES("body@a.test")));
    assert_false(lookup_was_delivered_to(BYTES("Delivered-To: all@a.test.example"), BYTES("all@a.test")));
    assert_true(lookup_was_delivered_to(BYTES("Delivered-To: all@a.test"), BYTES("all@a.test")));
    assert_false(lookup_was_delivered_to(BYTES(""), BYTES("all@a.test")));
}

/* --- a job, over a channel --- */

static char said[2048];

static void on_said(void *ctx, const struct msg *m)
{
    size_t used = strlen(said);

    (void)ctx;
    if (m->kind == MSG_job_child)
        snprintf(said + used, sizeof said - used, "%u:%.*s%s%.*s ", m->job_child.n, BYTES_ARG(m->job_child.text),
            m->job_child.owner.size > 0 ? " from " : "", BYTES_ARG(m->job_child.owner));
    else if (m->kind == MSG_job_result)
        snprintf(said + used, sizeof said - used, "%u=%d %.*s; ", m->job_result.n, (int)m->job_result.outcome,
            BYTES_ARG(m->job_result.status));
    else if (m->kind == MSG_job_end)
        snprintf(said + used, sizeof said - used, "end");
}
static void on_gone(void *ctx, enum channel_end why)
{
    (void)ctx;
    (void)why;
}
static const struct channel_handlers HANDLERS = {.on_message = on_said, .on_closed = on_gone};

static void job_play(
    struct lookup_desk *desk, struct loop *loop, const char *from, const char *content, const char *const *paths)
{
    struct job_id id = {7};

    said[0] = 0;
    lookup_job_begin(
        desk, &(struct msg_job_begin){
                  .job = id, .lane = BYTES("expand"), .head = {.id = {1}, .reverse_path = bytes_of(from)}});
    for (uint32_t n = 0; paths[n] != NULL; n++)
        lookup_job_rcpt(desk, &(struct msg_job_rcpt){.job = id, .rcpt = {.n = n, .forward_path = bytes_of(paths[n])}});
    lookup_job_body(desk, &(struct msg_job_body){.job = id, .body = bytes_of(content)});
    lookup_job_run(desk, id);
    for (int i = 0; i < 100 && strstr(said, "end") == NULL; i++)
        loop_turn(loop, false);
    assert_int_equal(desk->job_count, 0);
}

static void a_job_is_answered(void **state)
{
    static const char *const both[] = {"all@a.test", "nosuch@a.test", "all@xn--nxasmq6b.test", NULL};
    static const char *const one[] = {"all@a.test", NULL};
    struct loop *loop = loop_new();
    struct lookup_desk desk = {.book = &book, .cfg = cfg};
    struct channel *queued;
    int fd[2];

    (void)state;
    file_write("users", "alice\n");
    file_write("aliases", "all: alice, x@b.test\nowner-all: alice\n");
    files_refresh(&book);
    assert_true(is_ok(channel_pair(fd)));
    queued = channel_new(loop, fd[0], ROLE_QUEUED, ROLE_LOOKUP, &HANDLERS, NULL);
    desk.queued = channel_new(loop, fd[1], ROLE_LOOKUP, ROLE_QUEUED, &HANDLERS, NULL);
    job_play(&desk, loop, "s@c.test", "Subject: x\r\n\r\n", both);
    assert_string_equal(said, "0:alice@a.test from owner-all@a.test 0:x@b.test from owner-all@a.test 0=4 2.0.0; "
                              "1=2 5.1.1; 2:all@xn--nxasmq6b.test 2=4 2.0.0; end");
    job_play(&desk, loop, "", "Subject: x\r\n\r\n", one); /* a bounce stays one */
    assert_string_equal(said, "0:alice@a.test 0:x@b.test 0=4 2.0.0; end");
    job_play(&desk, loop, "s@c.test", "Delivered-To: all@a.test\r\n\r\n", one);
    assert_string_equal(said, "0=2 5.4.6; end");
    channel_free(&queued);
    channel_free(&desk.queued);
    loop_free(&loop);
}

int main(void)
{
#define CASE(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)
    const struct CMUnitTest tests[] = {
        CASE(changes_are_seen_and_errors_are_not),
        CASE(lists_come_and_go),
        CASE(delivered_to_is_found_in_the_header_alone),
        CASE(a_job_is_answered),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
