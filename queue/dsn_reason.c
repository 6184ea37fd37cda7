#include "queue/dsn_reason.h"

enum { ANY = UINT16_MAX };

/* RFC 3463 and the IANA registry of enhanced status codes. The first row that fits serves: a detail stands before its
 * subject's ANY. */
static const struct dsn_reason reasons[] = {
    {1, 1, "There is no mailbox with this address at the receiving side.",
        "Please look closely at the part before the @ for a typing error, or ask the recipient for the right address."},
    {1, 2, "The part of the address behind the @ does not exist or cannot receive mail.",
        "Please look closely at the part behind the @ for a typing error."},
    {1, 3, "The receiving side says that this is not a well-formed address.",
        "Please check the address for typing errors, missing or surplus characters."},
    {1, 6, "The mailbox has moved, and the receiving side does not know where to.",
        "Please ask the recipient for the new address."},
    {1, 7, "The receiving side does not accept your own (sender) address as well-formed.",
        "Please check the sender address in the settings of your mail program."},
    {1, 8, "The receiving side cannot find the domain of your own (sender) address.",
        "Please check the sender address in the settings of your mail program, or tell your postmaster."},
    {1, 10, "The part of the address behind the @ states that it accepts no mail at all.",
        "Please look closely at the part behind the @ for a typing error, or reach the recipient another way."},
    {1, ANY, "The receiving side does not accept this address.",
        "Please check the address for typing errors, or ask the recipient for the right one."},
    {2, 1, "The mailbox is switched off and takes no mail.", "Please reach the recipient another way."},
    {2, 2, "The recipient's mailbox is full.",
        "Please tell the recipient by other means, and send the message again when there is room."},
    {2, 3, "The message is larger than the recipient's mailbox takes.",
        "Please send a smaller message, for instance without attachments or in several parts."},
    {2, 4, "The list or group behind this address could not be resolved into its members.",
        "Please tell the postmaster of the receiving side."},
    {2, ANY, "The recipient's mailbox cannot take mail.",
        "Please reach the recipient another way, or try again later."},
    {3, 1, "The receiving mail system has no room left.", "Please send the message again later."},
    {3, 4, "The message is larger than the receiving mail system takes.",
        "Please send a smaller message, for instance without attachments or in several parts."},
    {3, ANY, "The receiving mail system cannot take mail at present.", "Please send the message again later."},
    {4, 1, "The receiving mail server did not answer.",
        "Often this passes by itself. If the address is right, please send the message again later."},
    {4, 2, "The connection to the receiving mail server broke off.",
        "Often this passes by itself. If the address is right, please send the message again later."},
    {4, 3,
        "The directory of the Internet (DNS) could not tell where mail for this address goes: it gave no answer or a "
        "broken one.",
        "The trouble lies with the name servers of the part behind the @. Please check it for a typing error, or try "
        "again later."},
    {4, 4, "There is no way to the receiving side: its domain names no mail server that exists.",
        "Please look closely at the part behind the @ for a typing error, or reach the recipient another way."},
    {4, 6, "The message went round in a circle between mail servers.",
        "You can do nothing about this. Please tell the postmaster, and include this report."},
    {4, 7, "The message could not be delivered in the time allowed for trying.",
        "If the address is right, please send the message again later or reach the recipient another way."},
    {4, ANY, "The receiving mail server could not be reached.",
        "If the address is right, please send the message again later."},
    {5, 3, "The receiving mail server does not take so many recipients at once.",
        "Please send the message to fewer recipients at a time."},
    {5, ANY, "The two mail servers did not understand each other.",
        "You can do nothing about this. Please tell the postmaster, and include this report."},
    {6, 3, "The message holds characters that the receiving mail server cannot take in this form.",
        "Please send it again as plain text, or put the contents into an attachment."},
    {6, 7, "The receiving mail server cannot handle addresses with letters outside of the English alphabet.",
        "Please ask the recipient for an address in plain (ASCII) letters, or use a plain sender address of your own."},
    {6, ANY, "The receiving side does not accept the form or the contents of the message.",
        "Please look at its answer below, change the message accordingly and send it again."},
    {7, 1,
        "The receiving side refuses the message by its rules: you may not send to this address, or the message was "
        "taken "
        "for unwanted mail.",
        "Please look at its answer below. If you believe that this is an error, reach the recipient another way and "
        "show "
        "this report, or ask your postmaster."},
    {7, 2, "You are not allowed to send to this mailing list.", "Please ask the owner of the list."},
    {7, 10, "The receiving side demands an encrypted connection that could not be had.",
        "You can do nothing about this. Please tell your postmaster."},
    {7, ANY, "The receiving side refuses the message for reasons of security or policy.",
        "Please look at its answer below. If you believe that this is an error, ask your postmaster and include this "
        "report."},
    {ANY, ANY, "The receiving side did not accept the message.",
        "Please look at its answer below; it may say what is wrong. Otherwise ask your postmaster and include this "
        "report."},
};

RESULT dsn_status_parse(struct bytes text, struct enhanced_status *status_out)
{
    uint64_t parts[3];

    for (size_t i = 0; i < COUNT_OF(parts); i++) {
        ptrdiff_t dot = bytes_index(text, '.');
        struct bytes part = i == 2 ? text : bytes_head(text, dot < 0 ? 0 : (size_t)dot);

        if (part.size == 0 || part.size > 3 || (part.size > 1 && part.data[0] == '0'))
            return FAIL(CODE_SYNTAX, "a status has the form class.subject.detail");
        TRY(bytes_to_u64(part, 999, &parts[i]));
        text = bytes_after(text, part.size + 1);
    }
    if (parts[0] != 2 && parts[0] != 4 && parts[0] != 5)
        return FAIL(CODE_SYNTAX, "the class of a status is 2, 4 or 5");
    *status_out = (struct enhanced_status){(uint8_t)parts[0], (uint16_t)parts[1], (uint16_t)parts[2]};
    return OK;
}

const struct dsn_reason *dsn_reason_find(struct enhanced_status status)
{
    size_t i = 0;

    while ((reasons[i].subject != ANY && reasons[i].subject != status.subject) ||
           (reasons[i].detail != ANY && reasons[i].detail != status.detail))
        i++; /* the last row fits everything */
    return &reasons[i];
}
