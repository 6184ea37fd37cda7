#!/usr/bin/env python3
"""Converts messages (convert_email_check.py PROGRAM: smtp_convert_filter) and reads both sides with Python's email package.

Held: what comes out is ASCII in lines of at most 998 octets; part for part it decodes to the octets of the original; names,
subjects, addresses and file names read the same.
"""
import email
import email.header
import email.policy
import random
import subprocess
import sys

PROGRAM = sys.argv[1]
FAILURES = []
OK, SEALED, UTF8 = 0, 1, 2


def convert(messages, *args):
    given = b"".join(len(m).to_bytes(4, "big") + m for m in messages)
    out = subprocess.run([PROGRAM, *args], input=given, check=True, stdout=subprocess.PIPE).stdout
    answers = []
    while out:
        size = int.from_bytes(out[1:5], "big")
        answers.append((out[0], out[5:5 + size]))
        out = out[5 + size:]
    assert len(answers) == len(messages)
    return answers


def check(name, what, condition):
    if not condition:
        FAILURES.append(f"{name}: {what}")


def leaves(message):
    """(type, octets) of each part; an enclosed message is its parts."""
    return [(p.get_content_type(), p.get_payload(decode=True)) for p in message.walk() if not p.is_multipart()]


def parse(raw):
    return email.message_from_bytes(raw, policy=email.policy.SMTPUTF8)


def multiparts_are_7bit(message):
    return all((p["Content-Transfer-Encoding"] or "7bit").lower() == "7bit" for p in message.walk() if p.is_multipart())


def crlf(text):
    return text.replace("\n", "\r\n").encode()


def same(name, before, after):
    check(name, "not ASCII", after.isascii())
    check(name, "a long line", max(map(len, after.split(b"\r\n"))) <= 998)
    old, new = parse(before), parse(after)
    check(name, f"parts differ: {leaves(old)} {leaves(new)}", leaves(old) == leaves(new))
    check(name, "a multipart is not 7bit", multiparts_are_7bit(new))
    return old, new


PLAIN = crlf("""From: Jörg Müller <joerg@one.example>
To: "Grüße, Anna" <anna@two.example>, plain@two.example (Köln), Gruppe Süd: a@b.example, Ü <c@d.example>;
Cc: <u@bücher.example>
Subject: Größe und =?UTF-8?Q?W=C3=A4rme?= überall, a very long subject with more words than would fit into one line of it, süß
References: <a@b>
X-Note: no change here
MIME-Version: 1.0
Content-Type: text/plain; charset=utf-8
Content-Transfer-Encoding: 8bit

Grüße = 1 \n.Punkt\n..\n--Strich\n\t\nEnde \n""")

MIXED = crlf("""From: a@one.example
Subject: parts
MIME-Version: 1.0
Content-Type: multipart/mixed; boundary="=_a b"
Content-Transfer-Encoding: 8bit

Vorspann mit Umläuten
--=_a b
Content-Type: multipart/alternative; boundary="----=_Part_1?x"
Content-Transfer-Encoding: 8bit

------=_Part_1?x
Content-Type: text/plain; charset=utf-8
Content-Transfer-Encoding: 8bit

Grüße
------=_Part_1?xy is no delimiter
------=_Part_1?x
Content-Type: text/html; charset=utf-8
Content-Transfer-Encoding: 8bit

<p>ascii only</p>
------=_Part_1?x--

--=_a b  \nContent-Type: application/octet-stream; name="Gr\u00fc\u00dfe und eine sehr, sehr lange Bezeichnung der Datei 2026.bin"
Content-Disposition: attachment; filename=Grüße.bin
Content-Transfer-Encoding: 8bit

\u0416\u0416\u0416
--=_a b
Content-Type: message/rfc822
Content-Transfer-Encoding: 8bit

From: Ärger <x@y.example>
Subject: Einschluß
MIME-Version: 1.0
Content-Type: text/plain; charset=utf-8
Content-Transfer-Encoding: 8bit

Русский текст, und so weiter, в основном кириллица.
--=_a b
Content-Type: text/plain
Content-Transfer-Encoding: base64

R3LDvMOfZQ==
--=_a b--
Nachspann ö
""")

