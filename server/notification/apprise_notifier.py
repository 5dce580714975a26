"""Mail, the bots of WeCom, DingTalk and Feishu, and plain JSON webhooks, all through Apprise.

People give a mail address or a bot's webhook, never an Apprise URL: whatever else Apprise can reach stays closed to
them. Apprise writes addresses and tokens into its log, so it has none here.
"""

from __future__ import annotations

import json
import logging
import re
from collections.abc import Collection
from typing import Any
from urllib.parse import quote, urlencode, urlsplit

from server.notification.egress import check_url, host_port
from server.notification.port import Message, Recipient, Undelivered

CONNECT_S = 4.0
READ_S = 8.0
_MAIL = re.compile(r"[A-Za-z0-9.!#$%&*+/=?^_`{|}~-]{1,64}@[A-Za-z0-9-]{1,63}(?:\.[A-Za-z0-9-]{1,63})+")
_CODE = r"[A-Za-z0-9_-]{8,128}"
_BOTS = {
    "wecombot": re.compile(rf"(?:https://qyapi\.weixin\.qq\.com/cgi-bin/webhook/send\?key=)?({_CODE})"),
    "dingtalk": re.compile(rf"(?:https://oapi\.dingtalk\.com/robot/send\?access_token=)?({_CODE})"),
    "feishu": re.compile(rf"(?:https://open\.feishu\.cn/open-apis/bot/v2/hook/)?({_CODE})/?"),
}


class AppriseNotifier:
    """``mail_url``: the mail server as an Apprise URL (``mailtos://name:password@server?from=...``), a secret."""

    def __init__(
        self, *, mail_url: str | None = None, trusted_hosts: Collection[str] = (), read_s: float = READ_S
    ) -> None:
        for name in ("apprise", "urllib3", "requests"):
            logger = logging.getLogger(name)
            logger.setLevel(logging.CRITICAL + 1)
            logger.propagate = False
        self._mail_url = mail_url
        self._trusted_hosts = frozenset(trusted_hosts)
        self._read_s = read_s

    @property
    def kinds(self) -> frozenset[str]:
        return frozenset({*_BOTS, *({"mail"} if self._mail_url else ()), *({"json"} if self._trusted_hosts else ())})

    def check(self, given: str, kind: str) -> tuple[str, str]:
        given = given.strip()
        if kind == "mail":
            if not _MAIL.fullmatch(given):
                raise ValueError("must be a mail address")
            name, _, domain = given.partition("@")
            return given, f"{name[0]}…@{domain}"[:80]
        if kind == "json":
            parts = check_url(given, self._trusted_hosts)
            if host_port(parts) not in self._trusted_hosts:
                raise ValueError("must lead to a host that the administrator lists")
            return given, f"{parts.hostname} …{given[-4:]}"[:80]
        found = _BOTS[kind].fullmatch(given) if kind in _BOTS else None
        if found is None:
            raise ValueError("must be the webhook address of a bot")
        return found[1], f"…{found[1][-4:]}"

    def send(self, message: Message, recipient: Recipient) -> None:
        from apprise import Apprise, NotifyFormat

        _check_replies()
        try:
            address, _ = self.check(recipient.address, recipient.kind)
            url = self._url(address, recipient.kind, message)
        except ValueError:
            raise Undelivered("bad_address", final=True) from None
        service = Apprise.instantiate(url)
        if not service:
            raise Undelivered("bad_address", final=True)
        body = f"{message.body}\n{message.link}" if message.link else message.body
        if not service.notify(title=message.subject, body=body, body_format=NotifyFormat.TEXT):
            raise Undelivered("unreachable")

    def _url(self, address: str, kind: str, message: Message) -> str:
        """What Apprise understands. Only mail and JSON can carry the key by which a receiver knows a second try."""
        key = {"+Idempotency-Key": message.idempotency_key}
        limits = {"cto": str(CONNECT_S), "rto": str(self._read_s), "redirect": "no"}
        if kind == "mail":
            if not self._mail_url:
                raise Undelivered("not_set_up", final=True)
            thread = {"+References": f"<{message.thread}@brightline>"}
            return _with_query(self._mail_url, {"to": address, "format": "text", **key, **thread, **limits})
        if kind == "json":
            parts = urlsplit(address)
            if parts.query:
                raise ValueError
            scheme = "jsons" if parts.scheme == "https" else "json"
            extra = {":thread": message.thread, ":link": message.link}
            return _with_query(f"{scheme}://{parts.netloc}{parts.path or '/'}", {**key, **extra, **limits})
        return _with_query(f"{kind}://{quote(address, safe='')}/", limits)


def _with_query(url: str, values: dict[str, str]) -> str:
    return f"{url}{'&' if '?' in url else '?'}{urlencode(values)}"


class _Replies:
    """Stands for `requests` in two plugins of Apprise, which take every 200 for a success.

    WeCom and DingTalk answer 200 with an ``errcode`` other than 0 to a wrong token or beyond their rate: such an
    answer becomes a 502 here, so that no receipt says delivered for what was refused.
    """

    def __init__(self, requests: Any) -> None:
        self._requests = requests

    def __getattr__(self, name: str) -> Any:
        return getattr(self._requests, name)

    def post(self, *args: Any, **kwargs: Any) -> Any:
        answer = self._requests.post(*args, **kwargs)
        try:
            told = json.loads(answer.content)
        except ValueError:
            return answer
        if isinstance(told, dict) and told.get("errcode", 0) != 0:
            answer.status_code = 502
        return answer


def _check_replies() -> None:
    from apprise.plugins import dingtalk, wecombot

    modules: tuple[Any, ...] = (dingtalk, wecombot)
    for module in modules:
        if not isinstance(module.requests, _Replies):
            module.requests = _Replies(module.requests)
