"""From an alert's change to what arrives: once, in order, whoever else is dead, and never as a storm."""

from __future__ import annotations

import asyncio
import logging
import random
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta

import pytest
from sqlalchemy import func, select
from sqlalchemy.orm import Session

from server.models import Alert
from server.models_notification import AlertChange, Notification, NotificationChannel, NotificationMessage
from server.notification.channels import receipts_of
from server.notification.messages import note_failed
from server.notification.outbox import queue_notices
from server.notification.port import Message, Recipient
from tests.server.notification.desk import NOON, SITE, Desk


def test_alert_is_told_at_once_to_the_site_and_its_regulator_and_each_receipt_is_kept(desk: Desk) -> None:
    desk.channel("li@a")
    desk.channel("reg@a", role="regulator")
    desk.channel("root@a", role="administrator")
    alert_id = desk.alert()
    assert desk.work() == 2
    assert [address for address, _ in desk.notifier.sent] == ["li@a", "reg@a"]
    with Session(desk.engine) as db:
        found = [(item.person, item.kind, item.state, item.reason) for item in receipts_of(db, alert_id)]
    assert found == [("person li@a", "mail", "sent", None), ("person reg@a", "mail", "sent", None)]
    assert desk.work() == 0, "nothing is sent twice"


def test_change_that_is_rolled_back_tells_nobody(desk: Desk) -> None:
    desk.channel("li@a")
    alert_id = desk.alert()
    desk.work()
    with Session(desk.engine) as db:
        queue_notices(db, db.get_one(Alert, alert_id), "reject")
        db.flush()
        db.rollback()
    assert desk.work() == 0


def test_message_is_in_the_language_of_its_reader_and_names_no_person(desk: Desk) -> None:
    desk.channel("li@a")
    desk.channel("bob@a", language="en")
    alert_id = desk.alert(tier=1, kind="rodent")
    desk.work()
    chinese, english = desk.notifier.to("li@a")[0], desk.notifier.to("bob@a")[0]
    assert chinese.subject == f"【Ⅰ 级 重大】老鼠｜{SITE}｜发现新情况，请处理"
    assert english.subject == f"[Tier I] Rodent | {SITE} | Please see to it"
    for text in ("单位：第一食堂", "位置：备餐间 · cam-1", "发生时间：2026-03-02 12:00", "整改期限：2026-03-02 14:00"):
        assert text in chinese.body
    assert "Rectify by: 2026-03-02 14:00" in english.body
    assert chinese.thread == english.thread
    assert chinese.urgent
    desk.change(alert_id, "some_new_word")
    desk.change(alert_id, "reject")
    desk.work()
    assert [message.subject for message in desk.notifier.to("bob@a")[1:]] == [
        f"[Tier I] Rodent | {SITE} | The rectification was sent back"
    ]
    shown = "".join(message.subject + message.body for _, message in desk.notifier.sent)
    assert "person" not in shown


def test_link_leads_to_the_alert_where_the_public_address_is_known(desk: Desk) -> None:
    desk.channel("li@a")
    desk.channel("phone", kind="push")
    alert_id = desk.alert()
    desk.work()
    assert desk.notifier.to("li@a")[0].link == ""
    assert desk.notifier.to("phone")[0].link == f"/alerts/{alert_id}"
    desk.settings = desk.settings.model_copy(update={"public_url": "https://centre.example"})
    desk.alert(source="cam-2")
    desk.work(desk.new_worker())
    assert desk.notifier.to("li@a")[1].link == f"https://centre.example/alerts/{alert_id + 1}"


def test_quiet_hours_hold_all_but_tier_one_until_the_morning(desk: Desk) -> None:
    desk.channel("li@a")
    desk.now = NOON + timedelta(hours=11)  # 23:00
    desk.alert(tier=2)
    desk.alert(tier=1, kind="rodent")
    assert desk.work() == 1
    assert "老鼠" in desk.notifier.sent[0][1].subject
    desk.after(hours=7, minutes=29)
    assert desk.work() == 0
    desk.after(minutes=1)
    assert desk.work() == 1
    assert "未戴口罩" in desk.notifier.sent[1][1].subject


