"""One suite for everything that carries a message to a person, each against a real receiver on this machine."""

from __future__ import annotations

import logging
import socket
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from server.notification.apprise_notifier import AppriseNotifier
from server.notification.egress import Egress
from server.notification.port import Message, Notifier, Recipient, Undelivered
from server.notification.web_push import WebPushNotifier, ensure_key
from tests.receivers import Browser, HttpReceiver, MailReceiver

SECRET = "s3cretTok3nOfTheBot"
MAIL_PASSWORD = "mailpassw0rd"
TIMEOUT_S = 1.0
MESSAGE = Message(
    "0123456789abcdef",
    "thread1",
    "【Ⅰ 级】老鼠 | Canteen A",
    "位置：冷库\nRectify by: 18:00",
    "https://c.example/alerts/7",
)


@dataclass
class Rig:
    """A notifier, somebody to send to, and how to look at what came there."""

    notifier: Notifier
    recipient: Recipient
    read: Callable[[], list[tuple[str, str | None]]]  # (all text, idempotency key) of each message
    refuse: Callable[[], None]
    secrets: list[str]
    given: str
    has_key: bool = True
    close: list[Callable[[], None]] = field(default_factory=list)


def mail_rig(monkeypatch: pytest.MonkeyPatch, folder: Path, port: int | None) -> Rig:
    del monkeypatch, folder
    receiver = MailReceiver()
    url = f"mailto://alerts:{MAIL_PASSWORD}@127.0.0.1:{port or receiver.port}?from=alerts@centre.example&mode=insecure"
    # the receiver knows no log-in; Apprise logs in only where a user is named
    notifier = AppriseNotifier(mail_url=url.replace(f"alerts:{MAIL_PASSWORD}@", ""), read_s=TIMEOUT_S)

    def read() -> list[tuple[str, str | None]]:
        found = []
        for mail in receiver.inbox.items:
            text = mail.get_body(("plain",)).get_content()
            assert mail["To"] == "li@school.example"
            assert mail["References"] == f"<{MESSAGE.thread}@brightline>"
            found.append((f"{mail['Subject']}\n{text}", mail["Idempotency-Key"]))
        return found

    def refuse() -> None:
        receiver.refuse = "451 not now"

    return Rig(
        notifier, Recipient("mail", "li@school.example"), read, refuse, ["li@school.example"], "li@school.example",
        close=[receiver.close],
    )  # fmt: skip


def json_rig(monkeypatch: pytest.MonkeyPatch, folder: Path, port: int | None) -> Rig:
    del monkeypatch, folder
    receiver = HttpReceiver()
    host = f"127.0.0.1:{port}" if port else receiver.host
    address = f"http://{host}/hooks/{SECRET}"

    def read() -> list[tuple[str, str | None]]:
        assert all(item.path == f"/hooks/{SECRET}" for item in receiver.inbox.items)
        return [
            (f"{item.json()['title']}\n{item.json()['message']}", item.headers["idempotency-key"])
            for item in receiver.inbox.items
        ]

    def refuse() -> None:
        receiver.status = 500

    notifier = AppriseNotifier(trusted_hosts=[host], read_s=TIMEOUT_S)
    return Rig(notifier, Recipient("json", address), read, refuse, [SECRET], address, close=[receiver.close])


def bot_rig(kind: str, text_of: Callable[[Any], str], refusal: Any) -> Callable[..., Rig]:
    def make(monkeypatch: pytest.MonkeyPatch, folder: Path, port: int | None) -> Rig:
        del folder
        receiver = HttpReceiver()
        base = f"http://127.0.0.1:{port}" if port else receiver.url
        from apprise.plugins import dingtalk, feishu, wecombot

        plugin: Any = {
            "wecombot": wecombot.NotifyWeComBot,
            "dingtalk": dingtalk.NotifyDingTalk,
            "feishu": feishu.NotifyFeishu,
        }[kind]
        word = "{key}" if kind == "wecombot" else "{token}"
        monkeypatch.setattr(plugin, "notify_url", f"{base}/send?token={word}")  # its host is fixed in the plugin

        def read() -> list[tuple[str, str | None]]:
            assert all(SECRET in item.path for item in receiver.inbox.items)
            return [(text_of(item.json()), None) for item in receiver.inbox.items]

        def refuse() -> None:
            receiver.answer = refusal  # with a 200, as the real ones do

        notifier = AppriseNotifier(read_s=TIMEOUT_S)
        given = {
            "wecombot": f"https://qyapi.weixin.qq.com/cgi-bin/webhook/send?key={SECRET}",
            "dingtalk": f"https://oapi.dingtalk.com/robot/send?access_token={SECRET}",
            "feishu": f"https://open.feishu.cn/open-apis/bot/v2/hook/{SECRET}",
        }[kind]
        return Rig(
            notifier, Recipient(kind, SECRET), read, refuse, [SECRET], given, has_key=False, close=[receiver.close]
        )

    return make


