/* state_dir/drop: a folder in which everybody may write and nobody may look (mode 1733). A message that the daemon cannot take
 * now is put there and synced, and mansiod hands it in later, as the user whom the file belongs to. No set-id bit is needed.
 *
 * A file: "mansio-drop 1 ENVELOPE-SIZE MESSAGE-SIZE\n", the envelope, one letter and a value a line, the message.
 * (D1) The writer holds a lock on the file; a file whose size is not what its first line says is not whole. So no rename is
 *      needed, which could not be made durable in a folder that the writer may not open.
 * (D2) Who hands a message in is who owns the file, checked on the open descriptor: never a link, never a second name. */
#include <dirent.h>
#include <fcntl.h>
#include <grp.h>
#include <signal.h>
#include <stdio.h>
#include <sys/file.h>
#include <sys/mman.h>
#include <sys/random.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "tools/sendmail.h"

enum {
    FILES_PER_USER = 1000, /* of one user in one round: nobody waits behind another's thousands */
    USERS_MAX = 256,       /* whom a round counts; the others wait for the next */
    HANDS_MAX = 16,
    ABANDONED_S = 3600, /* a file that is not whole and that nobody writes */
    FIRST_LINE_SIZE_MAX = 64,
    ENVELOPE_SIZE_MAX = 64 * 1024 * 1024,
    NOTICE_HEADER_SIZE_MAX = 16384,
};

static const char magic[] = "mansio-drop 1 ";

static RESULT folder_open(const struct config *cfg, int flags, int *fd_out)
{
    char path[PATH_MAX];
    int size = snprintf(path, sizeof path, "%.*s/drop", BYTES_ARG(cfg->state_dir));

    if (size < 0 || (size_t)size >= sizeof path)
        return FAIL_SYS(ENAMETOOLONG, "the drop folder");
    *fd_out = open(path, flags | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
    return *fd_out >= 0 ? OK : FAIL_SYS(errno, "the drop folder");
}

/* --- writing --- */

static RESULT line_put(struct sendmail_input *out, char letter, struct bytes value)
{
    TRY(sendmail_input_put(out, (struct bytes){(const uint8_t *)&letter, 1}));
    TRY(sendmail_input_put(out, value));
    return sendmail_input_put(out, BYTES("\n"));
}

static RESULT number_put(struct sendmail_input *out, char letter, unsigned value)
{
    char text[16];

    (void)snprintf(text, sizeof text, "%u", value);
    return value == 0 ? OK : line_put(out, letter, bytes_of(text));
}

static RESULT envelope_put(const struct sendmail *s, struct sendmail_input *out)
{
    TRY(line_put(out, 'F', s->envelope.reverse_path));
    for (size_t i = 0; i < s->envelope.recipient_count; i++)
        if (s->envelope.recipients[i].state != SENDMAIL_RCPT_DONE)
            TRY(line_put(out, 'R', s->envelope.recipients[i].forward_path));
    TRY(number_put(out, 'N', s->options.notify));
    TRY(number_put(out, 'T', s->options.ret));
    TRY(number_put(out, 'B', s->options.body_given ? s->options.body : 0));
    if (verp_is_on(s->options.verp))
        TRY(line_put(out, 'X', (struct bytes){(const uint8_t[]){s->options.verp.before, s->options.verp.at}, 2}));
    return s->options.envid == NULL ? OK : line_put(out, 'V', bytes_of(s->options.envid));
}

static RESULT file_write(int fd, struct bytes octets)
{
    while (octets.size > 0) {
        ssize_t n = write(fd, octets.data, octets.size);

        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0)
            return FAIL_SYS(errno, "cannot write to the drop folder");
        octets = bytes_after(octets, (size_t)n);
    }
    return OK;
}

static RESULT file_fill(const struct sendmail *s, int fd, const struct stat *folder)
{
    struct sendmail_input envelope = {.data = NULL};
    char first[FIRST_LINE_SIZE_MAX];
    struct result r = envelope_put(s, &envelope);

    (void)snprintf(first, sizeof first, "%s%zu %zu\n", magic, envelope.size, s->message.size);
    if (is_ok(r) && flock(fd, LOCK_EX) != 0)
        r = FAIL_SYS(errno, "cannot lock a file in the drop folder");
    /* Root's mail for a server of an ordinary user: that user could not read root's file. */
    if (is_ok(r) && geteuid() == 0 && folder->st_uid != 0 && fchown(fd, folder->st_uid, folder->st_gid) != 0)
        r = FAIL_SYS(errno, "cannot give a file to the folder's owner");
    if (is_ok(r))
        r = file_write(fd, bytes_of(first));
    if (is_ok(r))
        r = file_write(fd, sendmail_input_bytes(&envelope));
    if (is_ok(r))
        r = file_write(fd, sendmail_input_bytes(&s->message));
    if (is_ok(r) && fsync(fd) != 0)
        r = FAIL_SYS(errno, "cannot sync the drop folder");
    sendmail_input_free(&envelope);
    return r;
}

