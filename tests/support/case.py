"""The base of every end-to-end test: a scratch folder, the programs under test, and an end for everything started.

    from case import Case, main

    class Relay(Case):
        def test_one(self):
            dns = self.dns()
            m = self.mansio(dns=dns)
            ...
    if __name__ == "__main__":
        main()

The programs come from MANSIO_BUILD (a build folder; default build/dev). Started by root, the servers run as the ordinary
user `nobody` from a copy of the programs, because a build folder may lie where only root can read."""
import atexit
import os
import pwd
import shutil
import subprocess
import sys
import tempfile
import unittest

TOP = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
BUILD = os.environ.get("MANSIO_BUILD") or os.path.join(TOP, "build", "dev")
RELEASE = os.environ.get("MANSIO_RELEASE") or os.path.join(TOP, "build", "release")
PROGRAMS = ("mansiod", "queuectl", "mailq", "sendmail", "newaliases")
IS_ROOT = os.geteuid() == 0
ORDINARY = pwd.getpwnam("nobody")

_copies = {}


def programs(build=BUILD):
    """A folder with the programs that an ordinary user can run."""
    if not IS_ROOT:
        return build
    if build not in _copies:
        folder = tempfile.mkdtemp(prefix="mansio-bin-")
        atexit.register(shutil.rmtree, folder, True)
        os.chmod(folder, 0o755)
        for name in PROGRAMS:
            if os.path.exists(os.path.join(build, name)):
                shutil.copy(os.path.join(build, name), folder)
        _copies[build] = folder
    return _copies[build]


def as_ordinary_user(argv):
    """argv, run as an ordinary user if we are root."""
    if not IS_ROOT:
        return argv
    return ["setpriv", f"--reuid={ORDINARY.pw_uid}", f"--regid={ORDINARY.pw_gid}", "--clear-groups"] + argv


def give(path):
    """Hands a file or folder to the ordinary user."""
    if IS_ROOT:
        os.chown(path, ORDINARY.pw_uid, ORDINARY.pw_gid)
    return path


class Case(unittest.TestCase):
    maxDiff = 2000

    def setUp(self):
        self.folder = tempfile.mkdtemp(prefix="mansio-")
        os.chmod(self.folder, 0o755)
        self.addCleanup(self._folder_remove)
        self._mansios = []

    def _folder_remove(self):
        failed = any(problem for _, problem in getattr(self._outcome, "errors", []) or []) or \
            any(test is self for test, _ in self._outcome.result.failures + self._outcome.result.errors)
        if failed and os.environ.get("MANSIO_TEST_KEEP"):
            print(f"kept: {self.folder}", file=sys.stderr)
        else:
            shutil.rmtree(self.folder, ignore_errors=True)

    def path(self, name):
        return os.path.join(self.folder, name)

    def subfolder(self, name):
        path = self.path(name)
        os.makedirs(path, exist_ok=True)
        return give(path)

    def file(self, name, text):
        with open(self.path(name), "w" if isinstance(text, str) else "wb") as f:
            f.write(text)
        os.chmod(self.path(name), 0o644)
        return self.path(name)

    # --- what tests start ---

    def mansio(self, *args, start=True, **kwargs):
        from mansio import Mansio
        m = Mansio(self, *args, **kwargs)
        self._mansios.append(m)
        if start:
            m.start()
        return m

    def sink(self, *args, **kwargs):
        from sink import Sink
        sink = Sink(*args, **kwargs)
        self.addCleanup(sink.close)
        return sink

    def dns(self, zone="", scripted=None):
        from nameserver import NameServer
        server = NameServer(self, zone, scripted)
        self.addCleanup(server.close)
        return server

    def run_program(self, argv, stdin=b"", timeout=60, env=None):
        """A finished process with stdout and stderr as text."""
        if isinstance(stdin, str):
            stdin = stdin.encode()
        r = subprocess.run(argv, input=stdin, capture_output=True, timeout=timeout,
                           env=dict(os.environ, **(env or {})))
        r.stdout, r.stderr = r.stdout.decode(errors="replace"), r.stderr.decode(errors="replace")
        return r


def figure(text):
    """A measured number, which tests/run shows at its end."""
    print(f"FIGURE {text}", flush=True)


def need_root(what):
    return unittest.skipUnless(IS_ROOT, f"needs root: {what}")


def main():
    """Runs the file's tests and says plainly what was skipped; ctest reads exit status 77 as `all skipped`."""
    program = unittest.main(exit=False, verbosity=2)
    result = program.result
    for test, why in result.skipped:
        print(f"SKIPPED {test.id().split('.', 1)[-1]}: {why}")
    if not result.wasSuccessful():
        sys.exit(1)
    sys.exit(77 if result.testsRun and result.testsRun == len(result.skipped) else 0)