def test_tier_three_comes_as_one_digest(desk: Desk) -> None:
    desk.channel("reg@a", role="regulator")
    for number in range(4):
        desk.alert(tier=3, kind="no_gloves", source=f"cam-{number}")
    desk.alert(tier=3, kind="phone_use")
    assert desk.work() == 0
    desk.after(hours=19, minutes=30)  # 7:30
    assert desk.work() == 1
    message = desk.notifier.sent[0][1]
    assert message.subject == "预警汇总：5 件"
    assert message.body.split("\n") == [
        f"【Ⅲ 级 日常】{SITE}　未戴手套　4 件",
        f"【Ⅲ 级 日常】{SITE}　玩手机　1 件",
    ]


def test_flapping_sensor_gives_one_notice_and_then_a_count(desk: Desk) -> None:
    desk.channel("li@a")
    for _ in range(8):
        desk.alert(source="cold-1", kind="sensor_fault")
        desk.work()
        desk.after(seconds=60)
    assert len(desk.notifier.sent) == 1
    desk.after(minutes=22)
    desk.work()
    assert len(desk.notifier.sent) == 2
    assert "共 7 次" in desk.notifier.sent[1][1].body
    assert {message.thread for _, message in desk.notifier.sent} == {desk.notifier.sent[0][1].thread}
    desk.alert(source="cold-2", kind="sensor_fault")
    desk.work()
    assert len(desk.notifier.sent) == 3, "another sensor is another fault"


def test_storm_of_many_faults_is_summed_up_and_the_hour_has_its_cap(desk: Desk) -> None:
    desk.channel("li@a")
    for number in range(40):
        desk.alert(source=f"cold-{number}")
    assert desk.work() == 1
    assert desk.notifier.sent[0][1].subject == "同时发生多起预警：40 件，请立即查看"
    for number in range(100, 116):
        desk.alert(source=f"cold-{number}")
        desk.work()
        desk.after(seconds=60)
    assert len(desk.notifier.sent) == 12
    desk.alert(tier=1, kind="rodent", source="cam-9")
    desk.after(minutes=5)
    assert desk.work() == 1, "tier I is told beyond the cap"
    assert "Ⅰ 级 重大" in desk.notifier.sent[-1][1].body
    desk.after(hours=1)
    desk.work()
    with Session(desk.engine) as db:
        assert db.scalar(select(func.count()).where(Notification.message_id.is_(None))) == 0


def test_dead_channel_stops_nobody_else_and_pauses(desk: Desk) -> None:
    desk.channel("dead@a")
    desk.channel("li@a")
    desk.notifier.refusing.add("dead@a")
    for number in range(6):
        desk.alert(source=f"cam-{number}")
        desk.work()
        desk.after(seconds=20)
    assert len(desk.notifier.to("li@a")) == 6
    tried = len(desk.notifier.tries) - 6
    assert tried <= 4, "after three failures the whole channel pauses"
    desk.notifier.refusing.clear()
    desk.after(hours=1)
    desk.work()
    assert desk.notifier.to("dead@a"), "it is served again"
    assert [message.state for message in desk.messages()] == ["sent"] * len(desk.messages())


def test_second_try_has_the_same_key_and_words_and_too_old_is_given_up(desk: Desk) -> None:
    desk.channel("li@a")
    desk.notifier.refusing.add("li@a")
    desk.alert()
    for _ in range(3):
        desk.work()
        desk.after(minutes=31)
    assert len(desk.notifier.tries) == 3
    assert len(set(desk.notifier.tries)) == 1
    desk.after(hours=25)
    desk.work()
    assert [(message.state, message.reason) for message in desk.messages()] == [("failed", "expired")]
    assert len(desk.notifier.tries) == 3


