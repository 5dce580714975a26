"""Which addresses of a centre are allowed: plain HTTP would show everyone on the way what a kitchen's cameras saw."""

from __future__ import annotations

import ipaddress
from urllib.parse import urlsplit


def check_server_url(url: str) -> str:
    """The URL without its trailing slash; raises ValueError with the remedy."""
    try:
        parts = urlsplit(url)
        _ = parts.port  # ValueError when it is no number
    except ValueError as error:
        raise ValueError("must be an address such as https://centre.example") from error
    if parts.scheme not in ("http", "https") or not parts.hostname:
        raise ValueError("must be an address such as https://centre.example")
    if parts.username or parts.password:
        raise ValueError("must not hold a password")
    if parts.scheme == "http" and not _is_loopback(parts.hostname):
        raise ValueError("must be https:// (http:// is allowed to this machine itself only)")
    return url.rstrip("/")


def _is_loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"
