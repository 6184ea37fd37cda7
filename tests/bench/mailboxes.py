"""Messages a second into Maildirs of this host, from SMTP to the last file in `new`.

Two ways: `virtual`, all mailboxes of one user (Postfix: virtual(8)), and `owners`, mailboxes of users of the host, each written as
its user (Postfix: local(8)). What is synced before the queue lets go of a message differs, and for the worse on Postfix's side: it
syncs the file; Mansio syncs the file and the folder that has its name."""
import atexit
import json
import os
import shutil
import subprocess
import tempfile
import time

from server import PORT, STATE, Server, tool

BOXES = 10


def users_make(homes):
    """The users of the host, in the benchmark's private /etc."""
    with open("/etc/passwd") as f:
        have = f.read()
    with open("/etc/passwd", "a") as f:
        for i in range(BOXES):
            home = os.path.join(homes, f"u{i}")
            os.makedirs(home, exist_ok=True)
            os.chown(home, 8200 + i, 65534)
            if f"\nu{i}:" not in have:
                f.write(f"u{i}:x:{8200 + i}:65534::{home}:/bin/sh\n")


def settings(name, owners, homes):
    if name == "mansio":
        where = "system_users = true" if owners else f'maildir = "{homes}/%u/Maildir"'
        return f'domain "box.test" {{ {where} }}'
    if owners:
        return "mydestination = box.test\nmailbox_size_limit = 0\nhome_mailbox = Maildir/\nmailbox_transport =\nforward_path = $home/.forward"
    maps = os.path.join(STATE, "virtual.re")
    with open(maps, "w") as f:
        f.writelines(f"/^u{i}@/ u{i}/Maildir/\n" for i in range(BOXES))  # virtual(8) takes no $1
    return (f"virtual_mailbox_domains = box.test\nvirtual_mailbox_base = {homes}\nvirtual_mailbox_maps = regexp:{maps}\n"
            "virtual_mailbox_limit = 0\nvirtual_uid_maps = static:65534\nvirtual_gid_maps = static:65534\nvirtual_minimum_uid = 1")


def arrived(homes):
    count = 0
    for i in range(BOXES):
        try:
            count += len(os.listdir(os.path.join(homes, f"u{i}", "Maildir", "new")))
        except OSError:
            pass
    return count


def deliver(name, seconds, owners, sessions=50):
    homes = os.path.join(STATE, "homes")
    shutil.rmtree(homes, ignore_errors=True)
    os.makedirs(homes)
    os.chmod(STATE, 0o755)
    if owners:
        users_make(homes)
    else:
        for i in range(BOXES):
            os.makedirs(os.path.join(homes, f"u{i}"))
        subprocess.run(["chown", "-R", "65534:65534", homes], check=True)
    os.environ["EXTRA"] = settings(name, owners, homes)
    try:
        server = Server(name, "mailboxes").start()
    finally:
        del os.environ["EXTRA"]
    before = server.meter()
    start = time.monotonic()
    loads = [subprocess.Popen([tool("smtp_load"), "-s", str(sessions // BOXES), "-n", "10000000", "-x", str(seconds), "-t",
                               f"u{i}@box.test", f"127.0.0.1:{PORT}"], stdout=subprocess.PIPE, text=True) for i in range(BOXES)]
    taken = sum(json.loads(p.communicate()[0])["taken"] for p in loads)
    last, since, count = time.monotonic(), time.monotonic(), 0
    while count < taken and time.monotonic() - since < 30:
        now = arrived(homes)
        if now != count:
            count, last, since = now, time.monotonic(), time.monotonic()
        time.sleep(0.02)
    figures = server.metered(before, taken)
    server.stop()
    # ext4 does not use a deleted file's inode again for a minute or more, and looks at each such one in the way of a new file: what a
    # measurement leaves is removed when all are done.
    aside = tempfile.mkdtemp(prefix="homes-", dir=STATE)
    atexit.register(shutil.rmtree, aside, ignore_errors=True)
    os.rename(homes, os.path.join(aside, "homes"))
    figures.update(rate=count / (last - start), accept_rate=taken / seconds, lost=taken - min(taken, count),
                   twice=max(0, count - taken))
    return figures
