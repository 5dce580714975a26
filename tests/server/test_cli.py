"""`brightline-server`: what it says and how it exits when something is wrong, and that models and migrations agree."""

from __future__ import annotations

import socket
import sqlite3
from pathlib import Path

import pytest
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext

from server.database import make_engine, migrate
from server.models_uplink import Base
from server.settings import Settings
from tests.ready_record import lay_ready_record
from tests.server.centre import PASSWORD, Centre, run_cli


@pytest.mark.parametrize(
    ("args", "text", "status", "message"),
    [
        (("user", "add", "li", "--name", "Li", "--role", "regulator"), "short\n", 2, "at least 10 characters"),
        (("user", "add", "li", "--name", "Li", "--role", "regulator"), "", 2, "at least 10 characters"),
        (("user", "add", "li", "--name", "Li", "--role", "king"), PASSWORD, 2, "invalid choice: 'king'"),
        (("user", "add", "li", "--name", "Li", "--role", "staff"), PASSWORD, 2, "staff need a site (--site)"),
        (
            ("user", "add", "li", "--name", "Li", "--role", "regulator", "--site", "A"),
            PASSWORD,
            2,
            "regulator have no site",
        ),
        (("user", "add", "x" * 65, "--name", "Li", "--role", "regulator"), PASSWORD, 2, "1 to 64 characters"),
        (("enrol", "--site", "A", "--time-zone", "Mars/Olympus"), "", 2, "there is no time zone 'Mars/Olympus'"),
        (("enrol", "--site", "A", "--time-zone", "../../etc/passwd"), "", 2, "there is no time zone"),
        (("enrol", "--site", ""), "", 2, "1 to 120 characters"),
        (("serve", "--host", "0.0.0.0", "--port", "0"), "", 2, "over TLS only"),
        (("serve", "--host", "0.0.0.0", "--port", "0", "--insecure-cookies"), "", 2, "for 127.0.0.1 only"),
        (("serve", "--port", "0", "--tls-cert", "x.pem"), "", 2, "belong together"),
        (("serve", "--port", "0", "--tls-cert", "no.pem", "--tls-key", "no.pem"), "", 1, "No such file"),
        ((), "", 2, "required: command"),
    ],
)
def test_what_is_wrong_is_said_and_the_exit_status_tells_the_kind(
    data: Path, args: tuple[str, ...], text: str, status: int, message: str
) -> None:
    lay_ready_record(data)
    done = run_cli(*args, *(("--data", str(data)) if args else ()), text=text, check=False)
    assert done.returncode == status, done.stderr
    assert message in done.stderr
    assert "Traceback" not in done.stderr


def test_an_account_is_made_once_and_a_refused_one_leaves_no_site(data: Path) -> None:
    add = ("user", "add", "li", "--name", "Li", "--role", "staff", "--site", "A", "--data", str(data))
    assert run_cli(*add, text="short\n", check=False).returncode == 2
    with sqlite3.connect(data / "record.sqlite") as db:
        assert db.execute("SELECT count(*) FROM site").fetchone() == (0,)
    db.close()
    assert run_cli(*add, text=PASSWORD + "\n").stdout == "user li added\n"
    again = run_cli(*add, text=PASSWORD + "\n", check=False)
    assert (again.returncode, "there is a user 'li' already" in again.stderr) == (2, True)
    assert PASSWORD not in again.stdout + again.stderr


def test_a_centre_that_starts_from_nothing_serves_and_stops(data: Path) -> None:
    centre = Centre(data, cold=True)
    try:
        with centre.client() as client:
            assert client.get("/login").status_code == 200
    finally:
        assert centre.stop() == 0


def test_a_port_in_use_is_a_fault(data: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        done = run_cli("serve", "--port", str(taken.getsockname()[1]), "--data", str(data), check=False)
    assert (done.returncode, "in use" in done.stderr) == (1, True)


def test_a_record_that_is_no_database_is_a_fault(data: Path) -> None:
    data.mkdir()
    (data / "record.sqlite").write_bytes(b"not a database" * 100)
    for command in (("serve", "--port", "0"), ("verify",), ("migrate",)):
        done = run_cli(*command, "--data", str(data), check=False)
        assert (done.returncode, "not a database" in done.stderr) == (1, True), done.stderr


def test_models_and_migrations_agree_and_a_folder_may_have_any_name(data: Path) -> None:
    settings = Settings(data_dir=data / "100% 冷链?x=1#y")
    migrate(settings)
    migrate(settings)
    engine = make_engine(settings)
    with engine.connect() as connection:
        assert compare_metadata(MigrationContext.configure(connection), Base.metadata) == []
    engine.dispose()
    assert [path.name for path in data.iterdir()] == ["100% 冷链?x=1#y"]
