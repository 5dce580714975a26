"""The local web page on which an installer draws zones and masks on a live picture: one camera, one person, one token.

Listens on this machine only unless told otherwise. The token of the printed address is good once, for the browser that
opens it first, which gets a cookie; names of other hosts are refused (DNS rebinding). The page writes at most one file,
the one that the command line named. The picture never goes to a disk.
"""

from __future__ import annotations

import hmac
import json
import secrets
import threading
from http.cookies import CookieError, SimpleCookie
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from types import TracebackType
from typing import Any
from urllib.parse import parse_qs, urlsplit

import cv2
import numpy as np

from vision.frame import Frame
from vision.source import SourceLost, VideoSource
from vision.zones_draft import Draft, as_yaml, check_draft

BODY_BYTES_MAX = 256 * 1024
PICTURE_WAIT_S = 8.0
REQUEST_S_MAX = 10.0  # a browser that opens a connection and says nothing
PAGE = Path(__file__).with_name("zones_page.html")
COOKIE = "bl_zones"
HEADERS = {
    "cache-control": "no-store",
    "content-security-policy": "default-src 'none'; img-src 'self' blob:; style-src 'unsafe-inline'; "
    "script-src 'unsafe-inline'; connect-src 'self'; frame-ancestors 'none'",
    "referrer-policy": "no-referrer",
    "x-content-type-options": "nosniff",
}


class LatestPicture:
    """The newest picture of a camera, read in a thread of its own while this is open."""

    def __init__(self, source: str) -> None:
        """Raises ValueError for an address that cannot work."""
        self._source = VideoSource(source, rate_fps=2)
        self._stop = threading.Event()
        self._news = threading.Condition()
        self._item: Frame | SourceLost | None = None
        self._thread = threading.Thread(target=self._read, name="zones picture", daemon=True)

    def __enter__(self) -> LatestPicture:
        self._thread.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self._stop.set()
        self._thread.join(PICTURE_WAIT_S)

    def _read(self) -> None:
        with self._source as source:
            for item in source:
                with self._news:
                    self._item = item
                    self._news.notify_all()
                if self._stop.is_set():
                    return

    def jpeg(self) -> tuple[bytes, str]:
        """The picture, or none and the reason."""
        with self._news:
            self._news.wait_for(lambda: self._item is not None, PICTURE_WAIT_S)
            item = self._item
        if not isinstance(item, Frame):
            return b"", item.reason if item else "no picture has come yet"
        return np.asarray(cv2.imencode(".jpg", item.image)[1]).tobytes(), ""


class ZonesServer:
    """A context manager; ``address`` holds the token."""

    def __init__(self, source: str, draft: Draft, save: Path | None, host: str = "127.0.0.1", port: int = 0) -> None:
        """Raises ValueError for the source, OSError for the port."""
        self.draft, self.save = draft, save
        self._token = secrets.token_urlsafe(24)
        self._cookie = secrets.token_urlsafe(24)
        self._lock = threading.Lock()
        self.picture = LatestPicture(source)
        self._http = _Http((host, port), self)
        self.hosts = {f"{name}:{self._http.server_port}" for name in (host, "127.0.0.1", "localhost")}
        self.address = f"http://{host}:{self._http.server_port}/?token={self._token}"

    def __enter__(self) -> ZonesServer:
        self.picture.__enter__()
        self._thread = threading.Thread(target=self._http.serve_forever, name="zones page", daemon=True)
        self._thread.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self._http.shutdown()
        self._http.server_close()
        self._thread.join()
        self.picture.__exit__(kind, error, at)

    def redeem(self, token: str) -> str:
        """The cookie for the first who brings the token; empty for anybody else."""
        with self._lock:
            if not self._token or not hmac.compare_digest(token.encode(), self._token.encode()):
                return ""
            self._token = ""
        return self._cookie

    def knows(self, cookie: str) -> bool:
        return hmac.compare_digest(cookie.encode(), self._cookie.encode())

    def take(self, body: bytes, *, save: bool) -> dict[str, Any]:
        """The draft of the page as YAML, also saved when *save*; raises ValueError or OSError."""
        draft = check_draft(json.loads(body))
        text = as_yaml(draft)
        if not save:
            return {"yaml": text}
        if self.save is None:
            raise ValueError("no file was named with --save; copy the text")
        part = self.save.with_name(f"{self.save.name}.part")
        part.write_text(text, "utf-8")
        part.rename(self.save)
        self.draft = draft
        return {"yaml": text, "saved": self.save.name}


