"""Certificates for tests: self-signed pairs, and a small authority of one's own."""
import hashlib
import os
import ssl
import subprocess


def openssl(*args, stdin=None):
    return subprocess.run(["openssl", *args], input=stdin, check=True, capture_output=True).stdout


def new_key(key):
    return ["-newkey", "rsa:2048"] if key == "rsa" else ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256"]


def certificate(path, name, key="ec", days=30):
    """A self-signed pair: path.cert, path.key."""
    openssl("req", "-x509", *new_key(key), "-nodes", "-keyout", path + ".key", "-out", path + ".cert.new", "-days", str(days),
            "-subj", f"/CN={name}", "-addext", f"subjectAltName=DNS:{name}")
    os.chmod(path + ".key", 0o644)  # the servers run as an ordinary user from the start
    os.rename(path + ".cert.new", path + ".cert")
    return f'certificate = "{path}.cert" key = "{path}.key"'


def anybody():
    """A client's context that takes any certificate."""
    context = ssl.create_default_context()
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    return context


class Authority:
    """A root of one's own: root.pem, and what it signs."""

    def __init__(self, folder, name="Test root"):
        self.folder, self.root, self._key = folder, os.path.join(folder, "root.pem"), os.path.join(folder, "root.secret")
        openssl("req", "-x509", *new_key("ec"), "-nodes", "-keyout", self._key, "-out", self.root, "-days", "30",
                "-subj", f"/CN={name}")
        os.chmod(self.root, 0o644)
        with open(os.path.join(folder, "ca.conf"), "w") as f:
            f.write(f"""[ca]
default_ca = here
[here]
database = {folder}/ca.index
unique_subject = no
rand_serial = yes
new_certs_dir = {folder}
certificate = {self.root}
private_key = {self._key}
default_md = sha256
policy = any
copy_extensions = copy
[any]
commonName = supplied
""")
        open(os.path.join(folder, "ca.index"), "w").close()

    def issue(self, path, *names, key="ec", expired=False):
        """path.cert (chain), path.leaf, path.key."""
        alternatives = ",".join(f"DNS:{n}" for n in names)
        openssl("req", *new_key(key), "-nodes", "-keyout", path + ".key", "-out", path + ".csr", "-subj", f"/CN={names[0]}",
                "-addext", f"subjectAltName={alternatives}")
        span = ["-startdate", "20200101000000Z", "-enddate", "20200201000000Z"] if expired else ["-days", "30"]
        openssl("ca", "-batch", "-notext", "-config", os.path.join(self.folder, "ca.conf"), "-in", path + ".csr",
                "-out", path + ".leaf", *span)
        with open(path + ".cert.new", "w") as out:
            for part in (path + ".leaf", self.root):
                with open(part) as f:
                    out.write(f.read())
        for part in (path + ".key", path + ".cert.new"):
            os.chmod(part, 0o644)
        os.rename(path + ".cert.new", path + ".cert")
        return path


def tlsa(path, usage, selector, matching):
    """The TLSA record for the first certificate of a file."""
    if selector == 1:
        key = openssl("x509", "-in", path, "-pubkey", "-noout")
        octets = openssl("pkey", "-pubin", "-outform", "DER", stdin=key)
    else:
        octets = openssl("x509", "-in", path, "-outform", "DER")
    data = {0: octets.hex, 1: hashlib.sha256(octets).hexdigest, 2: hashlib.sha512(octets).hexdigest}[matching]()
    return f"{usage} {selector} {matching} {data}"
