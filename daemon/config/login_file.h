/* login_file: the file of logins to other hosts, `NAME LOGIN PASSWORD` a line.
 *
 * For: the supervisor, which reads it as root and looks at it, and outbound, which is given its text and picks from it. Not
 * for: the users who log in here (daemon/auth/account.h).
 *   struct client_credentials found;
 *   if (!login_file_find(text, BYTES("isp"), &found)) ...
 * A password is the rest of its line, blanks inside it included. Empty lines and lines that begin with '#' are passed over.
 * Lifetime: what is found are views into the text. */
#ifndef MANSIO_CONFIG_LOGIN_FILE_H
#define MANSIO_CONFIG_LOGIN_FILE_H

#include "smtp/client_auth.h"

struct login_file_line {
    unsigned number; /* of the last line taken, from 1 */
    struct bytes name;
    struct client_credentials credentials;
};

/* Takes the next entry from *rest; `line` begins as zeroes. CODE_MORE: there is none any more. CODE_SYNTAX with why: the line
 * with line->number is wrong. */
RESULT login_file_next(struct bytes *rest, struct login_file_line *line);
/* The first entry of this name in a file without wrong lines before it. */
bool login_file_find(struct bytes text, struct bytes name, struct client_credentials *credentials_out);

#endif
