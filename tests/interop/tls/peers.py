# SPDX-License-Identifier: MIT
"""How each foreign program is told to show a certificate, to want one, and to speak one version of TLS; and how it says
what we want to know. One class a program, all used alike."""
import os
import shutil

from lab import SERVER
from process import Process

HERE = os.path.dirname(os.path.abspath(__file__))
CLIENT = "client.mesh.example"
LABEL = "EXPORTER-peapod-test"  # export_peer.c and node_peer.js have the same


class Peer:
    """needs: the program; roles: what it can play, as seen from it; version, end: regular expressions of its output;
    echoes: it says what it hears, and nothing of its own; new_keys: what makes it change keys in TLS 1.3, and
    what it says then; ends: the roles in which it can end a connection by itself;
    exports: how it is told to export 48 bytes for LABEL, and what it prints then, each a word and an expression;
    refusal: what the node prints when the peer does not know the authority of the node's certificate."""

    roles = ("connect", "listen")
    ends = ("connect", "listen")
    echoes = False
    new_keys = {}
    exporting, exports = [], {}
    version = r"^version (TLSv1\.[0-9])"
    end = r"^end$"
    refusal = r"^refused: the peer's alert: unknown_ca \(48\)$"

    def __init__(self, certs):
        self.certs = certs

    def file(self, name):
        return os.path.join(self.certs, name)

    def missing(self):
        """Why it cannot be run; None: it can."""
        return None if shutil.which(self.needs) else f"{self.needs} is not installed"

    def start(self, role, version, port=0, cert=None, ca="root", options=()):
        """The program, running. cert: whose, default the role's good one; ca: against which it checks ours."""
        cert = cert or ("client" if role == "connect" else "server")
        return Process(self.name, self.argv(role, version, port, self.file(cert + ".crt"), self.file(cert + ".key"),
                                            self.file(ca + ".crt")) + list(options))


class OpenSSL(Peer):
    name, needs = "openssl", "openssl"
    # s_client says it; of s_server one sees it in the headings of the messages
    version = r"^(?: *Protocol *: |[<>]{3} (?=TLS 1\.[0-9], Handshake .*Finished$))(TLSv1\.[0-9]|TLS 1\.[0-9])"
    ends = ("connect",)  # s_server's commands that end a connection leave close_notify out
    end = r"^(closed|DONE)$"  # of s_client, s_server
    exporting, exports = ["-keymatexport", LABEL, "-keymatexportlen", "48"], {"alone": r"^ *Keying material: (\w{96})$"}
    new_keys = {"its own": ("k\n", "KEYUPDATE|>>> TLS 1.3, Handshake .*KeyUpdate"),
                "ours and its own": ("K\n", "KEYUPDATE|>>> TLS 1.3, Handshake .*KeyUpdate")}

    def argv(self, role, version, port, cert, key, ca):
        common = ["-cert", cert, "-key", key, "-CAfile", ca, "-verify_return_error", "-tls1_" + version[-1]]
        if role == "connect":
            return ["openssl", "s_client", "-connect", f"127.0.0.1:{port}", "-servername", SERVER, "-verify_hostname",
                    SERVER, "-verify", "4"] + common
        return ["openssl", "s_server", "-accept", "127.0.0.1:0", "-naccept", "1", "-Verify", "4", "-msg"] + common


class GnuTLS(Peer):
    version = r"^- Description: \((TLS1\.[0-9])"
    end = r"^- Peer has closed the GnuTLS connection"

    @staticmethod
    def priority(version):
        return f"--priority=NORMAL:-VERS-ALL:+VERS-TLS{version}"


class GnuTLSClient(GnuTLS):
    name = needs = "gnutls-cli"
    roles = ends = ("connect",)
    new_keys = {"its own": ("^rekey1^\n", "- Rekey was completed"),
                "ours and its own": ("^rekey^\n", "- Rekey was completed")}
    refusal = r"^refused: the peer's alert: bad_certificate \(42\)$"  # whatever is wrong with it
    exporting, exports = [f"--keymatexport={LABEL}", "--keymatexportsize=48"], {"alone": r"^- Key material: (\w{96})$"}

    def argv(self, role, version, port, cert, key, ca):
        return ["gnutls-cli", f"--x509certfile={cert}", f"--x509keyfile={key}", f"--x509cafile={ca}", f"--port={port}",
                f"--verify-hostname={SERVER}", f"--sni-hostname={SERVER}", self.priority(version), "--inline-commands", "127.0.0.1"]


class GnuTLSServer(GnuTLS):
    name = needs = "gnutls-serv"
    roles, ends = ("listen",), ()
    echoes = True
    refusal = r"^refused: the peer's alert: access_denied \(49\)$"  # whatever is wrong with it
    end = None  # it says nothing of how a connection ended

    def argv(self, role, version, port, cert, key, ca):
        return ["gnutls-serv", f"--x509certfile={cert}", f"--x509keyfile={key}", f"--x509cafile={ca}", "--port=0",
                "--require-client-cert", "--verify-client-cert", "--echo", self.priority(version)]


class Python(Peer):
    name, needs = "python", "/usr/bin/python3"

    def argv(self, role, version, port, cert, key, ca, name=None, *options):
        name = name or (SERVER if role == "connect" else CLIENT)
        # -W: TLS 1.1 is deprecated, which is why it is tried
        return [self.needs, "-W", "ignore", os.path.join(HERE, "python_peer.py"), role, str(port), cert, key, ca, name,
                version, *options]

    def show(self, role, version, cert, port=0, options=()):
        """Shows any certificate, or none ("-"), and is content with any of ours."""
        files = ("-", "-") if cert == "-" else (self.file(cert + ".crt"), self.file(cert + ".key"))
        return Process(self.name, self.argv(role, version, port, *files, self.file("root.crt"), "-", *options))


class Node(Peer):
    """Ends connections to whom it does not want without an alert."""
    name, needs = "node", "node"
    refusal = r"^closed: .*the stream ended in the middle"
    exports = {what: rf"^{what} (\w+)$" for what in ("alone", "context", "binding")}

    def argv(self, role, version, port, cert, key, ca):
        return ["node", os.path.join(HERE, "node_peer.js"), role, str(port), cert, key, ca,
                SERVER if role == "connect" else CLIENT, version]


ALL = (OpenSSL, GnuTLSClient, GnuTLSServer, Python, Node)
