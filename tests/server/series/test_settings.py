"""series.yaml: what is wrong is said by its place, and a secret is never shown."""

from __future__ import annotations

import os
import shutil
import sqlite3
import subprocess
import sys
from pathlib import Path

import certifi
import pytest
from alembic.command import downgrade
from alembic.config import Config

from server.database import migrate
from server.series.settings import Influx1Series, Influx2Series, RecordSeries, load_series
from server.settings import Settings
from tests.server.centre import ROOT, run_cli

SECRET = "s3cret-value"
GOOD = "type: influxdb1\nurl: http://127.0.0.1:8086\ndatabase: brightline\n"


def load(folder: Path, text: str) -> RecordSeries | Influx1Series | Influx2Series:
    (folder / "series.yaml").write_text(text, "utf-8")
    return load_series(None, folder)


def test_without_a_file_the_series_is_in_the_record(tmp_path: Path) -> None:
    assert load_series(None, tmp_path).in_record
    assert load(tmp_path, "type: sqlite\n").in_record


def test_the_sample_loads_with_its_password_from_the_environment(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("BRIGHTLINE_INFLUX_PASSWORD", SECRET)
    found = load_series(ROOT / "configs" / "series-influxdb.yaml", tmp_path)
    assert isinstance(found, Influx1Series)
    assert (found.name, found.in_record) == ("influxdb1 http://127.0.0.1:8086 brightline", False)
    assert found.password is not None
    assert found.password.get_secret_value() == SECRET
    assert SECRET not in repr(found) + str(found) + found.name


def test_a_token_and_a_private_ca_are_found_beside_the_file(tmp_path: Path) -> None:
    (tmp_path / "token").write_text(SECRET + "\n", "utf-8")
    shutil.copy(certifi.where(), tmp_path / "ca.pem")
    text = "type: influxdb2\nurl: https://influx.example/\norg: 某区 教育局\nbucket: b/autogen\n"
    found = load(tmp_path, text + "token: {file: token}\nca_file: ca.pem\n")
    assert isinstance(found, Influx2Series)
    assert found.token is not None
    assert found.token.get_secret_value() == SECRET
    assert (found.url, found.ca_file) == ("https://influx.example", tmp_path / "ca.pem")


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (GOOD.replace("influxdb1", "influxdb9"), "series.yaml: type: Input tag 'influxdb9'"),
        (GOOD.replace("127.0.0.1", "influx.example"), "url: Value error, must be https://"),
        (GOOD.replace("http://", f"https://me:{SECRET}@"), "url: Value error, must not hold a password"),
        (GOOD.replace("http://", "file://"), "url: Value error, must be an address"),
        (GOOD.replace(": brightline", ": 'a\"; DROP'"), "database: String should match"),
        (GOOD + "retention: 1\n", "retention: Extra inputs are not permitted"),
        (GOOD + "timeout_s: 0\n", "timeout_s: Input should be greater than 0"),
        (GOOD + "timeout_s: .nan\n", "timeout_s: Input should be"),
        (GOOD + f"password: {SECRET}\n", "password: must be {env: NAME} or {file: PATH}"),
        (GOOD + f"password: {{env: {SECRET}}}\n", "password: env takes the name of an environment variable"),
        (GOOD + "password: {env: NOT_SET_ANYWHERE}\n", "password: the environment has no variable NOT_SET_ANYWHERE"),
        (GOOD + "password: {file: absent}\n", "password: the secret file cannot be read"),
        (GOOD + "password: {file: big}\n", "password: the secret file cannot be read, or has over"),
        ("- a\n", "must hold a type and its settings"),
        (f"password: [{SECRET}\n", "series.yaml:2: is no YAML"),
        (f"password: !!python/object/apply:os.system ['{SECRET}']\n", "is no YAML"),
        ("a" * 70_000, "has more than 65536 bytes"),
    ],
)
def test_what_is_wrong_is_said_and_no_secret_shown(tmp_path: Path, text: str, said: str) -> None:
    (tmp_path / "big").write_bytes(b"x" * 5000)
    with pytest.raises(ValueError, match=r"series\.yaml") as refused:
        load(tmp_path, text)
    assert said in str(refused.value)
    assert SECRET not in str(refused.value)


def test_wrong_settings_end_serve_verify_and_series_with_2_and_leave_other_commands_alone(tmp_path: Path) -> None:
    (tmp_path / "series.yaml").write_text(GOOD + f"password: {SECRET}\n", "utf-8")
    for command in (("serve", "--port", "0"), ("verify",), ("series", "status"), ("series", "rebuild")):
        done = run_cli(*command, "--data", str(tmp_path), check=False)
        assert (done.returncode, "password: must be" in done.stderr, SECRET in done.stderr) == (2, True, False)
    run_cli("enrol", "--site", "A", "--data", str(tmp_path))
    absent = run_cli("series", "status", "--data", str(tmp_path), "--series", str(tmp_path / "no.yaml"), check=False)
    assert (absent.returncode, "no.yaml: cannot be read" in absent.stderr) == (2, True)


@pytest.mark.parametrize("content", [b"not a certificate", None])
def test_a_private_ca_that_is_none_is_a_wrong_setting(tmp_path: Path, content: bytes | None) -> None:
    if content is not None:
        (tmp_path / "ca.pem").write_bytes(content)
    with pytest.raises(ValueError, match="ca_file: Value error, holds no certificates in PEM"):
        load(tmp_path, GOOD.replace("http:", "https:") + "ca_file: ca.pem\n")


def test_a_centre_without_influxdb_loads_none_of_its_client() -> None:
    code = (
        "import sys, server.app; from pathlib import Path; from server.settings import Settings; "
        "server.app.create_app(Settings(data_dir=Path('unused'))); "
        "sys.exit(any(name.split('.')[0] in ('influxdb_client', 'reactivex') for name in sys.modules))"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, env=dict(os.environ), timeout=60, check=False)
    assert done.returncode == 0


def test_verify_tells_a_record_from_before_there_were_other_stores_and_changes_nothing(data: Path) -> None:
    migrate(Settings(data_dir=data))
    config = Config()
    config.set_main_option("script_location", str(ROOT / "server" / "migrations"))
    config.attributes["settings"] = Settings(data_dir=data)
    downgrade(config, "0003")
    done = run_cli("verify", "--data", str(data), check=False)
    assert (done.returncode, "run brightline-server migrate" in done.stderr) == (2, True)
    with sqlite3.connect(data / "record.sqlite") as db:
        assert db.execute("SELECT version_num FROM alembic_version").fetchall() == [("0003",)]
    db.close()
    assert run_cli("series", "status", "--data", str(data)).stdout.startswith("record: 0 batches")