def push_rig(monkeypatch: pytest.MonkeyPatch, folder: Path, port: int | None) -> Rig:
    del monkeypatch
    receiver = HttpReceiver()
    receiver.status = 201
    host = f"127.0.0.1:{port}" if port else receiver.host
    browser = Browser(f"http://{host}/push/{SECRET}")
    egress = Egress([host], timeout_s=TIMEOUT_S)
    notifier = WebPushNotifier(ensure_key(folder), egress, "mailto:ops@centre.example")

    def read() -> list[tuple[str, str | None]]:
        found = []
        for item in receiver.inbox.items:
            claims = Browser.claims(item.headers["authorization"], notifier.public_key)
            assert (claims["aud"], claims["sub"]) == (f"http://{host}", "mailto:ops@centre.example")
            assert time.time() < claims["exp"] <= time.time() + 24 * 3600
            assert (item.headers["content-encoding"], item.headers["ttl"]) == ("aes128gcm", "86400")
            told = browser.decrypt(item.body)
            assert (told["tag"], item.headers["topic"]) == (MESSAGE.thread, MESSAGE.thread)
            found.append((f"{told['title']}\n{told['body']}\n{told['url']}", told["id"]))
        return found

    def refuse() -> None:
        receiver.status = 429

    return Rig(
        notifier, Recipient("push", browser.subscription), read, refuse, [SECRET], browser.subscription,
        close=[receiver.close],
    )  # fmt: skip


RIGS: dict[str, Callable[..., Rig]] = {
    "mail": mail_rig,
    "json": json_rig,
    "wecombot": bot_rig("wecombot", lambda body: body["text"]["content"], {"errcode": 93000, "errmsg": "invalid"}),
    "dingtalk": bot_rig("dingtalk", str, {"errcode": 310000, "errmsg": "token is not exist"}),
    "feishu": bot_rig("feishu", str, {"code": 19001, "msg": "param invalid"}),
    "push": push_rig,
}
Make = Callable[..., Rig]


@pytest.fixture(params=RIGS)
def make(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[Make]:
    rigs: list[Rig] = []

    def build(port: int | None = None) -> Rig:
        rigs.append(RIGS[request.param](monkeypatch, tmp_path, port))
        return rigs[-1]

    yield build
    for rig in rigs:
        for close in rig.close:
            close()


def log_of(caplog: pytest.LogCaptureFixture) -> str:
    """What the sending side logged; the mail server of the test writes a log of its own."""
    return "\n".join(record.getMessage() for record in caplog.records if record.name != "mail.log")


def test_message_arrives_whole_with_its_key_on_every_try(make: Make) -> None:
    rig = make()
    for _ in range(2):
        rig.notifier.send(MESSAGE, rig.recipient)
    found = rig.read()
    assert len(found) == 2
    for text, key in found:
        squeezed = text.replace("\r\n", "\n").replace("\\n", "\n")
        assert all(line in squeezed for line in ("老鼠", "Canteen A", *MESSAGE.body.split("\n"), MESSAGE.link))
        assert key == (MESSAGE.idempotency_key if rig.has_key else None)


def test_what_is_refused_is_told_and_no_log_holds_the_secret(make: Make, caplog: pytest.LogCaptureFixture) -> None:
    rig = make()
    rig.refuse()
    with caplog.at_level(logging.DEBUG), pytest.raises(Undelivered) as refused:
        rig.notifier.send(MESSAGE, rig.recipient)
    assert not refused.value.final, "it may be taken later"
    shown = "".join((log_of(caplog), repr(refused.value), repr(rig.recipient)))
    assert [secret for secret in rig.secrets if secret in shown] == []


def test_receiver_that_is_away_is_told(make: Make, caplog: pytest.LogCaptureFixture) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
    rig = make(port)
    with caplog.at_level(logging.DEBUG), pytest.raises(Undelivered):
        rig.notifier.send(MESSAGE, rig.recipient)
    assert [secret for secret in rig.secrets if secret in log_of(caplog)] == []


def test_receiver_that_never_answers_holds_the_sender_for_a_bounded_time(make: Make) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        rig = make(listener.getsockname()[1])
        start = time.monotonic()
        with pytest.raises(Undelivered):
            rig.notifier.send(MESSAGE, rig.recipient)
        assert time.monotonic() - start < 20


def test_address_that_people_give_is_kept_short_and_shown_masked(make: Make) -> None:
    rig = make()
    address, label = rig.notifier.check(rig.given, rig.recipient.kind)
    rig.notifier.send(MESSAGE, Recipient(rig.recipient.kind, address))
    assert len(rig.read()) == 1
    assert [secret for secret in rig.secrets if secret in label] == []


BAD = (
    "",
    "x",
    "http://127.0.0.1:22/",
    "https://169.254.169.254/latest",
    "file:///etc/passwd",
    "a@b@c.example",
    "li@school.example?cc=all@school.example",
    "json://127.0.0.1/",
    "li@school.example\nBcc: x@y.example",
    "{}",
    '{"endpoint": "http://10.0.0.1/", "keys": {"p256dh": "AA", "auth": "AA"}}',
    f"{SECRET}/../x?rto=900",
)


def test_address_of_something_else_is_refused_without_being_repeated(make: Make) -> None:
    rig = make()
    for given in BAD:
        with pytest.raises(ValueError) as refused:
            rig.notifier.check(given, rig.recipient.kind)
        assert len(given) < 3 or given not in str(refused.value)
    assert rig.read() == []
