/* conversation: one question to PAM, from beginning to end: the user's name and password for a service.
 *
 * For: the short-lived children of the process pam. It may take as long as PAM's modules like: whoever calls bounds it.
 *   if (!conversation_prepare()) ... no libpam here        once, in the parent: its children inherit the open library
 *   verdict = conversation(&question, &why); */
#ifndef MANSIO_PAM_CONVERSATION_H
#define MANSIO_PAM_CONVERSATION_H

#include "daemon/ipc/words.h"

struct conversation {
    const char *service, *name, *password, *client;
};

bool conversation_prepare(void);
/* `why_out`: what PAM calls it. */
enum password_verdict conversation(const struct conversation *c, const char **why_out);

#endif
