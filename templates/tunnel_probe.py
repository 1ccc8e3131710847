"""Tries one UDP port of a node, on the node's own network: `listen PORT`, or `send PORT ADDRESS...`.

Who listens sends everything back until it is told to end. Who sends is done as soon as every address has answered, or
after WAIT_SECONDS. The report is the termination message: docs/reference/host-tasks.md. Standard library only,
Python >= 3.9.
"""

import errno
import json
import os
import select
import signal
import socket
import sys
import time
from pathlib import Path
from typing import Any

EVERY = 0.25
"""Seconds between two datagrams to who has not answered."""

FREED = 1.0
"""Seconds for which a port that is taken is tried again: whoever listened there before may be ending."""

OK, FAILED = 0, 1


def family_of(address: str) -> socket.AddressFamily:
    """IPv6 or IPv4."""
    return socket.AF_INET6 if ":" in address else socket.AF_INET


def bound(port: int, family: socket.AddressFamily) -> socket.socket:
    """A socket on every address of the node, as a tunnel has it.

    Raises:
        OSError: the port cannot be had.
    """
    found = socket.socket(family, socket.SOCK_DGRAM)
    try:
        if family == socket.AF_INET6:
            found.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
        found.bind(("", port))
    except OSError:
        found.close()
        raise
    return found


def listen(port: int, address: str) -> tuple[int, dict[str, Any]]:
    """Send back what comes to the port; the exit code and the report when it cannot be had."""
    end = time.monotonic() + FREED
    while True:
        try:
            here = bound(port, family_of(address))
            break
        except OSError as error:
            if error.errno != errno.EADDRINUSE or time.monotonic() >= end:
                taken = error.errno == errno.EADDRINUSE
                return FAILED, {"error": "taken" if taken else "refused", "said": error.strerror}
            time.sleep(EVERY)
    with here:
        while True:
            try:
                what, who = here.recvfrom(2048)
                here.sendto(what, who)
            except OSError:
                continue  # an answer that cannot be sent is one that does not come


def send(port: int, addresses: list[str], wait: float) -> tuple[int, dict[str, Any]]:
    """Send to the port of every address; the exit code, and by number who has not answered, with why if it is known."""
    silent = dict.fromkeys(range(len(addresses)), "")
    kinds = {family_of(address) for address in addresses}
    sockets = {kind: bound(0, kind) for kind in kinds}
    token = os.urandom(8).hex()
    end = time.monotonic() + wait
    again = 0.0
    while silent and (left := end - time.monotonic()) > 0:
        if time.monotonic() >= again:
            again = time.monotonic() + EVERY
            for number in list(silent):
                address = addresses[number]
                try:
                    sockets[family_of(address)].sendto(f"{token}/{number}".encode(), (address, port))
                    silent[number] = ""
                except OSError as error:
                    silent[number] = error.strerror or str(error)
        ready, _, _ = select.select(list(sockets.values()), [], [], min(left, EVERY))
        for one in ready:
            try:
                said, _, number = one.recv(2048).decode(errors="replace").partition("/")
            except OSError:
                continue
            if said == token and number.isdecimal():
                silent.pop(int(number), None)
    return OK, {"silent": sorted(silent), "why": {number: why for number, why in silent.items() if why}}


def report(code: int, what: dict[str, Any]) -> int:
    """Leave the report where the kubelet looks for it."""
    log = Path(os.environ.get("TERMINATION_LOG", "/dev/termination-log"))
    log.write_text(json.dumps(what, separators=(",", ":")), encoding="utf-8")
    return code


def main(arguments: list[str]) -> int:
    """Do what is asked.

    Raises:
        ValueError: it is not known.
    """
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(OK))
    what, port, *addresses = arguments
    if what == "listen":
        return report(*listen(int(port), os.environ.get("NODE_IP", "")))
    if what == "send":
        return report(*send(int(port), addresses, float(os.environ.get("WAIT_SECONDS", "10"))))
    raise ValueError(what)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
