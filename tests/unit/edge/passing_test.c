/* passing: packets between supervisor and child, each whole, with its descriptor or without. */
#include "daemon/edge/passing.h"

#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

struct pair {
    int fds[2]; /* supervisor, child */
    struct passing_room room;
    struct msg m;
    int fd;
};

static int setup(void **state)
{
    struct pair *p = calloc(1, sizeof *p);

    assert_true(is_ok(passing_pair(p->fds)));
    p->fd = -1;
    *state = p;
    return 0;
}

static int teardown(void **state)
{
    struct pair *p = *state;

    for (int i = 0; i < 2; i++)
        if (p->fds[i] >= 0)
            close(p->fds[i]);
    if (p->fd >= 0)
        close(p->fd);
    free(p);
    return 0;
}

static enum code child_receive(struct pair *p)
{
    if (p->fd >= 0)
        close(p->fd);
    return passing_receive(p->fds[1], ROLE_SUPERVISOR, ROLE_INBOUND, &p->room, &p->m, &p->fd).code;
}

static int fds_open(void)
{
    int count = 0;

    for (int fd = 0; fd < 256; fd++)
        count += fcntl(fd, F_GETFD) >= 0;
    return count;
}

/* A child that ends without having read all: what it said last is heard all the same. */
static void test_last_words(void **state)
{
    struct pair *p = *state;
    struct msg failed = {.kind = MSG_child_failed, .child_failed = {.why = BYTES("the key is bad")}};
    struct msg go = {.kind = MSG_sup_go};

    assert_true(is_ok(passing_send(p->fds[0], &go, -1)));
    assert_true(is_ok(passing_send(p->fds[1], &failed, -1)));
    close(p->fds[1]);
    p->fds[1] = -1;
    assert_true(is_ok(passing_receive(p->fds[0], ROLE_INBOUND, ROLE_SUPERVISOR, &p->room, &p->m, &p->fd)));
    assert_true(bytes_equal(p->m.child_failed.why, BYTES("the key is bad")));
    assert_int_equal(
        passing_receive(p->fds[0], ROLE_INBOUND, ROLE_SUPERVISOR, &p->room, &p->m, &p->fd).code, CODE_GONE);
}

static void test_packets_in_order(void **state)
{
    struct pair *p = *state;
    struct msg config = {
        .kind = MSG_sup_config, .sup_config = {.generation = 3, .index = 2, .path = BYTES("/etc/mansio/mansio.conf")}};
    struct msg go = {.kind = MSG_sup_go};

    assert_int_equal(child_receive(p), CODE_MORE);
    assert_true(is_ok(passing_send(p->fds[0], &config, -1)));
    assert_true(is_ok(passing_send(p->fds[0], &go, -1)));
    assert_int_equal(child_receive(p), CODE_OK);
    assert_int_equal(p->m.kind, MSG_sup_config);
    assert_int_equal(p->m.sup_config.generation, 3);
    assert_true(bytes_equal(p->m.sup_config.path, BYTES("/etc/mansio/mansio.conf")));
    assert_int_equal(p->fd, -1);
    assert_int_equal(child_receive(p), CODE_OK);
    assert_int_equal(p->m.kind, MSG_sup_go);
    assert_int_equal(child_receive(p), CODE_MORE);
}

static void test_descriptor(void **state)
{
    struct pair *p = *state;
    struct msg listener = {.kind = MSG_sup_listener, .sup_listener = {.listen_index = 1, .address_index = 2}};
    struct stat sent, got;
    int null = open("/dev/null", O_RDWR | O_CLOEXEC);

    assert_true(is_ok(passing_send(p->fds[0], &listener, null)));
    assert_int_equal(fstat(null, &sent), 0); /* ours stays open */
    close(null);
    assert_int_equal(child_receive(p), CODE_OK);
    assert_int_equal(p->m.sup_listener.address_index, 2);
    assert_int_equal(fstat(p->fd, &got), 0);
    assert_int_equal(got.st_rdev, sent.st_rdev);
    assert_true((fcntl(p->fd, F_GETFD) & FD_CLOEXEC) != 0);
}

