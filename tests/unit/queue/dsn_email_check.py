#!/usr/bin/env python3
"""Reads example notifications with Python's email package: dsn_email_check.py PROGRAM (queue_dsn_examples)."""
import email
import email.policy
import subprocess
import sys

PROGRAM = sys.argv[1]
FAILURES = []


def check(name, what, condition):
    if not condition:
        FAILURES.append(f"{name}: {what}")


def read(name):
    raw = subprocess.run([PROGRAM, name], check=True, stdout=subprocess.PIPE).stdout
    return raw, email.message_from_bytes(raw, policy=email.policy.SMTPUTF8)


def status_blocks(part, raw):
    """The blocks of the second part, as messages."""
    if part.get_content_type() == "message/delivery-status":
        return part.get_payload()
    # The package reads message/global-delivery-status as one message: take the octets apart by hand.
    start = raw.index(b"\r\n\r\n", raw.index(b"message/global-delivery-status")) + 4
    end = raw.index(b"\r\n--=_", start)
    return [email.message_from_bytes(b, policy=email.policy.SMTPUTF8)
            for b in raw[start:end].split(b"\r\n\r\n") if b.strip()]


def common(name, action, count=2):
    raw, msg = read(name)
    for line in raw.split(b"\r\n"):
        check(name, "line bounds", len(line) <= 998 and b"\n" not in line and b"\r" not in line)
    check(name, "no defects", not msg.defects)
    check(name, "type", msg.get_content_type() == "multipart/report")
    check(name, "report-type", msg.get_param("report-type") == "delivery-status")
    check(name, "auto-submitted", msg["Auto-Submitted"] == "auto-replied")
    check(name, "from", msg["From"].addresses[0].addr_spec == "MAILER-DAEMON@mail.one.example")
    check(name, "in-reply-to", msg["In-Reply-To"] == "<lunch@one.example>" == msg["References"])
    check(name, "date", msg["Date"].datetime.timestamp() == 1795000005)
    parts = msg.get_payload()
    check(name, "three parts", len(parts) == 3)
    for part in parts:
        check(name, "no defects in a part", not part.defects)
    blocks = status_blocks(parts[1], raw)
    check(name, "status blocks", len(blocks) == 1 + count)
    check(name, "reporting", blocks[0]["Reporting-MTA"] == "dns; mail.one.example")
    for block in blocks[1:]:
        check(name, "action", block["Action"] == action)
        check(name, "defects of a block", not block.defects)
        check(name, "one status", len(block.get_all("Status")) == 1)
    return raw, parts, blocks


def main():
    names = subprocess.run([PROGRAM], check=True, stdout=subprocess.PIPE, text=True).stdout.split()

    _, parts, blocks = common("failed", "failed")
    check("failed", "to", blocks[1]["Final-Recipient"] == "rfc822; bob@two.example")
    check("failed", "orcpt", blocks[1]["Original-Recipient"] == "rfc822; Bob@Two.example")
    check("failed", "envid", blocks[0]["Original-Envelope-Id"] == "QQ314159")
    check("failed", "reply", blocks[1]["Diagnostic-Code"].startswith("smtp; 550-5.1.1 The email account")
          and blocks[1]["Diagnostic-Code"].endswith("550 5.1.1 no such user"))
    check("failed", "remote", blocks[1]["Remote-MTA"] == "dns; mx.two.example")
    check("failed", "no remote", blocks[2]["Remote-MTA"] is None)
    check("failed", "original", parts[2].get_content_type() == "message/rfc822"
          and parts[2].get_payload(0)["Subject"] == "lunch"
          and parts[2].get_payload(0).get_payload().startswith("How about"))

    _, parts, blocks = common("delayed", "delayed")
    check("delayed", "until", blocks[1]["Will-Retry-Until"].startswith("Mon, 23 Nov 2026"))
    check("delayed", "header only", parts[2].get_content_type() == "text/rfc822-headers"
          and "o'clock" not in parts[2].get_payload())
    for name in ("relayed", "expanded", "delivered"):
        _, _, blocks = common(name, name, 1)
        check(name, "status", blocks[1]["Status"] == "2.1.5")

    _, parts, blocks = common("utf8", "failed")
    check("utf8", "to", "\r\nTo: <\u00e5sa@one.example>\r\n".encode() in read("utf8")[0])
    check("utf8", "type", parts[1].get_content_type() == "message/global-delivery-status")
    check("utf8", "original", parts[2].get_content_type() == "message/global")
    check("utf8", "recipient", blocks[1]["Final-Recipient"] == "utf-8; j\u00fcrgen@two.example")
    check("utf8", "text", "kein J\u00fcrgen" in parts[0].get_content())

    _, parts, _ = common("foreign_reply", "failed")
    check("foreign_reply", "text", "kein J\u00fcrgen hier, a=b" in parts[0].get_content())

    _, parts, _ = common("eight_bit_body", "failed")
    check("eight_bit_body", "body",
          parts[2].get_payload(0).get_payload(decode=True) == b"8-bit b\xf6dy without an end")

    _, parts, _ = common("broken_header", "failed")
    check("broken_header", "octets",
          parts[2].get_payload(decode=True) == b"Subject: gr\xfc\xdf\r\nX: bare\nBcc: \rz\r\n")

    _, _, blocks = common("hostile", "failed")
    check("hostile", "status", blocks[1]["Status"] == "5.1.1")
    common("hundred", "failed", 100)

    for failure in FAILURES:
        print(failure)
    print(f"{len(names)} examples, {len(FAILURES)} failures")
    return 1 if FAILURES else 0


sys.exit(main())
