#include "daemon/pam/conversation.h"

#ifdef MANSIO_PAM_LIBRARY

#include <dlfcn.h>
#include <security/pam_appl.h>

static struct {
    int (*start)(const char *, const char *, const struct pam_conv *, pam_handle_t **);
    int (*set_item)(pam_handle_t *, int, const void *);
    int (*authenticate)(pam_handle_t *, int);
    int (*acct_mgmt)(pam_handle_t *, int);
    int (*end)(pam_handle_t *, int);
    const char *(*strerror)(pam_handle_t *, int);
} pam;

bool conversation_prepare(void)
{
    void *handle = dlopen(MANSIO_PAM_LIBRARY, RTLD_NOW | RTLD_GLOBAL); /* its modules want its symbols */

    if (handle == NULL)
        return false;
    *(void **)&pam.start = dlsym(handle, "pam_start");
    *(void **)&pam.set_item = dlsym(handle, "pam_set_item");
    *(void **)&pam.authenticate = dlsym(handle, "pam_authenticate");
    *(void **)&pam.acct_mgmt = dlsym(handle, "pam_acct_mgmt");
    *(void **)&pam.end = dlsym(handle, "pam_end");
    *(void **)&pam.strerror = dlsym(handle, "pam_strerror");
    return pam.start != NULL && pam.set_item != NULL && pam.authenticate != NULL && pam.acct_mgmt != NULL &&
           pam.end != NULL && pam.strerror != NULL;
}

/* Whatever is asked for without echo is the password, whatever with echo the name. */
static int on_ask(int count, const struct pam_message **messages, struct pam_response **out, void *ctx)
{
    const struct conversation *c = ctx;
    struct pam_response *responses = count <= 0 ? NULL : calloc((size_t)count, sizeof *responses); /* PAM frees it */

    if (responses == NULL)
        return PAM_BUF_ERR;
    for (int i = 0; i < count; i++) {
        if (messages[i]->msg_style == PAM_PROMPT_ECHO_OFF)
            responses[i].resp = strdup(c->password);
        else if (messages[i]->msg_style == PAM_PROMPT_ECHO_ON)
            responses[i].resp = strdup(c->name);
    }
    *out = responses;
    return PAM_SUCCESS;
}

/* auth makes who guesses wait (guard.h); a child that sleeps here would only be one less for the others. */
static void no_delay(int status, unsigned microseconds, void *ctx)
{
    (void)status;
    (void)microseconds;
    (void)ctx;
}

static enum password_verdict verdict_of(int status)
{
    switch (status) {
    case PAM_SUCCESS:
        return PASSWORD_GOOD;
    case PAM_AUTH_ERR:
    case PAM_USER_UNKNOWN:
    case PAM_PERM_DENIED:
    case PAM_MAXTRIES:
    case PAM_ACCT_EXPIRED:
    case PAM_NEW_AUTHTOK_REQD:
    case PAM_CRED_EXPIRED:
    case PAM_AUTHTOK_EXPIRED:
        return PASSWORD_BAD;
    default:
        return PASSWORD_LATER;
    }
}

enum password_verdict conversation(const struct conversation *c, const char **why_out)
{
    const struct pam_conv conv = {.conv = on_ask, .appdata_ptr = (void *)c};
    const int flags = PAM_SILENT | PAM_DISALLOW_NULL_AUTHTOK;
    void (*delay)(int, unsigned, void *) = no_delay;
    pam_handle_t *handle = NULL;
    int status = pam.start(c->service, c->name, &conv, &handle);

    if (status == PAM_SUCCESS && c->client[0] != 0)
        status = pam.set_item(handle, PAM_RHOST, c->client);
    if (status == PAM_SUCCESS)
        status = pam.set_item(handle, PAM_FAIL_DELAY, *(const void **)&delay);
    if (status == PAM_SUCCESS)
        status = pam.authenticate(handle, flags);
    if (status == PAM_SUCCESS)
        status = pam.acct_mgmt(handle, flags);
    *why_out = pam.strerror(handle, status);
    if (handle != NULL)
        pam.end(handle, status);
    return verdict_of(status);
}

#else

bool conversation_prepare(void)
{
    return false;
}

enum password_verdict conversation(const struct conversation *c, const char **why_out)
{
    (void)c;
    *why_out = "built without PAM";
    return PASSWORD_LATER;
}

#endif
