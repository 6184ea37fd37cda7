/* The command line of sendmail, as its many callers write it. Options end at the first address or at "--"; what looks like
 * an option behind an address is refused, because a program that passes on a stranger's address must not be led by it. */
#include <ctype.h>
#include <getopt.h>
#include <strings.h>
#include <syslog.h>

#include "tools/sendmail.h"

/* Accepted and of no effect: what they set elsewhere either is always so here or has no meaning. */
static void ignored(const char *what, const char *value)
{
    openlog("sendmail", 0, LOG_MAIL);
    syslog(LOG_INFO, "option ignored: -%s%.100s", what, value);
    closelog();
}

static int usage(const char *why, const char *value)
{
    sendmail_say("%s%s%s; see sendmail(1)", why, value != NULL ? ": " : "", value != NULL ? value : "");
    return EX_USAGE;
}

static int mode_read(struct sendmail_options *o, const char *value)
{
    static const char modes[] = {'m', 's', 'v', 'p', 'i'};
    const char *found = value[0] == 0 ? NULL : memchr(modes, value[0], sizeof modes);

    if (found == NULL || value[1] != 0) {
        if (value[0] == 'd' || value[0] == 'D')
            return usage("the daemon is another program: start mansiod(8) instead of", "-bd");
        return usage("this mode is not known", value);
    }
    o->mode = (enum sendmail_mode)(found - modes);
    return EX_OK;
}

static int body_read(struct sendmail_options *o, const char *value)
{
    if (strcasecmp(value, "7BIT") == 0)
        o->body = BODY_7BIT;
    else if (strcasecmp(value, "8BITMIME") == 0)
        o->body = BODY_8BITMIME;
    else
        return usage("-B takes 7BIT or 8BITMIME, not", value);
    o->body_given = true;
    return EX_OK;
}

static int notify_read(struct sendmail_options *o, const char *value)
{
    static const struct {
        struct bytes word;
        uint8_t bit;
    } words[] = {
        {BYTES_INIT("never"), DSN_NOTIFY_NEVER},
        {BYTES_INIT("success"), DSN_NOTIFY_SUCCESS},
        {BYTES_INIT("failure"), DSN_NOTIFY_FAILURE},
        {BYTES_INIT("delay"), DSN_NOTIFY_DELAY},
    };
    struct bytes rest = bytes_of(value);
    unsigned set = 0;

    do {
        ptrdiff_t comma = bytes_index(rest, ',');
        struct bytes word = bytes_trim(comma < 0 ? rest : bytes_head(rest, (size_t)comma));
        size_t i = 0;

        while (i < COUNT_OF(words) && !bytes_equal_nocase(word, words[i].word))
            i++;
        if (i == COUNT_OF(words))
            return usage("-N takes never, or some of success,failure,delay, not", value);
        set |= words[i].bit;
        rest = comma < 0 ? BYTES_NONE : bytes_after(rest, (size_t)comma + 1);
    } while (rest.size > 0);
    if ((set & DSN_NOTIFY_NEVER) && set != DSN_NOTIFY_NEVER)
        return usage("-N never stands alone, not", value);
    o->notify = (uint8_t)set;
    return EX_OK;
}

static int return_read(struct sendmail_options *o, const char *value)
{
    if (strcasecmp(value, "full") == 0)
        o->ret = DSN_RET_FULL;
    else if (strcasecmp(value, "hdrs") == 0)
        o->ret = DSN_RET_HDRS;
    else
        return usage("-R takes full or hdrs, not", value);
    return EX_OK;
}

/* -XV, -XVxy: as in Postfix, a reverse-path for each recipient (smtp/verp.h). Else the name of a log of the traffic. */
static int verp_read(struct sendmail_options *o, const char *value)
{
    if (value[0] != 'V' || (value[1] != 0 && strlen(value) != 3)) {
        ignored("X", value);
        return EX_OK;
    }
    if (!is_ok(verp_delimiters_read(bytes_of(value[1] == 0 ? "+=" : value + 1), &o->verp)))
        return usage("-XV takes two delimiters out of - + =, not", value + 1);
    return EX_OK;
}

