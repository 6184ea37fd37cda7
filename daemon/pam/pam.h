/* pam: the process that asks PAM whether passwords are right, for auth.
 *
 * For: mansiod.c. Started where `auth { passwords = "pam" }`. PAM's modules open files, sleep, start programs and want to be root, none
 * of which auth may: so they run here, each question in a child of its own that is ended after auth.password_time. Between questions
 * the process is the auth user's and keeps root aside (edge/rights.h); started by an ordinary user it stays that user. */
#ifndef MANSIO_PAM_H
#define MANSIO_PAM_H

#include "daemon/edge/process.h"

/* Serves until the supervisor says otherwise; the process's exit status. */
int pam_main(struct process *p);

#endif
