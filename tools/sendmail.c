/* sendmail: hands in a message. Also newaliases, and mailq where it is called by that name. */
#include <libgen.h>
#include <pwd.h>
#include <stdarg.h>
#include <stdio.h>
#include <unistd.h>

#include "tools/sendmail.h"

enum { ARENA_SIZE_MAX = 256 * 1024 * 1024 }; /* the addresses of RCPT_COUNT_MAX recipients */

static const char *program = "sendmail";

void sendmail_say(const char *format, ...)
{
    va_list args;

    va_start(args, format);
    fprintf(stderr, "%s: ", program);
    vfprintf(stderr, format, args);
    fputc('\n', stderr);
    va_end(args);
}

/* The part of GECOS before the first comma, where '&' stands for the login name with a capital. */
static RESULT gecos_copy(struct sendmail *s, struct bytes gecos)
{
    uint8_t room[256];
    struct buf name = BUF(room);
    ptrdiff_t comma = bytes_index(gecos, ',');

    gecos = comma < 0 ? gecos : bytes_head(gecos, (size_t)comma);
    for (size_t i = 0; i < gecos.size; i++) {
        struct bytes piece = gecos.data[i] == '&' ? s->user.login : (struct bytes){gecos.data + i, 1};
        size_t before = name.size;

        if (!is_ok(buf_put(&name, piece)))
            return OK; /* a name that long is no name */
        if (gecos.data[i] == '&' && room[before] >= 'a' && room[before] <= 'z')
            room[before] = (uint8_t)(room[before] - 'a' + 'A');
    }
    return arena_copy(&s->arena, bytes_trim(buf_bytes(&name)), &s->user.full_name);
}

static RESULT user_find(struct sendmail *s)
{
    uint8_t room[LOCAL_PART_SIZE_MAX + DOMAIN_SIZE_MAX + 2];
    struct buf address = BUF(room);
    const struct passwd *entry;

    s->user.uid = getuid();
    entry = getpwuid(s->user.uid);
    if (entry != NULL) {
        TRY(buf_put_str(&address, entry->pw_name));
    } else { /* containers, DynamicUser */
        TRY(buf_put_str(&address, "uid"));
        TRY(buf_put_u64(&address, s->user.uid));
    }
    TRY(arena_copy(&s->arena, buf_bytes(&address), &s->user.login));
    TRY(buf_put_octet(&address, '@'));
    TRY(buf_put(&address, s->cfg->origin));
    TRY(arena_copy(&s->arena, buf_bytes(&address), &s->user.address));
    return entry == NULL ? OK : gecos_copy(s, bytes_of(entry->pw_gecos));
}

static int message_take(struct sendmail *s)
{
    int status = sendmail_envelope_sender(s);

    if (status == EX_OK && !s->options.from_header)
        status = sendmail_envelope_make(s); /* a wrong address is told before the message is read */
    if (status == EX_OK)
        status = sendmail_input_read(&s->input, STDIN_FILENO, s->options.ignore_dots, s->cfg->limits.message_size);
    if (status == EX_OK && s->options.from_header)
        status = sendmail_envelope_make(s);
    if (status == EX_OK)
        status = sendmail_message_make(s);
    if (status != EX_OK)
        return status;
    status = sendmail_submit(s, false);
    return status == EX_TEMPFAIL ? sendmail_drop(s) : status;
}

static int addresses_verify(struct sendmail *s)
{
    int status = sendmail_envelope_sender(s);

    if (status == EX_OK)
        status = sendmail_envelope_make(s);
    return status == EX_OK ? sendmail_verify(s) : status;
}

/* Another of our programs: beside this one, or in the bin folder beside its sbin. */
static int other_run(const char *name, char *const *arguments)
{
    char self[PATH_MAX], path[PATH_MAX + 64];
    ssize_t size = readlink("/proc/self/exe", self, sizeof self - 1);

    if (size > 0) {
        char *slash;

        self[size] = 0;
        slash = strrchr(self, '/');
        if (slash != NULL) {
            (void)snprintf(path, sizeof path, "%.*s/%s", (int)(slash - self), self, name);
            execv(path, arguments);
            (void)snprintf(path, sizeof path, "%.*s/../bin/%s", (int)(slash - self), self, name);
            execv(path, arguments);
        }
    }
    execvp(name, arguments);
    sendmail_say("cannot run %s: %s", name, strerror(errno));
    return EX_OSFILE;
}

static int queue_list(const struct sendmail_options *o)
{
    char *const arguments[] = {(char *)"mailq", (char *)"-C", (char *)config_path_choose(o->config_path), NULL};

    return other_run("mailq", arguments);
}

/* -q: now what is due later; -qIid: one message. An interval is for daemons, and ours has its own plan. */
static int queue_run(const struct sendmail_options *o)
{
    const char *what = o->queue;
    const char *id = what[0] == 'I' ? what + 1 : "all";
    char *const arguments[] = {(char *)"queuectl", (char *)"-c", (char *)config_path_choose(o->config_path),
        (char *)"retry", (char *)id, NULL};

    if (what[0] >= '0' && what[0] <= '9')
        return EX_OK;
    if ((what[0] != 0 && what[0] != 'I') || id[0] == 0) {
        sendmail_say("-q%s: only -q and -qI with a message's id are known; see queuectl(8)", what);
        return EX_USAGE;
    }
    return other_run("queuectl", arguments);
}

static int run(struct sendmail *s)
{
    switch (s->options.mode) {
    case SENDMAIL_ALIASES: /* aliases files are read by the daemon when they change: there is nothing to build */
        return EX_OK;
    case SENDMAIL_DELIVER:
        return message_take(s);
    case SENDMAIL_SESSION:
        return sendmail_session(s->cfg);
    case SENDMAIL_VERIFY:
        return addresses_verify(s);
    case SENDMAIL_LIST:
        return queue_list(&s->options);
    case SENDMAIL_QUEUE:
        return queue_run(&s->options);
    case SENDMAIL_PICK_UP:
        return sendmail_pick_up(s);
    }
    return EX_SOFTWARE;
}

static void release(struct sendmail *s)
{
    sendmail_input_free(&s->input);
    sendmail_input_free(&s->message);
    mem_free(s->envelope.recipients);
    mem_free(s->envelope.index);
    arena_fini(&s->arena);
    config_free(&s->cfg);
}

int main(int argc, char **argv)
{
    static struct sendmail s;
    struct config_error error;
    const char *name = strrchr(argv[0], '/');
    int status;

    name = name == NULL ? argv[0] : name + 1;
    if (strcmp(name, "newaliases") == 0) {
        program = "newaliases";
        s.options.mode = SENDMAIL_ALIASES;
    }
    status = sendmail_options_read(&s.options, argc, argv);
    if (status != EX_OK)
        return status;
    if (s.options.mode == SENDMAIL_LIST || s.options.mode == SENDMAIL_QUEUE)
        return run(&s); /* the other program reads the configuration */
    if (!is_ok(config_read_file(config_path_choose(s.options.config_path), &s.cfg, &error))) {
        sendmail_say("%s", error.text);
        return EX_CONFIG;
    }
    arena_init(&s.arena, ARENA_SIZE_MAX);
    if (is_ok(user_find(&s))) {
        status = run(&s);
    } else {
        sendmail_say("out of memory");
        status = EX_TEMPFAIL;
    }
    release(&s);
    return status;
}
