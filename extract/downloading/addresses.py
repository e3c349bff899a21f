"""Which addresses a download may connect to: whatever a site's answers say, none inside of the user's own network.

Redirects, pieces and keys of playlists can name any address. So each connection of the download's process is looked
at when it is made, after names are resolved (`sys.addaudithook`: no library can go past it). ffmpeg, whose
connections are its own, is never started on an address.
"""

from __future__ import annotations

import ipaddress
import os
import re
import socket
import sys
from collections.abc import Collection, Iterable
from typing import Any
from urllib.parse import urlsplit
from urllib.request import getproxies

SCHEMES = frozenset({"http", "https", "file"})
"""Of source videos."""

_PORTS = {"http": 80, "https": 443, "socks4": 1080, "socks5": 1080, "socks5h": 1080}
_REMOTE = re.compile(r"(?!file:)[a-z][a-z0-9+.-]*://", re.IGNORECASE)
_OWN_NETWORK = (".local", ".lan", ".internal", ".home.arpa", ".localhost")

Endpoint = tuple[str, int]


class PrivateAddressError(OSError):
    """A connection into the user's own network was asked for, and refused."""


def refuse_private_addresses(url: str, *, proxy: str | None = None, hosts: Collection[str] = ()) -> None:
    """Refuse, from here to the end of this process, connections to private, loopback and link-local addresses.

    Parameters
    ----------
    url
        The source. Where it names a host of the user's own network itself (an address, or a name as only such
        networks have: without a dot, ``.local`` ...), that very host and port are allowed.
    proxy
        The proxy, which is allowed, too; those of the environment are.
    hosts
        Further hosts that may have private addresses, with any port.
    """
    allowed = set(_endpoints(filter(None, [proxy, *getproxies().values()])))
    if _is_own_network(urlsplit(url).hostname or ""):
        allowed.update(_endpoints([url]))
    anywhere = {ip for host in hosts for ip in _resolved(host)}

    def look(event: str, arguments: tuple[Any, ...]) -> None:
        if event == "socket.connect":
            _check(arguments[1], allowed, anywhere)
        elif event == "subprocess.Popen":
            _check_program(arguments[1])

    sys.addaudithook(look)


def _check(address: Any, allowed: Collection[Endpoint], anywhere: Collection[str]) -> None:
    if not isinstance(address, tuple):  # a socket in the file system
        return
    host, port = str(address[0]), int(address[1])
    for ip in [host] if _ip(host) else _resolved(host):
        known = _ip(ip)
        if known is None or (known.is_global and not known.is_multicast):
            continue
        if (ip, port) not in allowed and ip not in anywhere:
            raise PrivateAddressError(f"{host}:{port} is a private address: a source may not lead there")


def _check_program(arguments: Any) -> None:
    words = [arguments] if isinstance(arguments, str | bytes | os.PathLike) else list(arguments or ())
    for word in map(os.fsdecode, words):
        if _REMOTE.match(word):
            raise PrivateAddressError(
                f"{word[:80]} is left to ffmpeg, which could be led to a private address"
            )


def _is_own_network(host: str) -> bool:
    return _ip(host) is not None or "." not in host or host.lower().endswith(_OWN_NETWORK)


def _endpoints(urls: Iterable[str]) -> Iterable[Endpoint]:
    for url in urls:
        try:
            parts = urlsplit(url if "://" in url else f"http://{url}")
            port = parts.port or _PORTS.get(parts.scheme, 80)
        except ValueError:
            continue
        for ip in _resolved(parts.hostname or ""):
            yield ip, port


def _resolved(host: str) -> set[str]:
    try:
        return {str(found[4][0]) for found in socket.getaddrinfo(host, None)} if host else set()
    except (OSError, UnicodeError):
        return set()


def _ip(text: str) -> ipaddress.IPv4Address | ipaddress.IPv6Address | None:
    """Return an address, one of IPv4 that is written as IPv6 as what it is."""
    try:
        found = ipaddress.ip_address(text.partition("%")[0])
    except ValueError:
        return None
    return getattr(found, "ipv4_mapped", None) or found