/* What does not decode, or is not the sender's to say, keeps no descriptor open. */
static void test_refused_packets_leak_nothing(void **state)
{
    struct pair *p = *state;
    struct msg go = {.kind = MSG_sup_go};
    int null = open("/dev/null", O_RDWR | O_CLOEXEC), before = fds_open();

    assert_true(is_ok(passing_send(p->fds[1], &go, null))); /* a child plays the supervisor */
    struct result r = passing_receive(p->fds[0], ROLE_INBOUND, ROLE_SUPERVISOR, &p->room, &p->m, &p->fd);
    assert_int_equal(r.code, CODE_REFUSED);
    assert_int_equal(p->fd, -1);
    assert_int_equal(fds_open(), before);

    static const uint8_t nonsense[3000] = {0, 0, 0, 0, 0xff, 0xff};
    assert_int_equal(send(p->fds[0], nonsense, 6, 0), 6);
    assert_int_equal(child_receive(p), CODE_CORRUPT);
    assert_int_equal(send(p->fds[0], nonsense, sizeof nonsense, 0), sizeof nonsense);
    assert_int_equal(child_receive(p), CODE_CORRUPT);
    close(null);
}

/* Two descriptors in one packet: not from our code; both are closed. */
static void test_surplus_descriptors(void **state)
{
    struct pair *p = *state;
    uint8_t room[64];
    struct buf out = BUF(room);
    int before = fds_open();
    union {
        struct cmsghdr align;
        uint8_t room[CMSG_SPACE(2 * sizeof(int))];
    } control = {0};

    assert_true(is_ok(msg_encode(&out, &(struct msg){.kind = MSG_sup_go})));
    struct iovec part = {out.data, out.size};
    struct msghdr head = {.msg_iov = &part, .msg_iovlen = 1, .msg_control = &control, .msg_controllen = sizeof control};
    struct cmsghdr *c = CMSG_FIRSTHDR(&head);
    c->cmsg_level = SOL_SOCKET;
    c->cmsg_type = SCM_RIGHTS;
    c->cmsg_len = CMSG_LEN(2 * sizeof(int));
    memcpy(CMSG_DATA(c), (int[]){STDIN_FILENO, STDERR_FILENO}, 2 * sizeof(int));
    assert_true(sendmsg(p->fds[0], &head, 0) > 0);
    assert_int_equal(child_receive(p), CODE_CORRUPT);
    assert_int_equal(p->fd, -1);
    assert_int_equal(fds_open(), before);
}

static void test_other_end_gone(void **state)
{
    struct pair *p = *state;
    struct msg go = {.kind = MSG_sup_go};

    assert_true(is_ok(passing_send(p->fds[0], &go, -1)));
    close(p->fds[0]);
    p->fds[0] = -1;
    assert_int_equal(child_receive(p), CODE_OK); /* its last words first */
    assert_int_equal(child_receive(p), CODE_GONE);
    assert_int_equal(passing_send(p->fds[1], &(struct msg){.kind = MSG_child_ready}, -1).code, CODE_GONE);
}

static void test_stuck_receiver(void **state)
{
    struct pair *p = *state;
    struct msg go = {.kind = MSG_sup_go};
    struct result r = OK;
    int count = 0;

    while (count < 1000000 && is_ok(r = passing_send(p->fds[0], &go, -1)))
        count++;
    assert_int_equal(r.code, CODE_FULL);
    assert_true(count >= 100); /* a start-up with many listeners fits */
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_last_words, setup, teardown),
        cmocka_unit_test_setup_teardown(test_packets_in_order, setup, teardown),
        cmocka_unit_test_setup_teardown(test_descriptor, setup, teardown),
        cmocka_unit_test_setup_teardown(test_refused_packets_leak_nothing, setup, teardown),
        cmocka_unit_test_setup_teardown(test_surplus_descriptors, setup, teardown),
        cmocka_unit_test_setup_teardown(test_other_end_gone, setup, teardown),
        cmocka_unit_test_setup_teardown(test_stuck_receiver, setup, teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
