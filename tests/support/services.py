"""Servers that lookups ask: PostgreSQL, OpenLDAP and Dovecot from Debian, each a private one in a scratch folder, started as an
ordinary process of an ordinary user, reached over a UNIX socket (LDAP: also a loopback port).

    db = Postgres(test);  db.sql("CREATE TABLE …");  db.conninfo;  db.stop();  db.start()
    ldap = Slapd(test, LDIF);  ldap.url
    dovecot = DovecotAuth(test, "alice@a.test\\n…");  dovecot.socket
missing_…() says why one cannot be used, or None."""
import glob
import os
import subprocess

import case
from ports import free_port
from waiting import wait_until


def _postgres_bin():
    found = sorted(glob.glob("/usr/lib/postgresql/*/bin/initdb"))
    return os.path.dirname(found[-1]) if found else None


def missing_postgres():
    return None if _postgres_bin() else "PostgreSQL is not installed"


def missing_slapd():
    return None if os.path.exists("/usr/sbin/slapd") else "slapd is not installed"


def missing_dovecot():
    if not case.IS_ROOT:
        return "Dovecot's auth needs root to start"
    return None if os.path.exists("/usr/sbin/dovecot") else "Dovecot is not installed"


class _Service:
    """A process that ends with the test."""

    def __init__(self, test, name):
        self.test, self.folder = test, test.subfolder(name)
        self.process = None
        test.addCleanup(self.stop)

    def run(self, argv, stdin=None, **kwargs):
        r = subprocess.run(case.as_ordinary_user(argv), input=stdin, capture_output=True, text=True, cwd="/", timeout=60,
                           **kwargs)
        self.test.assertEqual(0, r.returncode, f"{argv}\n{r.stdout}\n{r.stderr}")
        return r.stdout

    def spawn(self, argv, ready, root=False):
        with open(os.path.join(self.folder, "log"), "ab") as log:
            self.process = subprocess.Popen(argv if root else case.as_ordinary_user(argv), stdin=subprocess.DEVNULL,
                                            stdout=log, stderr=log, cwd="/", start_new_session=True)
        wait_until(ready, 30, lambda: f"{argv[0]}\n" + self.log())

    def log(self):
        with open(os.path.join(self.folder, "log"), errors="replace") as f:
            return f.read()[-3000:]

    def stop(self, how="terminate"):
        if self.process is not None and self.process.poll() is None:
            getattr(self.process, how)()
            self.process.wait(20)


class Postgres(_Service):
    def __init__(self, test):
        super().__init__(test, "postgres")
        self.bin, self.data = _postgres_bin(), os.path.join(self.folder, "data")
        self.run([f"{self.bin}/initdb", "-D", self.data, "-A", "trust", "-U", "mail", "--no-sync", "-E", "UTF8",
                  "--locale=C"])
        self.conninfo = f"host={self.folder} dbname=postgres user=mail"
        self.start()

    def start(self):
        self.spawn([f"{self.bin}/postgres", "-D", self.data, "-k", self.folder, "-h", "", "-F", "-c",
                    "shared_buffers=1MB", "-c", "max_connections=12"], self._ready)

    def _ready(self):
        return subprocess.run([f"{self.bin}/pg_isready", "-q", "-h", self.folder]).returncode == 0

    def sql(self, text):
        return self.run([f"{self.bin}/psql", "-X", "-q", "-v", "ON_ERROR_STOP=1", "-h", self.folder, "-U", "mail",
                         "postgres"], stdin=text)

    def stop(self, how="send_signal"):
        if self.process is not None and self.process.poll() is None:
            self.process.send_signal(2)  # fast shutdown
            self.process.wait(20)


class Slapd(_Service):
    def __init__(self, test, ldif):
        super().__init__(test, "slapd")
        self.port = free_port()
        self.url = f"ldap://127.0.0.1:{self.port}/dc=test"
        self.conf = test.file("slapd.conf", f"""include /etc/ldap/schema/core.schema
include /etc/ldap/schema/cosine.schema
include /etc/ldap/schema/inetorgperson.schema
modulepath /usr/lib/ldap
moduleload back_mdb
pidfile {self.folder}/pid
database mdb
suffix "dc=test"
rootdn "cn=admin,dc=test"
rootpw secret
maxsize 10485760
directory {self.folder}
""")
        self.run(["/usr/sbin/slapadd", "-q", "-f", self.conf], stdin=ldif)
        self.start()

    def start(self):
        self.spawn(["/usr/sbin/slapd", "-d", "0", "-f", self.conf, "-h", f"ldap://127.0.0.1:{self.port}"], self._ready)

    def _ready(self):
        import socket
        try:
            with socket.create_connection(("127.0.0.1", self.port), 1):
                return True
        except OSError:
            return False


class DovecotAuth(_Service):
    """The auth service alone, with a passwd-file of users."""

    def __init__(self, test, users):
        super().__init__(test, "dovecot")
        test.file("dovecot.users", "".join(f"{u}::::::\n" for u in users.split()))
        self.socket = os.path.join(self.folder, "auth-userdb")
        self.conf = test.file("dovecot.conf", f"""base_dir = {self.folder}/run
state_dir = {self.folder}/state
protocols =
ssl = no
log_path = {self.folder}/log
default_internal_user = nobody
default_internal_group = nogroup
default_login_user = nobody
mail_uid = nobody
mail_gid = nogroup
passdb {{
  driver = static
  args = nopassword=y
}}
userdb {{
  driver = passwd-file
  args = username_format=%u {test.path("dovecot.users")}
  default_fields = uid=65534 gid=65534 home=/nonexistent
}}
service auth {{
  unix_listener {self.socket} {{
    mode = 0666
  }}
}}
service stats {{
  unix_listener stats-reader {{
    mode = 0600
  }}
}}
""")
        os.chmod(self.folder, 0o755)
        self.spawn(["/usr/sbin/dovecot", "-F", "-c", self.conf], lambda: os.path.exists(self.socket), root=True)
