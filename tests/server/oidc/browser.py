"""A browser that signs in through the provider, and what the audit log says of it."""

from __future__ import annotations

from http.client import HTTPConnection
from urllib.parse import urlsplit

import httpx
from sqlalchemy import select

from server.audit import verify_audit
from server.models_audit import AuditEntry
from tests.server.centre import PASSWORD
from tests.server.tenancy.district import District, Somebody


def callback_of(left: httpx.Response) -> str:
    """Where the provider sends a browser back to that the centre sent there, as a path of the centre."""
    assert left.status_code in (200, 303), left.text
    url = left.headers.get("location") or left.text.split('id="oidc-continue" href="')[1].split('"')[0]
    return pass_provider(url.replace("&amp;", "&"))


def pass_provider(url: str) -> str:
    """What the provider makes of a browser that is sent there: the callback, as a path of the centre."""
    there = urlsplit(url)
    connection = HTTPConnection(there.netloc, timeout=30.0)
    connection.request("GET", f"{there.path}?{there.query}")
    back = urlsplit(connection.getresponse().headers["location"])
    connection.close()
    assert (back.scheme, back.netloc) == ("https", "centre.example")
    return f"{back.path}?{back.query}"


class Browser:
    """One browser: its cookies, and the provider as it reaches it."""

    def __init__(self, centre: District, who: Somebody | None = None) -> None:
        self.centre = centre
        self.cookies = {"bl_session": who.cookie} if who else {}
        self.csrf = who.csrf if who else ""

    def open(self, path: str, **headers: str) -> httpx.Response:
        return self._keep(self.centre.client_.request("GET", path, headers=self._said(headers)))

    def send(self, path: str, **fields: str) -> httpx.Response:
        form = {"csrf": self.csrf, **fields}
        return self._keep(self.centre.client_.request("POST", path, data=form, headers=self._said({})))

    def _said(self, headers: dict[str, str]) -> dict[str, str]:
        cookies = "; ".join(f"{name}={value}" for name, value in self.cookies.items())
        return {"accept-language": "en", **({"cookie": cookies} if cookies else {}), **headers}

    def _keep(self, answer: httpx.Response) -> httpx.Response:
        for line in answer.headers.get_list("set-cookie"):
            name, value = line.partition(";")[0].split("=", 1)
            self.cookies.pop(name, None)
            if "Max-Age=0" not in line:
                self.cookies[name] = value
        return answer

    def leave(self) -> str:
        """Begin a sign-in and pass the provider; the callback that is not opened yet."""
        return callback_of(self.open("/oidc/login"))

    def sign_in(self) -> httpx.Response:
        return self.open(self.leave())

    def leave_to_link(self) -> str:
        return callback_of(self.send("/oidc/link", password=PASSWORD))

    def link(self) -> httpx.Response:
        return self.open(self.leave_to_link())

    def is_in(self) -> bool:
        return self.open("/api/v1/alerts").status_code == 200


def actions(centre: District, user_id: object) -> list[str]:
    with centre.database() as db:
        assert verify_audit(db)[1] == []
        found = select(AuditEntry.action).where(AuditEntry.object_id == str(user_id)).order_by(AuditEntry.seq)
        return list(db.scalars(found))


def newest(centre: District) -> AuditEntry:
    with centre.database() as db:
        return db.scalars(select(AuditEntry).order_by(AuditEntry.seq.desc()).limit(1)).one()
