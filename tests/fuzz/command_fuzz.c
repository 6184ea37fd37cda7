/* Command lines in any octets; base64 both ways. The first octet chooses what is offered. */
#include "smtp/base64.h"
#include "smtp/command.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void parse(struct bytes line, bool utf8)
{
    uint8_t room[COMMAND_SIZE_MAX];
    struct buf out = {room, 0, SERVER_SCRATCH_SIZE};
    struct command command;
    struct command_bdat bdat;
    struct command_xclient xclient;
    struct smtp_mail mail;
    struct smtp_rcpt rcpt;
    struct reply refusal;

    command_parse(line, &command);
    if (command_parse_mail(command.argument, 0x3ff, &out, &mail, &refusal))
        ASSERT(mail.envid.size <= ENVID_SIZE_MAX && mail.reverse_path.text.size <= ADDRESS_SIZE_MAX);
    out.size = 0;
    if (command_parse_rcpt(command.argument, 0x3ff, utf8, &out, &rcpt, &refusal)) {
        ASSERT(rcpt.orcpt.size <= ORCPT_SIZE_MAX && rcpt.forward_path.text.size > 0);
        for (size_t i = 0; i < rcpt.orcpt.size; i++)
            ASSERT(rcpt.orcpt.data[i] >= ' ' && rcpt.orcpt.data[i] != 127);
    }
    if (command_parse_bdat(command.argument, &bdat, &refusal))
        ASSERT(bdat.size <= UINT64_MAX / 2);
    out = (struct buf)BUF(room);
    (void)command_parse_xclient(command.argument, &out, &xclient, &refusal);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    uint8_t room[8192], back[8192];
    struct buf decoded = BUF(room), encoded = BUF(back);
    struct bytes in = {data, size < COMMAND_SIZE_MAX ? size : COMMAND_SIZE_MAX};

    parse(in, size % 2 == 0);
    if (is_ok(base64_decode(in, &decoded))) {
        struct result r = base64_encode(buf_bytes(&decoded), &encoded);
        ASSERT(is_ok(r) && bytes_equal(buf_bytes(&encoded), in));
    }
    return 0;
}