/* Whether mansiod will be able to take a file of ours from there, and whether there is room. */
static RESULT folder_check(const struct sendmail *s, int folder_fd, struct stat *folder_out)
{
    struct statvfs room;

    if (fstat(folder_fd, folder_out) != 0 || fstatvfs(folder_fd, &room) != 0)
        return FAIL_SYS(errno, "the drop folder");
    if (geteuid() != 0 && folder_out->st_uid != 0 && folder_out->st_uid != geteuid())
        return FAIL(CODE_REFUSED, "the mail system runs as another user, who could not read a dropped message");
    if ((uint64_t)room.f_bavail * room.f_frsize < s->cfg->limits.min_free + s->message.size)
        return FAIL(CODE_FULL, "no room on the disk");
    return OK;
}

static RESULT file_new(int folder_fd, char name[64], int *fd_out)
{
    struct timespec now;
    uint64_t number;

    clock_gettime(CLOCK_REALTIME, &now);
    if (getrandom(&number, sizeof number, 0) != (ssize_t)sizeof number)
        return FAIL_SYS(errno, "no random number");
    (void)snprintf(name, 64, "%010" PRId64 ".%09ld.%016" PRIx64, (int64_t)now.tv_sec, now.tv_nsec, number);
    *fd_out = openat(folder_fd, name, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0600);
    return *fd_out >= 0 ? OK : FAIL_SYS(errno, "cannot make a file in the drop folder");
}

