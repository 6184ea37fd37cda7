/* queuectl user: the users file, edited as a whole: read, changed in memory, written beside it, renamed over it. Two editors
 * wait for each other (flock on the folder); a crash leaves the old file or the new one. */
#include <fcntl.h>
#include <libgen.h>
#include <limits.h>
#include <pwd.h>
#include <stdio.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <termios.h>
#include <unistd.h>

#include "daemon/auth/account.h"
#include "daemon/auth/password.h"
#include "daemon/base/json_put.h"
#include "smtp/saslprep.h"
#include "smtp/scram.h"
#include "tools/queuectl.h"

struct users_file {
    const char *path;
    int folder; /* locked; -1: not */
    bool exists;
    struct stat st;
    uint8_t *octets;
    size_t size;
};

static enum tool_exit failed(const struct tool *t, const char *what, const char *why)
{
    fprintf(stderr, "%s: %s: %s\n", t->program, what, why);
    return errno == EACCES || errno == EPERM ? TOOL_NO_RIGHT : TOOL_FAILED;
}

static enum tool_exit file_read(const struct tool *t, struct users_file *f)
{
    int fd = open(f->path, O_RDONLY | O_CLOEXEC | O_NOCTTY);
    size_t done = 0;

    if (fd < 0)
        return errno == ENOENT ? TOOL_OK : failed(t, f->path, strerror(errno));
    f->exists = true;
    if (fstat(fd, &f->st) != 0 || !S_ISREG(f->st.st_mode) || f->st.st_size > ACCOUNTS_SIZE_MAX) {
        close(fd);
        errno = 0;
        return failed(t, f->path, "not a users file");
    }
    f->size = (size_t)f->st.st_size;
    f->octets = mem_take(f->size + 1);
    while (f->octets != NULL && done < f->size) {
        ssize_t n = read(fd, f->octets + done, f->size - done);
        if (n <= 0)
            break;
        done += (size_t)n;
    }
    close(fd);
    return f->octets != NULL && done == f->size ? TOOL_OK : failed(t, f->path, "cannot be read");
}

static enum tool_exit file_open(const struct tool *t, struct users_file *f, bool changes)
{
    char folder[PATH_MAX];

    *f = (struct users_file){.path = (const char *)t->cfg->auth.users.data, .folder = -1};
    if (changes) {
        if (snprintf(folder, sizeof folder, "%s", f->path) >= (int)sizeof folder)
            return failed(t, f->path, "the path is too long");
        f->folder = open(dirname(folder), O_RDONLY | O_DIRECTORY | O_CLOEXEC);
        if (f->folder < 0 || flock(f->folder, LOCK_EX) != 0)
            return failed(t, f->path, strerror(errno));
    }
    return file_read(t, f);
}

static void file_close(struct users_file *f)
{
    if (f->octets != NULL)
        explicit_bzero(f->octets, f->size);
    mem_free(f->octets);
    if (f->folder >= 0)
        close(f->folder);
}

/* Who shall read it: whoever could before; for a new one of root's, the auth process. */
static bool owner_settle(const struct tool *t, const struct users_file *f, int fd)
{
    char name[128];
    const struct passwd *pw;

    if (f->exists)
        return fchown(fd, f->st.st_uid, f->st.st_gid) == 0 || geteuid() != 0;
    if (geteuid() != 0)
        return true;
    snprintf(name, sizeof name, "%.100s-auth", (const char *)t->cfg->user.data);
    pw = getpwnam(name);
    if (pw == NULL)
        pw = getpwnam((const char *)t->cfg->user.data);
    return pw == NULL || fchown(fd, 0, pw->pw_gid) == 0;
}

static enum tool_exit file_replace(const struct tool *t, const struct users_file *f, struct bytes text)
{
    char fresh[PATH_MAX];
    bool good = snprintf(fresh, sizeof fresh, "%s.new", f->path) < (int)sizeof fresh;

