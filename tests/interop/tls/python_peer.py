# SPDX-License-Identifier: MIT
"""A foreign peer: Python's ssl module (OpenSSL) and blocking sockets.
  python_peer.py connect|listen PORT CERT KEY CA NAME VERSION [OPTION...]
NAME: whom the peer must prove to be, - for anybody (and then any certificate will do). VERSION: 1.1, 1.2, 1.3 or any.
Options: alpn=NAME offers it; cut ends without close_notify. It sends what it reads, and prints one line a fact:
  listening PORT | version TLSv1.3 | peer DER-SHA256 | data TEXT | end (close_notify) | cut (an end without)
  error TEXT"""
import hashlib
import os
import select
import socket
import ssl
import sys


def say(*words):
    sys.stdout.write(" ".join(str(word) for word in words) + "\n")
    sys.stdout.flush()


def context(role, cert, key, ca, name, version, options):
    made = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT if role == "connect" else ssl.PROTOCOL_TLS_SERVER)
    made.set_ciphers("ALL:@SECLEVEL=0")  # it also shows certificates that OpenSSL would rather not
    if version != "any":
        made.minimum_version = made.maximum_version = getattr(ssl.TLSVersion, "TLSv" + version.replace(".", "_"))
    if cert != "-":
        made.load_cert_chain(cert, key)
    made.load_verify_locations(ca)
    made.check_hostname = role == "connect" and name != "-"
    if name != "-":
        made.verify_mode = ssl.CERT_REQUIRED
    else:
        made.verify_mode = ssl.CERT_NONE if role == "connect" else ssl.CERT_OPTIONAL
    for option in options:
        if option.startswith("alpn="):
            made.set_alpn_protocols([option[5:]])
    return made


def read(sock):
    """All that is there. False: that was the end."""
    try:
        while True:
            data = sock.recv(65536)
            if not data:
                say("end")
                return False
            say("data", data.decode(errors="backslashreplace").rstrip("\n"))
    except ssl.SSLWantReadError:
        return True
    except ssl.SSLZeroReturnError:
        say("end")
    except ssl.SSLEOFError:
        say("cut")
    except (ssl.SSLError, OSError) as error:
        say("error", error)
    return False


def end(sock, cut):
    """Ends our direction. The other side's end is still read. False: there is nothing more to read."""
    if cut:
        sock.shutdown(socket.SHUT_RDWR)
        return False
    try:
        sock.unwrap()
    except ssl.SSLWantReadError:
        return True  # ours is said
    except ssl.SSLEOFError:
        say("cut")
        return False
    except (ssl.SSLError, OSError) as error:
        say("error", error)
        return False
    say("end")
    return False


def talk(sock, cut):
    sock.setblocking(False)
    inputs, going = [sock, sys.stdin], True
    while going:
        ready = select.select(inputs, [], [], 30)[0]
        if not ready:
            say("error", "nothing for 30 seconds")
            return
        if sys.stdin in ready:
            line = os.read(0, 65536)
            if line:
                sock.sendall(line)
            else:
                inputs.remove(sys.stdin)
                going = end(sock, cut)
        if going and sock in ready:
            going = read(sock)


def main(role, port, cert, key, ca, name, version, *options):
    if role == "listen":
        listener = socket.create_server(("127.0.0.1", 0))
        say("listening", listener.getsockname()[1])
        raw, _ = listener.accept()
        listener.close()
    else:
        raw = socket.create_connection(("127.0.0.1", int(port)))
    raw.settimeout(30)
    try:
        tls = context(role, cert, key, ca, name, version, options)
        sock = tls.wrap_socket(raw, server_side=role == "listen", suppress_ragged_eofs=False,
                               server_hostname=name if role == "connect" and name != "-" else None)
    except (ssl.SSLError, OSError) as error:
        say("error", error)
        return 1
    say("version", sock.version())
    say("peer", hashlib.sha256(sock.getpeercert(True) or b"").hexdigest())
    talk(sock, "cut" in options)
    sock.close()
    return 0


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
