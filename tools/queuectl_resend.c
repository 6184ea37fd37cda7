/* resend: a queued message once more, to somebody who was forgotten: a Resent block on top, and sendmail -t, which sends to the
 * newest Resent block alone. */
#include <stdio.h>
#include <sys/wait.h>
#include <unistd.h>

#include "smtp/base64.h"
#include "tools/ask.h"

struct content {
    FILE *file;
    bool damaged;
};

static void content_line(const struct tool *t, void *context, const json_t *line, uint64_t index)
{
    struct content *content = context;
    const json_t *data = json_object_get(line, "data");
    uint8_t room[8192];
    struct buf piece = BUF(room);
    struct bytes text = {(const uint8_t *)json_string_value(data), json_string_length(data)};

    (void)t;
    (void)index;
    if (!is_ok(base64_decode(text, &piece)) || fwrite(room, 1, piece.size, content->file) != piece.size)
        content->damaged = true;
}

static bool address_is_plain(const char *address)
{
    for (; *address != 0; address++)
        if ((unsigned char)*address < 0x20 || *address == 0x7f)
            return false;
    return true;
}

static void block_put(FILE *file, const char *name, char *const *addresses, size_t count)
{
    for (size_t i = 0; i < count; i++)
        fprintf(file, "%s: %s\r\n", name, addresses[i]);
}

/* sendmail stands beside us in a build tree, in sbin beside our bin where it is installed. */
__attribute__((noreturn)) static void sendmail_exec(FILE *message, const char *config_path)
{
    char self[PATH_MAX], path[PATH_MAX + 32];
    char *const argv[] = {(char *)"sendmail", (char *)"-C", (char *)config_path, (char *)"-t", (char *)"-i", NULL};
    ssize_t size = readlink("/proc/self/exe", self, sizeof self - 1);
    char *slash;

    self[size < 0 ? 0 : size] = 0;
    slash = strrchr(self, '/');
    if (slash != NULL && dup2(fileno(message), STDIN_FILENO) >= 0 && lseek(STDIN_FILENO, 0, SEEK_SET) == 0) {
        (void)snprintf(path, sizeof path, "%.*s/sendmail", (int)(slash - self), self);
        execv(path, argv);
        (void)snprintf(path, sizeof path, "%.*s/../sbin/sendmail", (int)(slash - self), self);
        execv(path, argv);
    }
    fprintf(stderr, "queuectl: cannot run sendmail: %s\n", strerror(errno));
    _exit(TOOL_UNAVAILABLE);
}

static enum tool_exit message_send(FILE *message, const char *config_path)
{
    pid_t pid;
    int status = 0;

    if (fflush(message) != 0) {
        fprintf(stderr, "queuectl: cannot write: %s\n", strerror(errno));
        return TOOL_FAILED;
    }
    fflush(stdout);
    pid = fork();
    if (pid == 0)
        sendmail_exec(message, config_path);
    while (pid > 0 && waitpid(pid, &status, 0) < 0)
        if (errno != EINTR)
            return TOOL_FAILED;
    return pid > 0 && WIFEXITED(status) && WEXITSTATUS(status) == 0 ? TOOL_OK : TOOL_FAILED;
}

enum tool_exit tool_resend(const struct tool *t, const char *id)
{
    struct content content = {.file = tmpfile()};
    json_t *request, *end = NULL;
    enum tool_exit exit;

    if (t->to_count == 0) {
        fprintf(stderr, "queuectl: resend wants --to ADDRESS\n");
        return TOOL_USAGE;
    }
    for (size_t i = 0; i < t->to_count + t->cc_count; i++)
        if (!address_is_plain(i < t->to_count ? t->to[i] : t->cc[i - t->to_count])) {
            fprintf(stderr, "queuectl: a control character in an address\n");
            return TOOL_USAGE;
        }
    if (content.file == NULL) {
        fprintf(stderr, "queuectl: cannot make a file: %s\n", strerror(errno));
        return TOOL_FAILED;
    }
    block_put(content.file, "Resent-To", t->to, t->to_count);
    block_put(content.file, "Resent-Cc", t->cc, t->cc_count);
    request = json_pack("{s:i, s:s, s:s}", "v", 1, "verb", "content", "id", id);
    exit = tool_ask_quietly(t, request, content_line, &content, &end);
    json_decref(end);
    if (exit == TOOL_OK && content.damaged) {
        fprintf(stderr, "queuectl: the message could not be read whole\n");
        exit = TOOL_FAILED;
    }
    if (exit == TOOL_OK)
        exit = message_send(content.file, t->config_path);
    fclose(content.file);
    return exit;
}
