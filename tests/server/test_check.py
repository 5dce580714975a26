"""`check` and `adopt-keys`: what is missing is told before a start, a start refuses foreign keys in the same words."""

from __future__ import annotations

import shutil
import threading
from collections.abc import Callable, Iterator
from datetime import UTC, date, datetime, timedelta
from pathlib import Path

import pytest
from sqlalchemy import select
from sqlalchemy.orm import Session

from server.cli import main
from server.database import make_engine, migrate
from server.life_cycle.calendar import load_calendar
from server.life_cycle.rules import DEFAULT, default_rules, put_in_force, rules_in_force
from server.life_cycle.settings import LifeCycleSettings
from server.models import Alert
from server.models_audit import AuditEntry
from server.settings import Settings, load_settings
from server.shared_keys import SHARED, agree_on_keys
from tests.server.tenancy.district import settled

YEAR = "{calendar: cn, year: 2020, rest_days: [sunday], opens: '06:30', closes: '19:30'}\n"


@pytest.fixture(scope="module")
def empty(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("empty")
    migrate(Settings(data_dir=folder))
    return folder


@pytest.fixture
def centre(empty: Path, tmp_path: Path) -> Path:
    """The data folder of a centre that never served."""
    return Path(shutil.copytree(empty, tmp_path / "data"))


@pytest.fixture
def own_rules(tmp_path: Path) -> Iterator[LifeCycleSettings]:
    """A calendar of 2020 alone, and rules that leave less time; afterwards the product's count again."""
    (tmp_path / "years").mkdir()
    (tmp_path / "years" / "cn-2020.yaml").write_text(YEAR)
    text = DEFAULT.read_text("utf-8")
    assert "rectify_within_h: 2," in text  # of an excursion
    (tmp_path / "rules.yaml").write_text(text.replace("rectify_within_h: 2,", "rectify_within_h: 1,"), "utf-8")
    yield LifeCycleSettings(rules=tmp_path / "rules.yaml", calendar=tmp_path / "years")
    put_in_force(default_rules)


def agree(centre: Path, data_dir: Path) -> None:
    engine = make_engine(Settings(data_dir=centre))
    try:
        agree_on_keys(engine, data_dir)
    finally:
        engine.dispose()


def checked(centre: Path, capsys: pytest.CaptureFixture[str]) -> tuple[int, str]:
    status = main(["check", "--data", str(centre)])
    return status, capsys.readouterr().out


def test_a_replica_with_keys_of_its_own_is_refused_until_it_has_the_centres(centre: Path, tmp_path: Path) -> None:
    agree(centre, centre)
    agree(centre, centre)  # the next start
    replica = tmp_path / "replica"
    with pytest.raises(ValueError, match=rf"{replica}/instance\.key is missing, .*\. Copy instance\.key from") as found:
        agree(centre, replica)
    assert len(str(found.value).splitlines()) == len(SHARED)
    assert not list(replica.glob("*")), "nothing is made that would have to be taken away again"
    replica.mkdir()
    for name in SHARED:
        shutil.copy(centre / name, replica)
    agree(centre, replica)
    key = (replica / "commands.key").read_bytes()
    (replica / "commands.key").write_bytes(key.swapcase())
    with pytest.raises(
        ValueError, match=r"commands\.key has the fingerprint [0-9a-f]{16}, this centre's .* has"
    ) as one:
        agree(centre, replica)
    assert len(str(one.value).splitlines()) == 1
    assert key.decode().split()[-1] not in str(one.value)


def test_serve_and_check_say_the_same_and_a_lost_key_is_replaced_by_command_only(
    centre: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    status, told = checked(centre, capsys)
    assert (status, "ok    keys: the first start makes them\n" in told) == (0, True)
    assert not (centre / "instance.key").exists()
    agree(centre, centre)
    assert "ok    keys: commands.key, instance.key, vendors.key, web-push.pem are" in checked(centre, capsys)[1]
    (centre / "instance.key").unlink()
    status, told = checked(centre, capsys)
    [wrong] = [line.removeprefix("WRONG key: ") for line in told.splitlines() if line.startswith("WRONG")]
    assert (status, "instance.key is missing" in wrong) == (1, True)
    assert main(["serve", "--port", "0", "--insecure-cookies", "--data", str(centre)]) == 2
    assert capsys.readouterr().err == f"brightline-server: {wrong}\n"
    assert main(["adopt-keys", "--data", str(centre)]) == 0
    assert checked(centre, capsys)[0] == 0
    engine = make_engine(Settings(data_dir=centre))
    with Session(engine) as db:
        assert [entry.action for entry in db.scalars(select(AuditEntry))] == ["keys.adopt"]
    engine.dispose()


def test_of_two_replicas_that_start_first_together_one_makes_the_keys(centre: Path, tmp_path: Path) -> None:
    refused: list[ValueError] = []
    begin = threading.Barrier(2)

    def start(name: str) -> None:
        begin.wait(30)
        try:
            agree(centre, tmp_path / name)
        except ValueError as error:
            refused.append(error)

    replicas = [threading.Thread(target=start, args=(name,)) for name in ("a", "b")]
    for replica in replicas:
        replica.start()
    for replica in replicas:
        replica.join(60)
    assert len(refused) == 1
    made = [name for name in ("a", "b") if (tmp_path / name / "instance.key").exists()]
    assert len(made) == 1


def test_check_tells_what_production_refuses_and_a_record_of_before(
    centre: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (centre / "centre.yaml").write_text("mode: production\nblobs:\n  type: s3\n  url: http://127.0.0.1:9000\n"
        "  bucket: evidence\n  access_key: {file: weak}\n  secret_key: {file: weak}\n")  # fmt: skip
    (centre / "weak").write_text("minioadmin")
    status, told = checked(centre, capsys)
    assert (status, "WRONG mode: production refuses to start:\n  blobs.secret_key: everybody" in told) == (1, True)
    assert main(["check", "--data", str(tmp_path / "nothing")]) == 2


def test_a_year_without_a_calendar_is_told_from_thirty_days_before_it_begins() -> None:
    calendar = load_calendar("cn")
    assert (calendar.name, 2026 in calendar.years) == ("cn", True)
    newest = max(calendar.years)
    assert calendar.missing_years(date(newest, 12, 1)) == []
    assert calendar.missing_years(date(newest, 12, 2)) == [newest + 1]
    assert calendar.missing_years(date(newest + 2, 6, 1)) == [newest + 2]


def test_check_names_the_missing_year_and_where_its_file_belongs(
    centre: Path, own_rules: LifeCycleSettings, capsys: pytest.CaptureFixture[str]
) -> None:
    (centre / "centre.yaml").write_text(f"life_cycle: {{rules: {own_rules.rules}, calendar: {own_rules.calendar}}}\n")
    status, told = checked(centre, capsys)
    year = datetime.now(UTC).year
    assert f"warn  the calendar cn has no year {year}: " in told
    assert f"put a file for it into {own_rules.calendar}\n" in told
    assert status == 0
    assert rules_in_force().calendar.years == {2020}


def test_a_start_warns_of_the_missing_year_once_and_raises_alerts_by_the_rules_of_the_settings(
    tmp_path: Path, own_rules: LifeCycleSettings, jpeg: Callable[..., bytes], caplog: pytest.LogCaptureFixture
) -> None:
    with settled(tmp_path / "data", jpeg, ["N"], people=(), life_cycle=own_rules) as district:
        told = [record.message for record in caplog.records if "has no year" in record.message]
        with district.database() as db:
            [alert] = db.scalars(select(Alert))
            assert alert.acknowledge_by_at is not None
            assert alert.deadline_at - alert.acknowledge_by_at == timedelta(minutes=30), (
                "1 h and 30 min after the start"
            )
    assert told[0].startswith(f"the calendar cn has no year {datetime.now(UTC).year}: ")
    assert len(told) == len(rules_in_force().calendar.missing_years(datetime.now(UTC).date()))


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("life_cycle: {rules: nowhere.yaml}", "life_cycle: .*nowhere.yaml: cannot be read"),
        ("life_cycle: {calendar: nowhere}", "life_cycle: .*nowhere: there is no calendar cn"),
        ("life_cycle: {calender: x}", "life_cycle.calender: Extra inputs"),
    ],
)
def test_a_life_cycle_that_cannot_be_read_is_refused_with_the_settings(tmp_path: Path, text: str, said: str) -> None:
    (tmp_path / "centre.yaml").write_text(text)
    with pytest.raises(ValueError, match=rf"centre\.yaml: {said}"):
        load_settings(None, tmp_path)