/* The name as well, for those who may open the folder; for others the folder itself is made so (supervisor/places.c). */
static RESULT folder_sync(int folder_fd)
{
    int fd = openat(folder_fd, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    int sys;

    if (fd < 0)
        return OK;
    sys = fsync(fd) != 0 ? errno : 0;
    close(fd);
    return sys == 0 ? OK : FAIL_SYS(sys, "cannot sync the drop folder");
}

int sendmail_drop(struct sendmail *s)
{
    struct stat folder;
    char name[64];
    int folder_fd = -1, fd = -1;
    struct result r = folder_open(s->cfg, O_PATH, &folder_fd);

    if (is_ok(r))
        r = folder_check(s, folder_fd, &folder);
    if (is_ok(r))
        r = file_new(folder_fd, name, &fd);
    if (is_ok(r)) {
        r = file_fill(s, fd, &folder);
        if (is_ok(r))
            r = folder_sync(folder_fd);
        if (!is_ok(r))
            unlinkat(folder_fd, name, 0);
    }
    if (fd >= 0)
        close(fd);
    if (folder_fd >= 0)
        close(folder_fd);
    if (is_ok(r))
        return EX_OK;
    sendmail_say("the mail system is not taking mail at present, and the message could not be kept for it: %s%s%s",
        r.why, r.sys > 0 ? ": " : "", r.sys > 0 ? strerror(r.sys) : "");
    return EX_TEMPFAIL;
}

/* --- reading --- */

static RESULT number_take(struct bytes *rest, uint8_t end, uint64_t max, uint64_t *value_out)
{
    ptrdiff_t at = bytes_index(bytes_head(*rest, FIRST_LINE_SIZE_MAX), end);

    if (at < 0)
        return FAIL(CODE_MORE, "the first line is not whole");
    TRY(bytes_to_u64(bytes_head(*rest, (size_t)at), max, value_out));
    *rest = bytes_after(*rest, (size_t)at + 1);
    return OK;
}

static RESULT envelope_line(struct sendmail *s, uint8_t letter, struct bytes value)
{
    uint64_t number = 0;
    struct bytes envid;

    switch (letter) {
    case 'F':
        return arena_copy(&s->arena, value, &s->envelope.reverse_path);
    case 'R':
        if (s->envelope.recipient_count >= RCPT_COUNT_MAX)
            return FAIL(CODE_FULL, "too many recipients");
        return sendmail_recipient_add(s, value);
    case 'N':
        TRY(bytes_to_u64(value, DSN_NOTIFY_ALL, &number));
        s->options.notify = (uint8_t)number;
        return OK;
    case 'T':
        TRY(bytes_to_u64(value, DSN_RET_COUNT - 1, &number));
        s->options.ret = (enum dsn_ret)number;
        return OK;
    case 'B':
        TRY(bytes_to_u64(value, BODY_8BITMIME, &number));
        s->options.body = (enum body_type)number;
        s->options.body_given = true;
        return OK;
    case 'V':
        if (value.size > ENVID_SIZE_MAX)
            return FAIL(CODE_FULL, "the ENVID is too long");
        TRY(arena_take(&s->arena, value.size + 1, (void **)(uintptr_t)&envid.data));
        memcpy((uint8_t *)(uintptr_t)envid.data, value.data, value.size);
        s->options.envid = (const char *)envid.data;
        return OK;
    case 'X':
        return verp_delimiters_read(value, &s->options.verp);
    default:
        return FAIL(CODE_SYNTAX, "a line of the envelope is not known");
    }
}

RESULT sendmail_drop_read(struct sendmail *s, struct bytes file)
{
    struct bytes rest = file, envelope, message;
    uint64_t envelope_size, message_size;

    if (!bytes_starts(rest, bytes_head(bytes_of(magic), rest.size)))
        return FAIL(CODE_SYNTAX, "not a dropped message");
    if (rest.size < sizeof magic - 1)
        return FAIL(CODE_MORE, "the first line is not whole");
    rest = bytes_after(rest, sizeof magic - 1);
    TRY(number_take(&rest, ' ', ENVELOPE_SIZE_MAX, &envelope_size));
    TRY(number_take(&rest, '\n', s->cfg->limits.message_size + COMMAND_SIZE_MAX, &message_size));
    if (rest.size < envelope_size + message_size)
        return FAIL(CODE_MORE, "the file is not whole");
    if (rest.size > envelope_size + message_size)
        return FAIL(CODE_SYNTAX, "the file is longer than it says");
    envelope = bytes_head(rest, (size_t)envelope_size);
    message = bytes_after(rest, (size_t)envelope_size);
    while (envelope.size > 0) {
        ptrdiff_t end = bytes_index(envelope, '\n');

        if (end < 1)
            return FAIL(CODE_SYNTAX, "a line of the envelope is not whole");
        for (ptrdiff_t i = 0; i < end; i++)
            if (envelope.data[i] < 0x20 || envelope.data[i] == 0x7f) /* it becomes part of a command */
                return FAIL(CODE_SYNTAX, "a control character in the envelope");
        TRY(envelope_line(s, envelope.data[0], bytes_after(bytes_head(envelope, (size_t)end), 1)));
        envelope = bytes_after(envelope, (size_t)end + 1);
    }
    if (s->envelope.recipient_count == 0)
        return FAIL(CODE_SYNTAX, "no recipient");
    s->message.has_8bit = bytes_has_8bit(message);
    return sendmail_input_put(&s->message, message);
}

/* --- picking up --- */

enum fate { FATE_GONE, FATE_LATER, FATE_UNFINISHED, FATE_BAD };

/* The sender was told 0 when the message was dropped, so a refusal of the whole must reach the sender by mail. (Refused
 * recipients are told by the daemon.) */
static void refusal_report(struct sendmail *s)
{
    static const char text[] = "Subject: Mail could not be sent\r\n"
                               "Auto-Submitted: auto-replied\r\n"
                               "\r\n"
                               "A message that you handed in while the mail system was not running was refused\r\n"
                               "when it was started again. The recipients that were refused:\r\n\r\n";
    struct sendmail notice = {.cfg = s->cfg, .user = s->user};
    struct bytes message = sendmail_input_bytes(&s->message), header;
    ptrdiff_t end = bytes_find(message, BYTES("\r\n\r\n"));
    struct result r;

    if (s->envelope.reverse_path.size == 0)
        return;
    /* Not all of it: that may be what was too large. */
    header = bytes_head(message, end < 0 || end > NOTICE_HEADER_SIZE_MAX ? NOTICE_HEADER_SIZE_MAX : (size_t)end);
    arena_init(&notice.arena, s->arena.size_max);
    notice.options.sender = "<>";
    r = sendmail_input_put(&notice.input, BYTES("From: Mail System <MAILER-DAEMON>\r\nTo: <"));
    if (is_ok(r))
        r = sendmail_input_put(&notice.input, s->envelope.reverse_path);
    if (is_ok(r))
        r = sendmail_input_put(&notice.input, BYTES(">\r\n"));
    if (is_ok(r))
        r = sendmail_input_put(&notice.input, bytes_of(text));
    for (size_t i = 0; is_ok(r) && i < s->envelope.recipient_count; i++) {
        const struct sendmail_recipient *rcpt = &s->envelope.recipients[i];

        if (rcpt->state == SENDMAIL_RCPT_DONE)
            continue;
        r = sendmail_input_put(&notice.input, BYTES("  "));
        if (is_ok(r))
            r = sendmail_input_put(&notice.input, rcpt->forward_path);
        if (is_ok(r))
            r = sendmail_input_put(&notice.input, BYTES("\r\n"));
    }
    if (is_ok(r))
        r = sendmail_input_put(&notice.input, BYTES("\r\nIts header was:\r\n\r\n"));
    if (is_ok(r))
        r = sendmail_input_put(&notice.input, header);
    notice.input.has_8bit = bytes_has_8bit(header);
    if (is_ok(r))
        r = sendmail_recipient_add(&notice, s->envelope.reverse_path);
    if (!is_ok(r) || sendmail_message_make(&notice) != EX_OK || sendmail_submit(&notice, false) != EX_OK)
        sendmail_say("a refusal could not be reported to %.*s", BYTES_ARG(s->envelope.reverse_path));
}

/* In a process of its own, as the owner. */
static enum fate message_hand_in(struct sendmail *s, struct bytes file)
{
    struct result r = sendmail_drop_read(s, file);
    int status;

    if (!is_ok(r)) {
        if (r.code != CODE_MORE)
            sendmail_say("a file in the drop folder: %s", r.why);
        return r.code == CODE_MORE ? FATE_UNFINISHED : FATE_BAD;
    }
    status = sendmail_submit(s, true);
    if (status == EX_TEMPFAIL) {
        bool begun = false;

        for (size_t i = 0; i < s->envelope.recipient_count; i++)
            begun = begun || s->envelope.recipients[i].state == SENDMAIL_RCPT_DONE;
        /* Some have got it: the rest goes into a file of its own, and this one away. */
        return begun && sendmail_drop(s) == EX_OK ? FATE_GONE : FATE_LATER;
    }
    if (status != EX_OK)
        refusal_report(s);
    return FATE_GONE;
}

static RESULT owner_become(const struct stat *owner)
{
    if (geteuid() != 0)
        return owner->st_uid == geteuid() ? OK : FAIL(CODE_REFUSED, "the file belongs to another user");
    if (setgroups(0, NULL) != 0 || setresgid(owner->st_gid, owner->st_gid, owner->st_gid) != 0 ||
        setresuid(owner->st_uid, owner->st_uid, owner->st_uid) != 0)
        return FAIL_SYS(errno, "cannot become the file's owner");
    return OK;
}

/* A message that is being handed in. */
struct hand {
    pid_t pid; /* 0: free */
    int fd;    /* the lock lives with it */
    char name[NAME_MAX + 1];
    time_t written;
};

static bool hand_in_begin(struct sendmail *s, struct hand *hand, const struct stat *st)
{
    void *map = mmap(NULL, (size_t)st->st_size, PROT_READ, MAP_PRIVATE, hand->fd, 0);

    if (map == MAP_FAILED)
        return false;
    fflush(stderr);
    hand->pid = fork();
    if (hand->pid == 0) {
        struct result r = owner_become(st);

        if (!is_ok(r))
            sendmail_say("the drop folder: %s", r.why);
        _exit(is_ok(r) ? (int)message_hand_in(s, (struct bytes){map, (size_t)st->st_size}) : FATE_BAD);
    }
    munmap(map, (size_t)st->st_size);
    return hand->pid > 0;
}

/* How many files of each user this round has taken. */
struct round {
    struct {
        uid_t uid;
        unsigned count;
    } users[USERS_MAX];
    size_t user_count;
};

static bool round_admits(struct round *round, uid_t uid)
{
    size_t i = 0;

    while (i < round->user_count && round->users[i].uid != uid)
        i++;
    if (i == USERS_MAX)
        return false;
    if (i == round->user_count) {
        round->users[i].uid = uid;
        round->users[i].count = 0;
        round->user_count++;
    }
    return round->users[i].count++ < FILES_PER_USER;
}

/* A round: many at a time, because the daemon's commits carry many as cheaply as one. */
struct pick_up {
    struct sendmail *s;
    int folder_fd;
    struct round round;
    struct hand hands[HANDS_MAX];
    size_t busy_count;
    bool left; /* something stays for another round */
};

/* What is no message is put aside under a name that is not looked at again; a postmaster may look. */
static void file_put_aside(const struct pick_up *p, const char *name)
{
    char aside[NAME_MAX + 8];

    sendmail_say("drop/%.200s: not a message that can be handed in; put aside", name);
    (void)snprintf(aside, sizeof aside, ".bad-%s", name);
    if (renameat(p->folder_fd, name, p->folder_fd, aside) != 0)
        sendmail_say("drop/%.200s: cannot be put aside: %s", name, strerror(errno));
}

static void file_settle(struct pick_up *p, const char *name, enum fate fate, time_t written)
{
    if (fate == FATE_UNFINISHED)
        fate = time(NULL) - written > ABANDONED_S ? FATE_BAD : FATE_LATER;
    if (fate == FATE_GONE && unlinkat(p->folder_fd, name, 0) != 0 && errno != ENOENT)
        sendmail_say("drop/%.200s: cannot be removed: %s", name, strerror(errno));
    if (fate == FATE_BAD)
        file_put_aside(p, name);
    p->left = p->left || fate == FATE_LATER;
}

/* Waits for one of the hands to be free. */
static void hand_wait(struct pick_up *p)
{
    int status;
    pid_t pid = waitpid(-1, &status, 0);

    for (size_t i = 0; i < HANDS_MAX && pid > 0; i++) {
        struct hand *hand = &p->hands[i];
        bool told = WIFEXITED(status) && WEXITSTATUS(status) <= FATE_BAD;

        if (hand->pid != pid)
            continue;
        file_settle(p, hand->name, told ? (enum fate)WEXITSTATUS(status) : FATE_LATER, hand->written);
        close(hand->fd);
        hand->pid = 0;
        p->busy_count--;
    }
}

static struct hand *hand_free(struct pick_up *p)
{
    size_t i = 0;

    while (p->busy_count == HANDS_MAX)
        hand_wait(p);
    while (p->hands[i].pid != 0)
        i++;
    return &p->hands[i];
}

/* GONE: it is being handed in, or was gone already. */
static enum fate file_take(struct pick_up *p, const char *name, time_t *written_out)
{
    int fd = openat(p->folder_fd, name, O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_NOCTTY | O_CLOEXEC);
    enum fate fate = FATE_BAD;
    struct hand *hand;
    struct stat st;

    if (fd < 0)
        return errno == ENOENT ? FATE_GONE : FATE_BAD;
    if (fstat(fd, &st) != 0 || !S_ISREG(st.st_mode) || st.st_nlink != 1) { /* (D2) */
        close(fd);
        return FATE_BAD;
    }
    *written_out = st.st_mtime;
    fate = !round_admits(&p->round, st.st_uid) || flock(fd, LOCK_SH | LOCK_NB) != 0 ? FATE_LATER
           : st.st_size == 0                                                        ? FATE_UNFINISHED
                                                                                    : FATE_GONE;
    if (fate == FATE_GONE) {
        hand = hand_free(p);
        hand->fd = fd;
        hand->written = st.st_mtime;
        (void)snprintf(hand->name, sizeof hand->name, "%s", name);
        if (hand_in_begin(p->s, hand, &st)) {
            p->busy_count++;
            return FATE_GONE;
        }
        hand->pid = 0;
        fate = FATE_LATER;
    }
    close(fd);
    return fate;
}

static volatile sig_atomic_t stopped;

static void on_stop(int number)
{
    stopped = number;
}

int sendmail_pick_up(struct sendmail *s)
{
    static struct pick_up p;
    const struct sigaction stop = {.sa_handler = on_stop, .sa_flags = SA_RESTART};
    struct result r = folder_open(s->cfg, O_RDONLY, &p.folder_fd);
    DIR *folder = is_ok(r) ? fdopendir(p.folder_fd) : NULL;
    const struct dirent *entry;

    if (folder == NULL) {
        sendmail_say("%s: %s", is_ok(r) ? "the drop folder" : r.why, strerror(is_ok(r) ? errno : r.sys));
        return EX_TEMPFAIL;
    }
    p.s = s;
    /* A message that was taken must lose its file, or it would be handed in again: stop between messages only. */
    sigaction(SIGTERM, &stop, NULL);
    while (stopped == 0 && (entry = readdir(folder)) != NULL) {
        time_t written = 0;
        enum fate fate;

        if (entry->d_name[0] == '.')
            continue;
        fate = file_take(&p, entry->d_name, &written);
        if (fate != FATE_GONE)
            file_settle(&p, entry->d_name, fate, written);
    }
    while (p.busy_count > 0)
        hand_wait(&p);
    closedir(folder);
    return !p.left && stopped == 0 ? EX_OK : EX_TEMPFAIL;
}