class _Http(ThreadingHTTPServer):
    daemon_threads = True

    def __init__(self, address: tuple[str, int], zones: ZonesServer) -> None:
        self.zones = zones
        super().__init__(address, _Handler)


class _Handler(BaseHTTPRequestHandler):
    """Answers one browser."""

    server: _Http

    timeout = REQUEST_S_MAX
    protocol_version = "HTTP/1.1"

    def log_message(self, format: str, *args: Any) -> None:
        """Nothing: a request line holds the token."""

    def do_GET(self) -> None:
        path, query = urlsplit(self.path).path, parse_qs(urlsplit(self.path).query)
        token = query.get("token", [""])[0]
        if path == "/" and token and self._is_ours() and (secret := self.server.zones.redeem(token)):
            cookie = f"{COOKIE}={secret}; HttpOnly; SameSite=Strict; Path=/"
            self._answer(303, b"", "text/plain", {"location": "/", "set-cookie": cookie})
        elif not self._may():
            self._answer(403, b"open the address that the command printed\n", "text/plain")
        elif path == "/":
            self._answer(200, PAGE.read_bytes(), "text/html; charset=utf-8")
        elif path == "/draft":
            save = self.server.zones.save
            self._json(200, {**self.server.zones.draft, "save": save.name if save else None})
        elif path == "/picture":
            jpeg, reason = self.server.zones.picture.jpeg()
            self._answer(200, jpeg, "image/jpeg") if jpeg else self._json(503, {"problem": reason})
        else:
            self._answer(404, b"", "text/plain")

    def do_POST(self) -> None:
        length = self.headers.get("content-length", "")
        origin = self.headers.get("origin", "")
        if not self._may() or (origin and urlsplit(origin).netloc not in self.server.zones.hosts):
            self._answer(403, b"", "text/plain")
        elif self.path not in ("/yaml", "/save"):
            self._answer(404, b"", "text/plain")
        elif not length.isdecimal() or int(length[:12]) > BODY_BYTES_MAX:
            self._answer(413, b"", "text/plain")
        else:
            body = self.rfile.read(int(length))
            try:
                self._json(200, self.server.zones.take(body, save=self.path == "/save"))
            except (ValueError, OSError, RecursionError) as error:
                self._json(422, {"problem": str(error)[:300]})

    def _is_ours(self) -> bool:
        return self.headers.get("host", "") in self.server.zones.hosts

    def _may(self) -> bool:
        try:
            cookie = SimpleCookie(self.headers.get("cookie", "")).get(COOKIE)
        except CookieError:
            return False
        return self._is_ours() and cookie is not None and self.server.zones.knows(cookie.value)

    def _json(self, status: int, data: dict[str, Any]) -> None:
        self._answer(status, json.dumps(data).encode(), "application/json")

    def _answer(self, status: int, body: bytes, kind: str, more: dict[str, str] | None = None) -> None:
        self.send_response(status)
        own = {"content-type": kind, "content-length": str(len(body)), **(more or {})}
        for name, value in (*HEADERS.items(), *own.items()):
            self.send_header(name, value)
        if status >= 400:
            self.send_header("connection", "close")  # what was not read of a body is no next request
            self.close_connection = True
        self.end_headers()
        self.wfile.write(body)
