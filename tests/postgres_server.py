"""A real PostgreSQL on a free port and in a folder of its own, run by a user who may nothing; it ends with the test."""

from __future__ import annotations

import os
import pwd
import shutil
import signal
import subprocess
import tempfile
import uuid
from pathlib import Path

import psycopg

from server.database import migrate
from server.settings import PostgresRecord, Settings
from tests.series_servers import free_port
from tests.services import missing
from tests.waiting import wait_for

TEMPLATE = "ready"
ACCOUNTS = ("postgres", "nobody")
PROGRAMS = sorted(Path("/usr/lib/postgresql").glob("*/bin"), reverse=True)


def program(name: str) -> str:
    """The path of one of PostgreSQL's programs; skips without it, or fails when services are required."""
    path = shutil.which(name, path=os.pathsep.join([*map(str, PROGRAMS), os.environ.get("PATH", "")]))
    if path is None:
        missing(f"{name} of PostgreSQL is not installed")
    assert path is not None
    return path


class PostgresServer:
    """One cluster; each test takes a database of its own with `new_record`."""

    def __init__(self) -> None:
        self._has_template = False
        initdb, self._postgres = program("initdb"), program("postgres")
        self._folder = Path(tempfile.mkdtemp(prefix="bl-pg-"))  # short: a socket's path has 107 bytes at most
        self._as: dict[str, int] = {}
        if os.getuid() == 0:  # PostgreSQL refuses root
            found = next(account for account in pwd.getpwall() if account.pw_name in ACCOUNTS)
            self._as = {"user": found.pw_uid, "group": found.pw_gid}
            os.chown(self._folder, found.pw_uid, found.pw_gid)
        self.port = free_port()
        data = self._folder / "data"
        subprocess.run(
            [initdb, "--no-sync", "-U", "brightline", "-A", "trust", "-E", "UTF8", "--locale=C", "-D", str(data)],
            check=True, capture_output=True, cwd=self._folder, timeout=120, **self._as,
        )  # fmt: skip
        self._command = [
            self._postgres, "-D", str(data), "-p", str(self.port), "-c", "listen_addresses=127.0.0.1",
            "-c", f"unix_socket_directories={self._folder}", "-c", "fsync=off", "-c", "shared_buffers=64MB",
            "-c", "max_connections=100",
        ]  # fmt: skip
        self._start()

    def _start(self) -> None:
        with (self._folder / "server.log").open("ab") as log:
            self._process = subprocess.Popen(self._command, stdout=log, stderr=log, cwd=self._folder, **self._as)
        wait_for("PostgreSQL serves", self._serves)

    def _serves(self) -> bool:
        assert self._process.poll() is None, (self._folder / "server.log").read_text("utf-8")[-2000:]
        try:
            self.execute("SELECT 1")
        except psycopg.OperationalError:
            return False
        return True

    def execute(self, statement: str, database: str = "postgres") -> None:
        """One statement of the database's owner, outside of any transaction."""
        where = {"host": "127.0.0.1", "port": self.port, "user": "brightline", "dbname": database}
        with psycopg.connect(**where, autocommit=True, connect_timeout=10) as connection:
            connection.execute(statement)

    def new_record(self) -> PostgresRecord:
        """The settings of an empty database."""
        name = f"record_{uuid.uuid4().hex[:12]}"
        self.execute(f"CREATE DATABASE {name}")
        return self._settings(name)

    def ready_record(self) -> PostgresRecord:
        """The settings of a database as `migrate` leaves an empty one, copied from the first: that takes a second."""
        if not self._has_template:
            self.execute(f"CREATE DATABASE {TEMPLATE}")
            migrate(Settings(data_dir=self._folder, database=self._settings(TEMPLATE)))
            self._has_template = True
        name = f"record_{uuid.uuid4().hex[:12]}"
        self.execute(f"CREATE DATABASE {name} TEMPLATE {TEMPLATE}")
        return self._settings(name)

    def _settings(self, name: str) -> PostgresRecord:
        url = f"postgresql+psycopg://brightline@127.0.0.1:{self.port}/{name}"
        return PostgresRecord(type="postgresql", url=url, pool_size=6)

    def restart(self) -> None:
        """End it at once, with every connection, and start it again."""
        self._process.send_signal(signal.SIGQUIT)
        self._process.wait(30)
        self._start()

    def stop(self) -> None:
        self._process.send_signal(signal.SIGINT)  # "fast": it ends the connections
        self._process.wait(60)
        shutil.rmtree(self._folder)


def settings_of(record: PostgresRecord) -> str:
    """What belongs into centre.yaml."""
    return f"database: {{type: postgresql, url: '{record.url}', pool_size: {record.pool_size}}}\n"
