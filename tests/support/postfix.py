"""Postfix from Debian's package, unpacked beside the system and never installed: smtp-source and smtp-sink, and a whole
server with a private queue and configuration.

tests/run puts the unpacked package into build/peers/postfix (MANSIO_POSTFIX names another place)."""
import os
import shutil
import signal
import subprocess

import case
from ports import free_port
from waiting import wait_until

ROOT = os.environ.get("MANSIO_POSTFIX") or os.path.join(case.TOP, "build", "peers", "postfix")
LIBRARIES = os.path.join(ROOT, "usr/lib/postfix")
# Accounts of Debian's base system that nothing else here uses stand in for postfix and postdrop.
OWNER, DROP_GROUP = "news", "uucp"


def missing():
    """Why Postfix's programs cannot be used, or None."""
    if not os.path.exists(program("smtp-source")):
        return f"Postfix is not unpacked in {ROOT} (tests/run does it)"
    r = subprocess.run([program("smtp-source")], env=environment(), capture_output=True)
    if b"usage" not in r.stderr:
        return "Postfix's programs do not run: " + r.stderr.decode(errors="replace").strip()
    return None


def missing_server():
    return missing() or (None if case.IS_ROOT else "a whole Postfix needs root")


def program(name):
    return os.path.join(ROOT, "usr/sbin", name)


def environment():
    return dict(os.environ, LD_LIBRARY_PATH=LIBRARIES)


class Postfix:
    """A whole Postfix: smtpd on one loopback port, local delivery replaced by what `main` says."""

    def __init__(self, test, main, hostname="postfix.test", address="127.0.0.1", port=None):
        self.test, self.address, self.port = test, address, port or free_port()
        self.folder = test.subfolder(f"postfix-{self.port}")
        os.chown(self.folder, 0, 0)
        self.conf, self.queue = os.path.join(self.folder, "conf"), os.path.join(self.folder, "queue")
        self.data, self.log_path = os.path.join(self.folder, "data"), os.path.join(self.folder, "log")
        for path in (self.conf, self.queue, self.data):
            os.mkdir(path, 0o755)
        shutil.chown(self.data, OWNER, OWNER)
        for name in ("active", "bounce", "corrupt", "defer", "deferred", "flush", "hold", "incoming", "private",
                     "saved", "trace"):
            os.mkdir(os.path.join(self.queue, name), 0o700)
            shutil.chown(os.path.join(self.queue, name), OWNER)
        os.mkdir(os.path.join(self.queue, "pid"), 0o755)
        for name, mode in (("maildrop", 0o1730), ("public", 0o2710)):
            os.mkdir(os.path.join(self.queue, name))
            shutil.chown(os.path.join(self.queue, name), OWNER, DROP_GROUP)
            os.chmod(os.path.join(self.queue, name), mode)
        self._write_main(f"""compatibility_level = 3.7
myhostname = {hostname}
mydestination =
mynetworks = 127.0.0.0/8
inet_interfaces = loopback-only
inet_protocols = ipv4
queue_directory = {self.queue}
data_directory = {self.data}
daemon_directory = {LIBRARIES}/sbin
shlib_directory = {LIBRARIES}
command_directory = {ROOT}/usr/sbin
meta_directory = {ROOT}/etc/postfix
mail_owner = {OWNER}
setgid_group = {DROP_GROUP}
default_privs = nobody
maillog_file = {self.log_path}
maillog_file_prefixes = {self.folder}
import_environment = LD_LIBRARY_PATH MAIL_CONFIG
export_environment = LD_LIBRARY_PATH MAIL_CONFIG
alias_maps =
alias_database =
smtputf8_enable = no
smtpd_relay_restrictions = permit_mynetworks, reject
smtpd_peername_lookup = no
minimal_backoff_time = 2s
maximal_backoff_time = 4s
queue_run_delay = 2s
""" + main)
        with open(os.path.join(self.conf, "master.cf"), "w") as f:
            f.write(f"""{address}:{self.port} inet n - n - - smtpd
cleanup unix n - n - 0 cleanup
qmgr unix n - n 300 1 qmgr
rewrite unix - - n - - trivial-rewrite
bounce unix - - n - 0 bounce
defer unix - - n - 0 bounce
trace unix - - n - 0 bounce
smtp unix - - n - - smtp
relay unix - - n - - smtp
error unix - - n - - error
retry unix - - n - - error
discard unix - - n - - discard
virtual unix - n n - - virtual
anvil unix - - n - 1 anvil
scache unix - - n - 1 scache
tlsmgr unix - - n 1000? 1 tlsmgr
proxymap unix - - n - - proxymap
flush unix n - n 1000? 0 flush
showq unix n - n - - showq
postlog unix-dgram n - n - 1 postlogd
""")
        env = dict(environment(), MAIL_CONFIG=self.conf)
        self.process = subprocess.Popen([os.path.join(LIBRARIES, "sbin/master"), "-d", "-c", self.conf], env=env,
                                        stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
                                        start_new_session=True)
        test.addCleanup(self.close)
        wait_until(self._greets, 20, lambda: "Postfix's greeting\n" + self.log())

    def _write_main(self, text):
        """Each setting once: Postfix warns of another, and too many warnings at a start fill the socket of its log."""
        settings, name = {}, None
        for line in text.splitlines():
            if line[:1].isspace() and name:
                settings[name] += "\n" + line
            elif line and not line.startswith("#"):
                name = line.partition("=")[0].strip()
                settings[name] = line
        with open(os.path.join(self.conf, "main.cf"), "w") as f:
            f.write("\n".join(settings.values()) + "\n")

    def _greets(self):
        import socket
        if self.process.poll() is not None:
            raise AssertionError("Postfix ended: " + self.process.stdout.read().decode(errors="replace") + self.log())
        try:
            with socket.create_connection((self.address, self.port), 2) as s:
                s.settimeout(2)
                return s.recv(4) == b"220 "
        except OSError:
            return False

    def log(self):
        try:
            with open(self.log_path, errors="replace") as f:
                return f.read()
        except FileNotFoundError:
            return ""

    def close(self):
        if self.process.poll() is None:
            self.process.terminate()
            try:
                self.process.wait(10)
            except subprocess.TimeoutExpired:
                os.killpg(self.process.pid, signal.SIGKILL)
                self.process.wait()
        try:
            os.killpg(self.process.pid, signal.SIGKILL)
        except ProcessLookupError:
            pass
        self.process.stdout.close()