DIGEST = crlf("""From: a@one.example
MIME-Version: 1.0
Content-Type: multipart/digest; boundary=d
Content-Transfer-Encoding: 8bit

--d

From: b@one.example
Subject: eins
Content-Type: text/plain; charset=utf-8
Content-Transfer-Encoding: 8bit

größer
--d

From: c@one.example

ascii
--d--
""")

SIGNED = crlf("""From: a@one.example
MIME-Version: 1.0
Content-Type: multipart/signed; boundary=s; protocol="application/pgp-signature"
Content-Transfer-Encoding: 8bit

--s
Content-Type: text/plain; charset=utf-8
Content-Transfer-Encoding: 8bit

TEXT
--s
Content-Type: application/pgp-signature

x
--s--
""")


def addresses(message, field):
    return [(a.display_name, a.username, a.domain) for a in message[field].addresses]


def examples():
    latin = PLAIN.replace("Grüße = 1".encode(), b"Gr\xfc\xdfe")
    bare = "Subject: x\r\n\r\nGrüße, ohne MIME\r\n".encode()
    headless = "kein Kopf, nur Grüße\r\n".encode()
    names = ["plain", "mixed", "digest", "latin", "bare", "headless"]
    given = [PLAIN, MIXED, DIGEST, latin, bare, headless]
    read = {}
    for name, before, (verdict, after) in zip(names, given, convert(given)):
        check(name, "verdict", verdict == OK)
        if name not in ("bare", "headless"):
            read[name] = same(name, before, after)
        else:
            new = parse(after)
            check(name, "body", new.get_content().replace("\r", "") == before.decode().rpartition("\r\n\r\n")[2].replace("\r", ""))
            check(name, "version", new["MIME-Version"] == "1.0")
        check(name, "again: nothing to do", convert([after]) == [(OK, after)])
    old, new = read["plain"]
    for field in ("From", "To", "Cc", "Subject"):
        check("plain", f"{field}: {new[field]}", str(old[field]).replace("bücher", "xn--bcher-kva") == str(new[field]))
    check("plain", "From", addresses(new, "From") == [("Jörg Müller", "joerg", "one.example")])
    check("plain", "To", [a[0] for a in addresses(new, "To")] == ["Grüße, Anna", "", "", "Ü"])
    check("plain", "Cc", addresses(new, "Cc") == [("", "u", "xn--bcher-kva.example")])
    check("plain", "quoted-printable", new["Content-Transfer-Encoding"] == "quoted-printable")
    old, new = read["mixed"]
    check("mixed", "file names", [p.get_filename() for p in old.walk()] == [p.get_filename() for p in new.walk()])
    encodings = [p["Content-Transfer-Encoding"] for p in new.walk()]
    check("mixed", encodings, encodings == ["7bit", "7bit", "quoted-printable", "7bit", "base64", "7bit", "base64", "base64"])
    inner = [p for p in new.walk() if p.get_content_type() == "message/rfc822"][0].get_payload(0)
    check("mixed", "enclosed", inner["Subject"] == "Einschluß" and addresses(inner, "From") == [("Ärger", "x", "y.example")])


