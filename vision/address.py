"""Where a camera is: what may be opened, with which options, and how to show it without its secrets.

Only cameras' own protocols are opened, and a stream cannot send the reader elsewhere (FFmpeg's protocol whitelist):
a playlist from a camera that names a file of this box is refused. `public_name` goes over every text that leaves.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

OPEN_TIMEOUT_S = READ_TIMEOUT_S = 4.0
_PROTOCOLS = {
    "rtsp": "rtsp,rtp,srtp,tcp,udp",
    "rtsps": "rtsp,rtsps,rtp,srtp,tcp,udp,tls",
    "http": "http,tcp",
    "https": "https,tls,tcp,crypto",
}
# to the last @ of the word, then of what comes before another address: people write passwords with @, / and spaces
_USER_INFO = (re.compile(r"(?<=://)\S*@"), re.compile(r"(?<=://)(?:(?!://)[^\n])*@"))
_SECRET = re.compile(
    r"(?i)\b(\w*(?:pas(?:s(?:word|wd)?)?|psw|pwd|pw|token|secret|auth|key|credential|sig(?:nature)?))=[^&\s'\"]*"
)
_QUERY = re.compile(r"(?<=://)([^\s?'\"]*)\?([^\s'\"]*)")
_HARMLESS = re.compile(r"(?i)(channel|ch|subtype|stream|profile|resolution|fps|width|height)=\w{1,16}")


def public_name(text: str) -> str:
    """*text* without the user, password, token or key of any address in it; rather cut too much than too little: of a
    query only what is known to be harmless is shown."""
    return _SECRET.sub(r"\1=***", _QUERY.sub(_shown_query, _without_user(text)))


def _without_user(text: str) -> str:
    for pattern in _USER_INFO:
        text = pattern.sub("", text)
    return text


def _shown_query(match: re.Match[str]) -> str:
    return f"{match[1]}?{'&'.join(map(_shown_pair, match[2].split('&')))}"


def _shown_pair(pair: str) -> str:
    name, equals, _ = pair.partition("=")
    return pair if _HARMLESS.fullmatch(pair) else f"{name[:16]}=***" if equals else "***"


class CameraAddress:
    """``rtsp(s)://``, ``http(s)://``, a file, or ``/dev/videoN``; anything else is a ValueError."""

    def __init__(self, text: str) -> None:
        self._text = text
        self.shown = public_name(text)
        self.is_device = text.startswith("/dev/")
        scheme = text.partition("://")[0].lower() if "://" in text else ""
        self.is_file = not scheme and not self.is_device
        self._protocols = _PROTOCOLS.get(scheme, "")
        if scheme and not self._protocols:
            raise ValueError(f"{self.shown}: use rtsp://, rtsps://, http://, https://, a file or /dev/videoN")
        if scheme and not urlsplit(_without_user(text)).hostname:
            raise ValueError(f"{self.shown}: the address names no host")

    def open(self, hwaccel: Any = None) -> Any:
        """The opened PyAV container, after at most OPEN_TIMEOUT_S; raises OSError or av.FFmpegError. ``hwaccel``: see
        `vision.hardware`."""
        import av

        timeout = (OPEN_TIMEOUT_S, READ_TIMEOUT_S)
        if self.is_file:
            if not Path(self._text).is_file():
                raise FileNotFoundError("no such video file")
            return av.open(self._text, options={"protocol_whitelist": "file"}, hwaccel=hwaccel)
        if self.is_device:
            return av.open(self._text, format="v4l2", timeout=timeout, hwaccel=hwaccel)
        options = {"probesize": "65536", "analyzeduration": "500000", "protocol_whitelist": self._protocols}
        if self._protocols.startswith("rtsp"):
            options["rtsp_transport"] = "tcp"
        return av.open(self._text, options=options, timeout=timeout, hwaccel=hwaccel)
