"""Numbered sensors → mosquitto → box → centre, each a real process on this machine, to be killed and started at will.

Ports and folders stay the same over all restarts, as on a box whose power comes back.
"""

from __future__ import annotations

import contextlib
import json
import sqlite3
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from firmware_sim.numbered_publisher import topic_of
from firmware_sim.programs import Programs
from tests.edge.drivers.mosquitto import Mosquitto
from tests.series_servers import PASSWORD, InfluxServer, free_port
from tests.waiting import wait_for
from tests.warm import WarmPrograms

SITE = "阳光小学 食堂"
HEAD = """\
box: {{name: chaos-box, data_dir: box}}
server: {{url: "{url}"}}
brokers: [{{id: mosquitto, host: 127.0.0.1, port: {port}, client_id: chaos-box, keepalive_s: 5}}]
"""
BROKER_LOG = "log_type subscribe\nlog_type notice\nlog_type warning\nlog_type error"
PROGRAM_LOG_CHARS = 2_000
SENSOR = """\
  - {{type: mqtt, id: s{number}, name: probe {number}, broker: mosquitto, topic: {topic}, field: temperature{time}}}
"""


class Chain:
    """*timed*: the payloads carry their own time; *more* and *broker_more* are appended to the configurations of box
    and broker (*more* may begin with further sensors); *line_port* is where the box looks for the centre, if there is a
    line in between; *influx* keeps the series instead of the record; what measures takes `Programs`, started cold."""

    def __init__(
        self,
        folder: Path,
        *,
        sensors: int = 8,
        timed: bool = True,
        centre_port: int | None = None,
        line_port: int | None = None,
        more: str = "",
        broker_more: str = "",
        influx: InfluxServer | None = None,
        programs: type[Programs] = WarmPrograms,
    ) -> None:
        self.folder = folder
        self.influx = influx
        self.sensors = sensors
        self.programs = programs(folder)
        self._since = 0  # where the broker's log stood when box or broker was started last
        self.broker = Mosquitto(folder / "broker", f"{BROKER_LOG}\n{broker_more}")
        self.data = folder / "centre"
        self.config = folder / "box.yaml"
        self.centre_port = centre_port or free_port()
        url = f"http://127.0.0.1:{line_port or self.centre_port}"
        time = ", time_field: time" if timed else ""
        lines = [SENSOR.format(number=number, topic=topic_of(number), time=time) for number in range(sensors)]
        if influx is not None:
            self.data.mkdir(mode=0o700)
            (self.data / "series.yaml").write_text(influx.settings(), "utf-8")
            (self.data / "password").write_text(PASSWORD, "utf-8")
        self.config.write_text(
            HEAD.format(url=url, port=self.broker.port) + "sensors:\n" + "".join(lines) + more, "utf-8"
        )

    def start(self) -> None:
        """Everything up, the box enrolled and subscribed: from now on a session of it exists at the broker."""
        self.broker.start()
        self.start_centre()
        code = self.programs.run("code", "server.cli", "enrol", "--site", SITE, "--data", str(self.data))
        self.programs.run("enrolment", "edge.cli", "enrol", str(self.config), "--code", code)
        self.start_box()
        self.wait_for_subscription()

    def wait_for_subscription(self) -> None:
        """Until the box, as it was started last, holds a session at the broker, as that was started last."""
        last = f" {topic_of(self.sensors - 1)}\n"
        wait_for("the box has subscribed", lambda: last in self._broker_log()[self._since :], 60)

    def _broker_log(self) -> str:
        path = self.folder / "broker" / "mosquitto.log"
        return path.read_text("utf-8") if path.exists() else ""

    def start_centre(self, *, wait: bool = True) -> None:
        serve = ("--data", str(self.data), "--port", str(self.centre_port), "--insecure-cookies")
        self.programs.start("centre", "server.cli", "serve", *serve, announces=wait)

    def start_box(self, **environment: str) -> None:
        self._since = len(self._broker_log())
        self.programs.start("box", "edge.cli", "run", str(self.config), announces=False, **environment)

    def kill_and_restart(self, name: str) -> None:
        """SIGKILL to ``box``, ``centre``, ``broker`` or ``influx``; it is started again at once and not waited for,
        but for the database: without it nothing can be judged."""
        if name == "influx":
            assert self.influx is not None
            self.influx.kill()
            self.influx.start()
            return
        if name == "broker":
            self.broker.kill()
            self._since = len(self._broker_log())
            self.broker.start()
            return
        self.programs.kill(name)
        if name == "box":
            self.start_box()
        else:
            self.start_centre(wait=False)

    def end(self) -> None:
        self.programs.end_all()
        self.broker.kill()

    def pid(self, name: str) -> int:
        """The process id of ``box``, ``centre`` or ``broker``."""
        return self.broker.pid if name == "broker" else self.programs.pid(name)

    def rows(self, query: str) -> list[tuple[object, ...]]:
        """What stands in the centre's record; nothing before there is one."""
        path = self.data / "record.sqlite"
        with contextlib.closing(sqlite3.connect(f"file:{path}?mode=ro", uri=True, timeout=20)) as db:
            return db.execute(query).fetchall()

    def stored_values(self) -> list[tuple[str, int]]:
        """(sensor, number) of each point in the series store that has a value, one entry a point."""
        if self.influx is not None:
            (found,) = self.influx.query('SELECT "value" FROM "reading" GROUP BY "sensor_id"')
            series: list[dict[str, Any]] = found.get("series", [])  # type: ignore[assignment]
            return [(item["tags"]["sensor_id"], round(row[1])) for item in series for row in item["values"]]
        points = self.rows("SELECT sensor_id, value FROM series_point WHERE value IS NOT NULL")
        return [(str(sensor), round(float(str(value)))) for sensor, value in points]

    def outbox_pending(self) -> int:
        """Records that wait in the box for their receipt, whether it runs or not."""
        path = self.folder / "box" / "outbox.sqlite"
        with contextlib.closing(sqlite3.connect(f"file:{path}?mode=ro", uri=True, timeout=20)) as db:
            sealed = db.execute("SELECT coalesce(sum(count), 0) FROM batch WHERE delivered = 0").fetchone()
            return int(sealed[0]) + int(db.execute("SELECT coalesce(sum(count), 0) FROM fresh").fetchone()[0])

    def verify(self) -> dict[str, object]:
        """What `brightline-server verify` says of the record. The centre has to be ended first."""
        found: dict[str, object] = json.loads(
            self.programs.run("verify", "server.cli", "verify", "--json", "--data", str(self.data))
        )
        return found

    def log_tail(self, name: str) -> str:
        path = self.folder / f"{name}.log"
        return path.read_text("utf-8", "replace")[-PROGRAM_LOG_CHARS:] if path.exists() else ""


@contextlib.contextmanager
def running_chain(folder: Path, **options: object) -> Iterator[Chain]:
    """A chain that is up; its logs go to standard output when something fails."""
    chain = Chain(folder, **options)  # type: ignore[arg-type]
    try:
        chain.start()
        yield chain
    except BaseException:
        for name in ("box", "centre"):
            sys.stdout.write(f"--- end of {name}.log\n{chain.log_tail(name)}\n")
        raise
    finally:
        chain.end()
