"""Refuse connections to other machines in every Python process that has this folder on its path.

pytest-socket reaches only the pytest process; kernels are processes of their own, and they
read this file at start. Loopback and Unix sockets pass, Jupyter needs them. It guards against
accidents; C code can pass it, so it is no sandbox.
"""

import ipaddress
import json
import os
import socket
import sys

LOCAL_NAMES = {None, "", "localhost", "localhost.localdomain", "ip6-localhost"}


class NetworkBlocked(OSError):
    """A test or a lesson tried to reach another machine."""


def is_local(host):
    """Whether a host is this machine: a loopback address or its name."""
    if isinstance(host, bytes):
        host = host.decode("ascii", "replace")
    if host in LOCAL_NAMES:
        return True
    try:
        address = ipaddress.ip_address(host.split("%")[0])
    except ValueError:
        return False
    return address.is_loopback or address.is_unspecified


def refuse(host):
    """Raise the error that names the host and the way out."""
    raise NetworkBlocked(f"no network in tests and builds: {host!r} was refused (tests/offline)")


def block():
    """Replace the parts of ``socket`` that open connections; a second call does nothing."""
    if getattr(socket, "course_blocked", False):
        return
    socket.course_blocked = True
    plain_connect = socket.socket.connect
    plain_connect_ex = socket.socket.connect_ex
    plain_sendto = socket.socket.sendto
    plain_getaddrinfo = socket.getaddrinfo
    plain_gethostbyname = socket.gethostbyname

    def check(sock, address):
        internet = sock.family in (socket.AF_INET, socket.AF_INET6)
        if internet and not (isinstance(address, tuple) and is_local(address[0])):
            refuse(address)

    def connect(self, address):
        check(self, address)
        return plain_connect(self, address)

    def connect_ex(self, address):
        check(self, address)
        return plain_connect_ex(self, address)

    def sendto(self, data, *rest):
        check(self, rest[-1])
        return plain_sendto(self, data, *rest)

    def getaddrinfo(host, *rest, **options):
        if not is_local(host):
            refuse(host)
        return plain_getaddrinfo(host, *rest, **options)

    def gethostbyname(host):
        if not is_local(host):
            refuse(host)
        return plain_gethostbyname(host)

    # methods set on the class reach every socket, also those made by subclasses such as ssl's
    socket.socket.connect = connect
    socket.socket.connect_ex = connect_ex
    socket.socket.sendto = sendto
    socket.getaddrinfo = getaddrinfo
    socket.gethostbyname = gethostbyname


def note_folders(folders, report):
    """Write the name of each watched folder from which this process opens a file.

    ``python -m course_utils timings`` learns in this way which assets a notebook used.

    Args:
        folders: name → folder.
        report: file to which the names are appended, one a line.
    """
    waiting = {name: folder.rstrip(os.sep) + os.sep for name, folder in folders.items()}

    def note(event, args):
        if event != "open" or not waiting or not isinstance(args[0], str):
            return
        for name in [n for n, folder in waiting.items() if args[0].startswith(folder)]:
            del waiting[name]
            with open(report, "a", encoding="utf-8") as file:
                file.write(name + "\n")

    sys.addaudithook(note)


block()
if os.environ.get("COURSE_WATCH_FOLDERS"):
    note_folders(json.loads(os.environ["COURSE_WATCH_FOLDERS"]), os.environ["COURSE_OPENED"])
