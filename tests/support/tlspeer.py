"""SMTP servers that are odd in their TLS: each has an address, a certificate or none, and a way to misbehave. They note how mail came.

    peer = tlspeer.Peer(test, "127.0.1.5", 25, certificate=base, way="stall")
    peer.got                  {recipient: "TLSv1.3" | "clear"}
    peer.asked                how often STARTTLS was said

Ways: `plain` does not offer STARTTLS (or somebody took it away), `stall` says 220 and then nothing, `garbage` says 220 and then nonsense,
`refuse` offers it and says 454, `close` closes after 220, `old` speaks TLS 1.1 at most, `inject` sends
another reply behind the 220. With `base` as a path, base.cert and base.key are used."""
import socket
import ssl
import threading


def server_context(base, old=False, client_ca=None):
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(base + ".cert", base + ".key")
    if old:
        context.set_ciphers("DEFAULT:@SECLEVEL=0")
        context.minimum_version = context.maximum_version = ssl.TLSVersion.TLSv1_1
    if client_ca:
        context.verify_mode = ssl.CERT_OPTIONAL
        context.load_verify_locations(client_ca)
    return context


class Peer:
    def __init__(self, test, address, port, base=None, way="", client_ca=None):
        self.way, self.got, self.clients = way, {}, []
        self.context = server_context(base, way == "old", client_ca) if base else None
        self.resumed = self.asked = 0
        self.listener = socket.create_server((address, port), backlog=64)
        self.address, self.port = address, self.listener.getsockname()[1]
        self.open = []
        threading.Thread(target=self._accept, daemon=True).start()
        test.addCleanup(self.close)

    def close(self):
        for s in [self.listener, *self.open]:
            try:
                s.close()
            except OSError:
                pass

    def _accept(self):
        while True:
            try:
                s = self.listener.accept()[0]
            except OSError:
                return
            self.open.append(s)
            threading.Thread(target=self._guarded, args=(s,), daemon=True).start()

    def _guarded(self, s):
        try:
            s.settimeout(60)
            self._serve(s)
        except (OSError, ValueError):
            pass
        finally:
            s.close()

    def _start_tls(self, s):
        """The socket from now on; None ends the session."""
        self.asked += 1
        if self.way == "refuse":
            s.sendall(b"454 4.7.0 not now\r\n")
            return s
        s.sendall(b"220 go on\r\n" + (b"250 injected\r\n" if self.way == "inject" else b""))
        if self.way == "stall":
            while s.recv(4096):
                pass
            return None
        if self.way == "garbage":
            s.recv(4096)
            s.sendall(b"this is not TLS\r\n" * 4)
            return None
        if self.way == "close":
            return None
        tls = self.context.wrap_socket(s, server_side=True)
        self.open.append(tls)
        self.resumed += bool(tls.session_reused)
        certificate = tls.getpeercert()
        if certificate:
            self.clients.append(dict(x[0] for x in certificate["subject"]).get("commonName"))
        return tls

    def _serve(self, s):
        how, f, clear = "clear", s.makefile("rb"), s
        recipients = []
        s.sendall(b"220 peer ESMTP\r\n")
        while line := f.readline():
            verb = line[:4].upper()
            if verb == b"EHLO":
                offer = self.way != "plain" and s is clear
                s.sendall(b"250-peer\r\n" + (b"250-STARTTLS\r\n" if offer else b"") + b"250 8BITMIME\r\n")
            elif verb == b"STAR":
                tls = self._start_tls(s)
                if tls is None:
                    return
                if tls is not s:
                    s, f, how = tls, tls.makefile("rb"), tls.version()
            elif verb == b"RCPT":
                recipients.append(line.split(b"<")[1].split(b">")[0].decode())
                s.sendall(b"250 ok\r\n")
            elif verb == b"DATA":
                s.sendall(b"354 go on\r\n")
                while f.readline() not in (b".\r\n", b""):
                    pass
                for r in recipients:
                    self.got[r] = how
                s.sendall(b"250 taken\r\n")
                recipients = []
            elif verb == b"QUIT":
                s.sendall(b"221 bye\r\n")
                return
            else:
                s.sendall(b"250 ok\r\n")