/* -oX… : one letter of the old configuration file. */
static void old_option_read(struct sendmail_options *o, const char *value)
{
    switch (value[0]) {
    case 'i':
        o->ignore_dots = true;
        break;
    case 'e': /* how errors are reported: by exit status and stderr */
    case 'd': /* when it is delivered: queued, then at once */
    case 'm': /* me too */
    case '7':
    case '8':
        break;
    default:
        ignored("o", value);
    }
}

static void long_option_read(struct sendmail_options *o, const char *value)
{
    if (strcasecmp(value, "IgnoreDots") == 0 || strcasecmp(value, "IgnoreDots=true") == 0)
        o->ignore_dots = true;
    else if (strncasecmp(value, "ErrorMode=", 10) != 0 && strncasecmp(value, "DeliveryMode=", 13) != 0)
        ignored("O ", value);
}

static int option_take(struct sendmail_options *o, int c, const char *value)
{
    switch (c) {
    case 'B':
        return body_read(o, value);
    case 'C':
        o->config_path = value;
        break;
    case 'F':
        o->full_name = value;
        break;
    case 'I':
        o->mode = SENDMAIL_ALIASES;
        break;
    case 'N':
        return notify_read(o, value);
    case 'O':
        long_option_read(o, value);
        break;
    case 'R':
        return return_read(o, value);
    case 'V':
        if (strlen(value) > ENVID_SIZE_MAX)
            return usage("-V takes at most 100 characters, not", value);
        o->envid = value;
        break;
    case 'X':
        return verp_read(o, value);
    case 'b':
        return mode_read(o, value);
    case 'f':
    case 'r':
        o->sender = value;
        break;
    case 'i':
        o->ignore_dots = true;
        break;
    case 'o':
        old_option_read(o, value);
        break;
    case 'q':
        o->mode = SENDMAIL_QUEUE;
        o->queue = value != NULL ? value : "";
        break;
    case 't':
        o->from_header = true;
        break;
    case 'v':
        o->verbose = true;
        break;
    case 'A': /* which configuration file */
    case 'D':
    case 'L': /* tag in the log */
    case 'd': /* debugging */
    case 'e': /* as -oe */
    case 'h': /* hop count: Received fields are counted */
    case 'p': /* protocol by which it was received */
        if (c != 'e')
            ignored((const char[]){(char)c, 0}, value != NULL ? value : "");
        break;
    case 'G': /* relayed, not submitted */
    case 'T':
    case 'U': /* submitted, not relayed */
    case 'c':
    case 'm':
    case 'n': /* no aliases */
    case 's':
    case 'x':
        break;
    default:
        return EX_USAGE;
    }
    return EX_OK;
}

int sendmail_options_read(struct sendmail_options *o, int argc, char **argv)
{
    int c, status;

    if (argc == 4 && strcmp(argv[1], "--pick-up") == 0 && strcmp(argv[2], "-C") == 0) {
        o->mode = SENDMAIL_PICK_UP;
        o->config_path = argv[3];
        return EX_OK;
    }
    optind = 1;
    opterr = 0;
    while ((c = getopt(argc, argv, "+A:B:C:D:F:GIL:N:O:R:TUV:X:b:cd::e:f:h:imno:p:q::r:stvx")) != -1) {
        if (c == '?')
            return usage("an option is not known, or lacks its value", (const char[]){'-', (char)optopt, 0});
        status = option_take(o, c, optarg);
        if (status != EX_OK)
            return status;
    }
    o->recipients = argv + optind;
    o->recipient_count = (size_t)(argc - optind);
    if (optind > 1 && strcmp(argv[optind - 1], "--") == 0)
        return EX_OK;
    for (int i = optind; i < argc; i++)
        if (argv[i][0] == '-')
            return usage("an option stands behind an address (put addresses that begin with - behind --)", argv[i]);
    return EX_OK;
}
