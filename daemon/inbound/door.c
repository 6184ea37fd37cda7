#include "daemon/auth/mechanisms.h"
#include "daemon/inbound/session.h"

static enum smtp_class class_of(enum listen_class class)
{
    switch (class) {
    case LISTEN_SMTP:
        return SMTP_CLASS_MX;
    case LISTEN_SUBMISSION:
    case LISTEN_SUBMISSIONS:
        return SMTP_CLASS_SUBMISSION;
    case LISTEN_LOCAL:
        return SMTP_CLASS_LOCAL;
    }
    return SMTP_CLASS_MX;
}

void door_fill(struct door *door, const struct config *cfg, const struct config_listen *listen)
{
    bool starttls;

    door->listen = listen;
    door->class = listen == NULL ? LISTEN_LOCAL : listen->class;
    door->tls = listen == NULL ? LISTEN_TLS_NONE : listen->tls;
    starttls =
        cfg->tls_certificates.count > 0 && (door->tls == LISTEN_TLS_OPPORTUNISTIC || door->tls == LISTEN_TLS_REQUIRED);
    door->smtp = (struct smtp_server_config){
        .hostname = cfg->hostname,
        .class = class_of(door->class),
        .extensions = SMTP_EXT_PIPELINING | SMTP_EXT_SIZE | SMTP_EXT_8BITMIME | SMTP_EXT_ENHANCEDSTATUSCODES |
                      SMTP_EXT_SMTPUTF8 | SMTP_EXT_DSN | SMTP_EXT_CHUNKING | SMTP_EXT_XCLIENT |
                      (starttls ? (uint32_t)SMTP_EXT_STARTTLS : 0) |
                      (listen == NULL ? (uint32_t)(SMTP_EXT_XVERP | SMTP_EXT_XREFUSED) : 0),
        .auth_without_tls = listen != NULL && listen->auth_without_tls,
        .size_max = cfg->limits.message_size,
        .rcpt_max = cfg->limits.recipients,
        .error_max = listen == NULL ? 0 : cfg->limits.errors, /* sendmail may have many unknown recipients */
        .received_max = cfg->limits.received,
        .vrfy = listen != NULL ? (enum smtp_vrfy)listen->vrfy : SMTP_VRFY_NONCOMMITTAL,
        .expn_noncommittal = listen != NULL && listen->expn_noncommittal,
        .tls_required = door->tls == LISTEN_TLS_REQUIRED,
        .bare_newline_convert = listen != NULL && listen->bare_newline_convert,
        .strict_pipelining = class_of(door->class) == SMTP_CLASS_MX,
        .idle_timeout_ms = cfg->timeouts.server_idle,
        .data_block_timeout_ms = cfg->timeouts.block,
        .session_max_ms = cfg->timeouts.session,
    };
    if (listen != NULL && listen->auth) {
        door->smtp.extensions |= SMTP_EXT_AUTH;
        if (cfg->auth.passwords != PASSWORDS_FILE)
            door->smtp.auth_mechanisms = BYTES(AUTH_MECHANISMS_PASSWORD);
        else
            door->smtp.auth_mechanisms =
                listen->auth_without_tls ? BYTES(AUTH_MECHANISMS_UNBOUND) : BYTES(AUTH_MECHANISMS);
    }
}
