"""Certificates for tests: self-signed pairs, and a small authority of one's own."""
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