    if (good)
        (void)unlink(fresh); /* of an editor that was killed; the lock is ours */
    int fd = good ? open(fresh, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC | O_NOFOLLOW, 0600) : -1;
    good = fd >= 0 && owner_settle(t, f, fd) && fchmod(fd, 0640) == 0;
    while (good && text.size > 0) {
        ssize_t n = write(fd, text.data, text.size);
        good = n > 0;
        text = bytes_after(text, good ? (size_t)n : 0);
    }
    good = good && fsync(fd) == 0;
    good = (fd < 0 || close(fd) == 0) && good;
    good = good && rename(fresh, f->path) == 0 && fsync(f->folder) == 0;
    return good ? TOOL_OK : failed(t, f->path, strerror(errno));
}

/* --- the password --- */

static bool line_read(const char *prompt, char *out, size_t room)
{
    struct termios before, silent;
    bool terminal = isatty(STDIN_FILENO) && tcgetattr(STDIN_FILENO, &before) == 0;

    if (terminal) {
        fputs(prompt, stderr);
        silent = before;
        silent.c_lflag &= ~(tcflag_t)ECHO;
        tcsetattr(STDIN_FILENO, TCSAFLUSH, &silent);
    }
    bool got = fgets(out, (int)room, stdin) != NULL;
    if (terminal) {
        tcsetattr(STDIN_FILENO, TCSAFLUSH, &before);
        fputc('\n', stderr);
    }
    size_t size = got ? strlen(out) : 0;
    bool whole = size > 0 && out[size - 1] == '\n';
    if (whole)
        out[--size] = 0;
    return got && (whole || feof(stdin)) && size > 0;
}

static bool password_ask(const struct tool *t, char out[PASSWORD_SIZE_MAX])
{
    char again[PASSWORD_SIZE_MAX];

    if (!line_read("Password: ", out, PASSWORD_SIZE_MAX)) {
        fprintf(stderr, "%s: expected a password of 1 to %d octets on the first line of the input\n", t->program,
            PASSWORD_SIZE_MAX - 2);
        return false;
    }
    for (const char *c = out; *c != 0; c++)
        if ((unsigned char)*c < 0x20 || *c == 0x7f) {
            fprintf(stderr, "%s: control characters cannot be part of a password\n", t->program);
            return false;
        }
    if (!isatty(STDIN_FILENO))
        return true;
    bool same = line_read("Once more: ", again, sizeof again) && strcmp(out, again) == 0;
    explicit_bzero(again, sizeof again);
    if (!same)
        fprintf(stderr, "%s: the two passwords differ\n", t->program);
    return same;
}

static RESULT line_put(struct bytes name, struct bytes password, struct buf *line)
{
    uint8_t hash_room[ACCOUNT_HASH_SIZE_MAX], keys_room[SCRAM_KEYS_TEXT_SIZE_MAX], salt[SCRAM_SALT_SIZE];
    struct buf hash = BUF(hash_room), text = BUF(keys_room);
    struct scram_keys keys;

    digest_random(salt, sizeof salt);
    scram_keys_make(password, (struct bytes){salt, sizeof salt}, SCRAM_ITERATIONS, &keys);
    TRY(scram_keys_put(&text, &keys));
    explicit_bzero(&keys, sizeof keys);
    TRY(password_hash(password, &hash));
    return account_put(line, &(struct account){.name = name, .hash = buf_bytes(&hash), .scram = buf_bytes(&text)});
}

/* `name` is prepared already. */
static RESULT line_make(struct bytes name, struct bytes typed, struct buf *line)
{
    uint8_t password_room[PASSWORD_SIZE_MAX];
    struct buf prepared = BUF(password_room);
    struct result r = saslprep(typed, SASLPREP_STORED, &prepared);

    if (is_ok(r))
        r = line_put(name, buf_bytes(&prepared), line);
    explicit_bzero(password_room, sizeof password_room);
    return r;
}

/* --- the verbs --- */

