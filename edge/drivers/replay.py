"""Recorded readings as if a device gave them: a CSV file, in its own rhythm or faster.

Where it is in the file is committed with the readings, so a restart goes on with the next row: every row is recorded
once. At the end it waits; a recorded day is no sensor that failed.
"""

from __future__ import annotations

import asyncio
import csv
import logging
from collections.abc import AsyncIterator, Callable, Iterator, Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from types import TracebackType
from typing import IO

from edge.config_ports import ReplayFile
from edge.config_sensors import ReplaySensor
from edge.drivers.assessment import assess, bad
from edge.drivers.decoders.payload import PayloadError, to_number
from edge.drivers.port import Delivery, Driver
from edge.drivers.port_counts import PortCounts
from telemetry.messages import Reading

logger = logging.getLogger(__name__)
STEP_S_MAX = 86_400.0
REPEAT_PAUSE_S = 1.0


class ReplayDriver(Driver):
    """All sensors of one file."""

    def __init__(
        self,
        replay: ReplayFile,
        sensors: Sequence[ReplaySensor],
        clock_synced: Callable[[], bool],
        saved: Mapping[str, str] | None = None,
        counts: PortCounts | None = None,
    ) -> None:
        self._replay = replay
        self._sensors = sensors
        self._clock_synced = clock_synced
        self._key = f"driver/{replay.id}/row"
        position = (saved or {}).get(self._key, "0")
        self._done = int(position) if position.isdecimal() else 0
        self._counts = counts or PortCounts()

    async def __aenter__(self) -> ReplayDriver:
        await asyncio.to_thread(self._check)
        return self

    def _check(self) -> None:
        with _open(self._replay.file) as file:
            names = next(csv.reader(file), [])
        missing = {self._replay.time_column, *(sensor.column for sensor in self._sensors)} - set(names)
        if missing:
            raise OSError(f"{self._replay.file}: has no column {', '.join(sorted(missing))}")

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        return

    async def deliveries(self) -> AsyncIterator[Delivery]:
        """One delivery for each row that has a value; a row without a time is skipped and counted in the log."""
        first = self._done
        while True:
            async for number, at, row in self._rows(first):
                moment = at if self._replay.times == "original" else datetime.now(UTC)
                readings, raws = self._readings(row, moment)
                if readings:
                    yield Delivery(readings, raws, {self._key: str(number + 1)})
            if not self._replay.repeat:
                break
            first = 0
            await asyncio.sleep(REPEAT_PAUSE_S)
        logger.info("replay %s: the end of %s is reached", self._replay.id, self._replay.file.name)
        await asyncio.Event().wait()

    async def _rows(self, first: int) -> AsyncIterator[tuple[int, datetime, dict[str, str]]]:
        """(number, time, row) from row *first* on, each at its time; the file's pauses shrink by ``speed``."""
        before: datetime | None = None
        unread = 0
        with await asyncio.to_thread(_open, self._replay.file) as file:
            for number, row in enumerate(_limited(csv.DictReader(file))):
                at = _time(row.get(self._replay.time_column) or "")
                if at is None:
                    unread += 1
                    continue
                if number < first:
                    before = at
                    continue
                step_s = 0.0 if before is None else (at - before).total_seconds() / self._replay.speed
                before = at
                await asyncio.sleep(min(max(step_s, 0.0), STEP_S_MAX))
                yield number, at, row
        if unread:
            logger.warning("replay %s: %d rows without a readable time were skipped", self._replay.id, unread)

    def _readings(self, row: Mapping[str, str], at: datetime) -> tuple[list[Reading], list[object]]:
        readings: list[Reading] = []
        raws: list[object] = []
        synced = self._replay.times == "original" or self._clock_synced()
        for sensor in self._sensors:
            text = (row.get(sensor.column) or "").strip()
            if not text:
                continue
            try:
                readings.append(assess(sensor, to_number(text, {}) * sensor.scale, at, synced))
            except PayloadError as error:
                self._counts.decode_errors += 1
                readings.append(bad(sensor, str(error), at, synced))
            raws.append(text)
        return readings, raws


def _open(path: Path) -> IO[str]:
    return path.open(encoding="utf-8-sig", errors="replace", newline="")


def _limited(rows: csv.DictReader[str]) -> Iterator[dict[str, str]]:
    """The rows; a broken one (the csv module's limit of 128 KiB for a field) is left out."""
    while True:
        try:
            yield next(rows)
        except StopIteration:
            return
        except csv.Error:
            continue


def _time(text: str) -> datetime | None:
    """ISO 8601; without a zone it is UTC."""
    try:
        at = datetime.fromisoformat(text.strip())
        return at.replace(tzinfo=UTC) if at.tzinfo is None else at.astimezone(UTC)
    except (ValueError, OverflowError):
        return None