def verdicts():
    utf8 = "From: <jörg@one.example>\r\n\r\nx\r\n".encode()
    cases = [
        ("signed, 8-bit", SIGNED.replace(b"TEXT", "Grüße".encode()), SEALED),
        ("signed, ASCII", SIGNED, OK),
        ("local part", utf8, UTF8),
        ("no boundary", MIXED.replace(b'; boundary="=_a b"', b""), SEALED),
        ("8-bit in base64", PLAIN.replace(b"Encoding: 8bit", b"Encoding: base64"), SEALED),
        ("long field", b"X: " + "ü".encode() * 20000 + b"\r\n\r\n", SEALED),
        ("partial", PLAIN.replace(b"text/plain", b"message/partial; id=x"), SEALED),
        ("nested", b"".join(b"Content-Type: multipart/mixed; boundary=n%d\r\n\r\n--n%d\r\n" % (i, i) for i in range(20)) +
         "\r\nü\r\n".encode(), SEALED),
        ("many parts", b"Content-Type: multipart/mixed; boundary=m\r\n" + "\r\n--m\r\n\r\nü".encode() * 1100 + b"\r\n--m--\r\n", SEALED),
    ]
    for (name, before, wanted), (verdict, after) in zip(cases, convert([c[1] for c in cases])):
        check(name, f"verdict {verdict}", verdict == wanted)
    signed = convert([SIGNED])[0][1]
    check("signed", "untouched", SIGNED.partition(b"\r\n\r\n")[2] == signed.partition(b"\r\n\r\n")[2])
    check("signed", "7bit", parse(signed)["Content-Transfer-Encoding"] == "7bit")
    head = convert([PLAIN, "Subject: ü\r\n\r\nbleibt ü\r\n".encode(), utf8], "header")
    check("header", "verdicts", [h[0] for h in head] == [OK, OK, UTF8])
    check("header", "ASCII", head[0][1].partition(b"\r\n\r\n")[0].isascii())
    check("header", "body", head[1][1].endswith("\r\n\r\nbleibt ü\r\n".encode()))
    received = "Received: from x (y)\r\n\tby z id 1\r\n\tfor <u@bücher.example>;\r\n\tSun, 22 Nov 2026 01:02:03 +0000\r\n\r\n".encode()
    check("Received", "for", b"for" not in convert([received])[0][1] and b"Nov 2026" in convert([received])[0][1])


def random_part(rng, depth, boundary_at):
    kind = rng.randrange(6 if depth < 4 else 4)
    if kind < 4:
        alphabet = rng.choice(["ascii text.-= \t", "Größe und Maß -=.\t ", "Кириллица ", "\u00e9\u0416\U0001f600-= "])
        text = [rng.choice(alphabet) for _ in range(rng.randrange(400))]
        for _ in range(rng.randrange(12)):
            text.insert(rng.randrange(len(text) + 1),
                        rng.choice(["\r\n", "\r\n-", "\r\n--", "\r\n--b0\u00fc", "\r\n.", " \r\n", "\r\nFrom "]))
        body = "".join(text).encode()
        if rng.randrange(4) == 0:
            body = body.replace(b"\xc3", b"\xff")
        fields = [rng.choice(["Content-Type: text/plain; charset=utf-8", "Content-Type: application/x-thing",
                              'Content-Type: text/html; name="\u00fc.html"'])]
        fields += [rng.choice(["Content-Transfer-Encoding: 8bit", "Content-Transfer-Encoding: binary", "X-A: b"])]
        rng.shuffle(fields)
        return "\r\n".join(fields).encode() + b"\r\n\r\n" + body
    if kind == 4:
        return (b"Content-Type: message/rfc822\r\nContent-Transfer-Encoding: 8bit\r\n\r\nSubject: \xc3\xa4\r\n" +
                b"MIME-Version: 1.0\r\n" + random_part(rng, depth + 1, boundary_at))
    boundary = b"b%d" % boundary_at[0]
    boundary_at[0] += 1
    parts = [b"--" + boundary + b"\r\n" + random_part(rng, depth + 1, boundary_at) + b"\r\n" for _ in range(rng.randrange(1, 4))]
    return (b"Content-Type: multipart/mixed; boundary=" + boundary + b"\r\nContent-Transfer-Encoding: 8bit\r\n\r\n" +
            b"".join(parts) + b"--" + boundary + b"--\r\n")


def random_messages(count, seed):
    rng = random.Random(seed)
    given = [b"From: a@b.example\r\nMIME-Version: 1.0\r\n" + random_part(rng, 0, [0]) for _ in range(count)]
    for i, (before, (verdict, after)) in enumerate(zip(given, convert(given))):
        check(f"random {seed} {i}", "verdict", verdict == OK)
        if verdict == OK:
            same(f"random {seed} {i}", before, after)


examples()
verdicts()
random_messages(300, 1)
for failure in FAILURES[:20]:
    print(failure)
sys.exit(1 if FAILURES else 0)