static enum tool_exit user_change(const struct tool *t, const char *verb, struct bytes typed)
{
    uint8_t name_room[ACCOUNT_NAME_SIZE_MAX];
    struct buf prepared = BUF(name_room);
    /* One that cannot be prepared can still be deleted: it may have come into the file by another way. */
    struct bytes name = is_ok(saslprep(typed, SASLPREP_STORED, &prepared)) ? buf_bytes(&prepared)
                        : strcmp(verb, "delete") == 0                      ? typed
                                                                           : BYTES_NONE;
    bool adds = strcmp(verb, "add") == 0, deletes = strcmp(verb, "delete") == 0, found = false;
    uint8_t line_room[ACCOUNT_LINE_SIZE_MAX];
    struct buf line = BUF(line_room), text;
    char password[PASSWORD_SIZE_MAX];
    struct account account;
    struct users_file f;

    if (!account_name_is_valid(name)) {
        fprintf(stderr,
            "%s: a user's name has 1 to %d octets, no colon, no control characters, no # or blank first, "
            "and nothing else that SASLprep prohibits\n",
            t->program, ACCOUNT_NAME_SIZE_MAX);
        return TOOL_USAGE;
    }
    enum tool_exit exit = file_open(t, &f, true);
    struct bytes old = {f.octets, f.size};
    found = exit == TOOL_OK && is_ok(account_find(old, name, &account));
    if (exit == TOOL_OK && found == adds) {
        fprintf(stderr, "%s: %s %.*s\n", t->program, adds ? "there is already a user" : "there is no user",
            BYTES_ARG(name));
        exit = TOOL_FAILED;
    }
    if (exit == TOOL_OK && !deletes) {
        if (!password_ask(t, password)) {
            exit = TOOL_FAILED;
        } else {
            struct result r = line_make(name, bytes_of(password), &line);
            if (!is_ok(r))
                exit = failed(t, "the password", r.why);
        }
        explicit_bzero(password, sizeof password);
    }
    if (exit == TOOL_OK) {
        size_t room = f.size + ACCOUNT_LINE_SIZE_MAX + 1;
        uint8_t *octets = mem_take(room);
        buf_init(&text, octets, octets == NULL ? 0 : room);
        struct result r = accounts_edit(old, name, buf_bytes(&line), &text, &found);
        exit = is_ok(r) ? file_replace(t, &f, buf_bytes(&text)) : failed(t, f.path, r.why);
        mem_free(octets);
    }
    explicit_bzero(line_room, sizeof line_room);
    file_close(&f);
    return exit;
}

static enum tool_exit user_list(const struct tool *t)
{
    uint8_t room[ACCOUNT_NAME_SIZE_MAX * 6 + 16];
    struct users_file f;
    struct account account;
    enum tool_exit exit = file_open(t, &f, false);
    struct bytes text = {f.octets, f.size}, line;

    if (exit == TOOL_OK && !f.exists)
        exit = failed(t, f.path, "there is no such file");
    while (exit == TOOL_OK && account_line(&text, &line)) {
        struct buf name = BUF(room);
        if (!is_ok(account_parse(line, &account)) || !is_ok(json_put_text(&name, account.name)))
            continue;
        if (t->json)
            printf("{\"v\":1,\"user\":%.*s,\"scram\":%s}\n", BYTES_ARG(buf_bytes(&name)),
                account.scram.size > 0 ? "true" : "false");
        else
            printf("%.*s\n", BYTES_ARG(bytes_head(bytes_after(buf_bytes(&name), 1), name.size - 2)));
    }
    file_close(&f);
    return tool_finish(t, exit);
}

enum tool_exit tool_user(const struct tool *t, char *const *args, size_t count)
{
    static const char *const changes[] = {"add", "passwd", "delete"};

    if (count == 1 && strcmp(args[0], "list") == 0)
        return user_list(t);
    for (size_t i = 0; count == 2 && i < COUNT_OF(changes); i++)
        if (strcmp(args[0], changes[i]) == 0)
            return user_change(t, changes[i], bytes_of(args[1]));
    fprintf(stderr, "%s: expected user add NAME, user passwd NAME, user delete NAME or user list\n", t->program);
    return TOOL_USAGE;
}
