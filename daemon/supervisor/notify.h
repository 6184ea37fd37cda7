/* notify: tells the service manager how we are (the protocol of sd_notify(3): one datagram to $NOTIFY_SOCKET).
 *
 *   notify_init();                 remembers the socket and hides it from our children
 *   notify("READY=1");             nothing happens when no manager asked */
#ifndef MANSIO_SUPERVISOR_NOTIFY_H
#define MANSIO_SUPERVISOR_NOTIFY_H

void notify_init(void);
void notify(const char *state);

#endif
