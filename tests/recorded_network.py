"""Run a command in a network of its own that answers for the whole world, and write down what it asks of it.

``python -m tests.recorded_network OUT COMMAND...``: in a new network namespace, every address is this machine. A name
server answers each lookup with one address, and listeners take what connects to it. `OUT` gets JSON: ``lookups``,
names; ``connections``, addresses with ports that are not the loopback's. Exit status 77: no namespace could be made.
"""

import ctypes
import json
import os
import socket
import struct
import subprocess
import sys
import threading
import time
from pathlib import Path

UNAVAILABLE = 77
_NEW_USER, _NEW_NET = 0x10000000, 0x40000000
_PORTS = (80, 443, 853, 4200, 8080, 11434)
_THERE = "198.51.100.7"  # of a range for documentation


def main(out: Path, command: list[str]) -> int:
    user, group = os.getuid(), os.getgid()
    if ctypes.CDLL(None).unshare(_NEW_USER | _NEW_NET):
        return UNAVAILABLE
    try:
        Path("/proc/self/setgroups").write_text("deny")
        Path("/proc/self/uid_map").write_text(f"0 {user} 1")
        Path("/proc/self/gid_map").write_text(f"0 {group} 1")
        _everything_is_here()
    except OSError:
        return UNAVAILABLE
    lookups: list[str] = []
    connections: list[str] = []
    threading.Thread(target=_answer_lookups, args=(lookups,), daemon=True).start()
    for port in _PORTS:
        threading.Thread(target=_take_connections, args=(port, connections), daemon=True).start()
    status = subprocess.run(command, check=False).returncode
    time.sleep(0.5)  # what was asked last is still being written down
    out.write_text(json.dumps({"lookups": sorted(set(lookups)), "connections": sorted(set(connections))}))
    return status


def _everything_is_here() -> None:
    """Bring the loopback up, and let it take every address: `ip route add local default dev lo`."""
    with socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, 0) as netlink:
        netlink.bind((0, 0))
        link = struct.pack("=BBHiII", socket.AF_UNSPEC, 0, 0, 1, 1, 1)  # interface 1, IFF_UP
        _ask(netlink, 16, 0, link)
        # Table 255 (local), protocol boot, scope host, type local; RTA_OIF.
        route = struct.pack("=BBBBBBBBI", socket.AF_INET, 0, 0, 0, 255, 3, 254, 2, 0)
        route += struct.pack("=HHI", 8, 4, 1)
        _ask(netlink, 24, 0x400, route)


def _ask(netlink: socket.socket, kind: int, flags: int, body: bytes) -> None:
    request_and_answer = 1 | 4
    netlink.send(struct.pack("=IHHII", 16 + len(body), kind, request_and_answer | flags, 1, 0) + body)
    (error,) = struct.unpack_from("=i", netlink.recv(4096), 16)
    if error:
        raise OSError(-error, os.strerror(-error))


def _answer_lookups(lookups: list[str]) -> None:
    server = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    server.bind(("0.0.0.0", 53))
    while True:
        packet, asker = server.recvfrom(4096)
        labels, at = [], 12
        while packet[at]:
            labels.append(packet[at + 1 : at + 1 + packet[at]].decode("ascii", "replace"))
            at += 1 + packet[at]
        lookups.append(".".join(labels))
        question, kind = packet[12 : at + 5], packet[at + 2]
        answers = 1 if kind == 1 else 0
        header = packet[:2] + struct.pack(">HHHHH", 0x8180, 1, answers, 0, 0)
        record = struct.pack(">HHHIH", 0xC00C, 1, 1, 60, 4) + socket.inet_aton(_THERE)
        server.sendto(header + question + record * answers, asker)


def _take_connections(port: int, connections: list[str]) -> None:
    server = socket.create_server(("0.0.0.0", port))
    while True:
        connection, _ = server.accept()
        address = connection.getsockname()[0]
        if not address.startswith("127."):
            connections.append(f"{address}:{port}")
        connection.close()


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1]), sys.argv[2:]))
