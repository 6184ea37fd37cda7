/* Stands in for a syslog daemon: appends what comes to the datagram socket to a file, a write for each line.
 *
 *   syslog_sink SOCKET FILE
 * The peers of the benchmark log through it, so that their logging costs what it costs elsewhere. */
#include <fcntl.h>
#include <stdio.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "daemon/base/base.h"

int main(int argc, char **argv)
{
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    char line[8192];
    ssize_t size;
    int from, to;

    if (argc != 3) {
        fprintf(stderr, "usage: syslog_sink SOCKET FILE\n");
        return 2;
    }
    snprintf(address.sun_path, sizeof address.sun_path, "%s", argv[1]);
    unlink(argv[1]);
    from = socket(AF_UNIX, SOCK_DGRAM, 0);
    to = open(argv[2], O_WRONLY | O_CREAT | O_APPEND, 0644);
    if (to < 0 || bind(from, (struct sockaddr *)&address, sizeof address) != 0) {
        perror("syslog_sink");
        return 1;
    }
    while ((size = recv(from, line, sizeof line - 1, 0)) >= 0) {
        line[size] = '\n';
        if (write(to, line, (size_t)size + 1) < 0)
            return 1;
    }
    return 1;
}