def test_pauses_have_full_jitter_and_a_bound(desk: Desk) -> None:
    channel_id = desk.channel("li@a")
    desk.alert()
    desk.worker.spread()
    desk.notifier.refusing.add("li@a")
    desk.work()
    chance = random.Random(1)
    pauses_s = []
    with desk.db() as db:
        for attempt in (1, 2, 20):
            for _ in range(50):
                message = db.get_one(NotificationMessage, 1)
                message.attempts = attempt
                note_failed(db, 1, "unreachable", desk.now, uniform=chance.uniform)
                pauses_s.append((message.next_try_at - desk.now).total_seconds())
    assert 0 <= min(pauses_s) < 1
    assert max(pauses_s[:50]) <= 10 < max(pauses_s[50:100]) <= 20 < max(pauses_s) <= 900
    with Session(desk.engine) as db:
        paused = db.get_one(NotificationChannel, channel_id).paused_until
    assert paused is not None
    assert paused <= desk.now + timedelta(minutes=30)


def test_two_workers_share_and_nothing_is_sent_twice(desk: Desk) -> None:
    for number in range(12):
        desk.channel(f"p{number}@a")
    desk.alert()
    workers = [desk.new_worker() for _ in range(2)]
    with ThreadPoolExecutor(2) as pool:
        counts = list(pool.map(desk.work, workers))
    assert sum(counts) == len(desk.notifier.sent) == 12
    assert len({address for address, _ in desk.notifier.sent}) == 12
    with Session(desk.engine) as db:
        assert list(db.scalars(select(AlertChange.position))) == [1]


def test_lease_of_a_dead_worker_ends_and_the_same_message_is_sent_again(desk: Desk) -> None:
    channel_id = desk.channel("li@a")
    desk.alert()
    dead = desk.new_worker()
    dead.spread()

    def die(*args: object) -> None:
        desk.notifier.sent.append(("li@a", args[0]))  # type: ignore[arg-type]
        raise SystemExit

    send, desk.notifier.send = desk.notifier.send, die  # type: ignore[method-assign]
    with pytest.raises(SystemExit):
        dead.serve_channel(channel_id)
    desk.notifier.send = send  # type: ignore[method-assign]
    assert desk.work() == 0, "the lease holds"
    desk.after(seconds=61)
    assert desk.work() == 1
    first, second = desk.notifier.to("li@a")
    assert first == second, "the same key and the same words"


def test_subscription_that_is_over_is_removed_and_forgotten(desk: Desk) -> None:
    channel_id = desk.channel("phone", kind="push")
    desk.notifier.ended.add("phone")
    desk.alert()
    desk.work()
    desk.alert(source="cam-2")
    assert desk.work() == 0
    with Session(desk.engine) as db:
        channel = db.get_one(NotificationChannel, channel_id)
        assert (channel.removed_at, channel.address) == (desk.now, "")


def test_running_worker_sends_on_beside_a_fault_and_logs_no_address(
    desk: Desk, caplog: pytest.LogCaptureFixture
) -> None:
    desk.channel("t0psecret@a")
    desk.channel("li@a")
    sent = desk.notifier.send

    def send(message: Message, recipient: Recipient) -> None:
        if recipient.address == "t0psecret@a":
            raise RuntimeError(f"no way to {recipient.address}")
        sent(message, recipient)

    desk.notifier.send = send  # type: ignore[method-assign]
    desk.alert()

    async def run() -> None:
        async with desk.worker.running(), asyncio.timeout(30):
            while not desk.notifier.sent or "RuntimeError" not in caplog.text:
                await asyncio.sleep(0.01)

    with caplog.at_level(logging.DEBUG):
        asyncio.run(run())
    assert [address for address, _ in desk.notifier.sent] == ["li@a"]
    assert "t0psecret" not in caplog.text


def test_person_hears_only_of_the_tiers_that_they_chose(desk: Desk) -> None:
    desk.channel("li@a", tier_max=1)
    desk.alert(tier=2)
    assert desk.work() == 0
    desk.alert(tier=1, kind="rodent")
    assert desk.work() == 1
