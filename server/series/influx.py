"""The series in InfluxDB 1.x, 2.x or 3.x: written by one of two line writers, read by InfluxQL, which all speak.

A write that the database refuses is halved until the points it means are found: those are given back, the rest is
stored, whichever generation answers and however it words its answer. All that may pass by itself is SeriesUnavailable.
"""

from __future__ import annotations

import json
import time
from collections.abc import Iterator, Sequence
from typing import Any

import httpx

from server.series import influxql
from server.series.line_protocol import AT_MS_MAX, AT_MS_MIN, MEASUREMENT, decode_name, lines_of, read_point
from server.series.line_writers import LinesRefused, LineWriter
from server.series.port import (
    PIECE_MS,
    POINTS_PER_WRITE_MAX,
    CannotForget,
    Extent,
    Point,
    Refused,
    SeriesKey,
    SeriesUnavailable,
)

ROWS_PER_ANSWER = 20_000
ANSWER_BYTES_MAX = 64 * 1024 * 1024
REASON_CHARACTERS_MAX = 300
NEVER = (400, 405, 422, 501)  # asked again, it would answer the same: InfluxDB 3 deletes nothing by InfluxQL
PROBE = "brightline_probe ok=1i"


class QuestionRefused(SeriesUnavailable):
    """The database reads the question and will never answer it."""


class InfluxSeriesStore:
    """One database. *client* asks ``/query``, its credentials set; it and *writer* are closed with the store."""

    def __init__(self, name: str, database: str, client: httpx.Client, writer: LineWriter) -> None:
        self._name = name
        self._database = database
        self._client = client
        self._writer = writer

    @property
    def name(self) -> str:
        return self._name

    def close(self) -> None:
        self._client.close()
        self._writer.close()

    def write(self, points: Sequence[Point]) -> list[Refused]:
        if len(points) > POINTS_PER_WRITE_MAX:
            raise ValueError(f"at most {POINTS_PER_WRITE_MAX} points are written at once")
        refused_here = [Refused(point, reason) for point in points if (reason := _never(point))]
        if refused_here:
            never = {refused.point for refused in refused_here}
            points = [point for point in points if point not in never]
        refused: list[Refused] = []
        if points:
            self._send(points, lines_of(points), refused)
        return refused_here + refused

    def _send(self, points: Sequence[Point], lines: Sequence[str], refused: list[Refused]) -> None:
        try:
            self._writer.post("\n".join(lines).encode())
        except LinesRefused as error:
            if len(lines) == 1:
                if not refused:
                    self._probe()
                refused.append(Refused(points[0], str(error)[:REASON_CHARACTERS_MAX]))
                return
            half = len(lines) // 2
            self._send(points[:half], lines[:half], refused)
            self._send(points[half:], lines[half:], refused)

    def _probe(self) -> None:
        """Whether a point that is surely good is taken: what answers 400 to everything is no working database."""
        try:
            self._writer.post(f"{PROBE} {round(time.time() * 1000)}".encode())
        except LinesRefused as error:
            raise SeriesUnavailable(f"it refuses every point: {str(error)[:REASON_CHARACTERS_MAX]}") from error

    def range(self, key: SeriesKey, start_ms: int, end_ms: int) -> Iterator[Point]:
        start_ms, end_ms = max(start_ms, AT_MS_MIN), min(end_ms, AT_MS_MAX)
        while start_ms <= end_ms:
            piece_end_ms = min(start_ms + PIECE_MS - 1, end_ms)
            found = self._piece(key, start_ms, piece_end_ms, "ASC", ROWS_PER_ANSWER)
            yield from found
            start_ms = found[-1].at_ms + 1 if len(found) == ROWS_PER_ANSWER else piece_end_ms + 1

    def latest(self, key: SeriesKey, start_ms: int, end_ms: int) -> Point | None:
        start_ms, end_ms = max(start_ms, AT_MS_MIN), min(end_ms, AT_MS_MAX)
        while start_ms <= end_ms:
            piece_start_ms = max(end_ms - PIECE_MS + 1, start_ms)
            found = self._piece(key, piece_start_ms, end_ms, "DESC", 1)
            if found:
                return found[0]
            end_ms = piece_start_ms - 1
        return None

    def _piece(self, key: SeriesKey, start_ms: int, end_ms: int, order: str, rows_max: int) -> list[Point]:
        (series,) = self._ask(influxql.select_points(key, start_ms, end_ms, order, rows_max))
        rows = series[0]["values"] if series else []
        try:
            return [read_point(key, *row) for row in rows]
        except (TypeError, ValueError) as error:
            raise SeriesUnavailable(f"the measurement {MEASUREMENT} holds what is not ours: {error}") from error

    def keys(self, box_id: str) -> list[SeriesKey]:
        return sorted(self.extents(box_id))

    def extents(self, box_id: str | None = None) -> dict[SeriesKey, Extent]:
        counts, firsts, lasts = (
            {_key_of(item["tags"]): item["values"][0] for item in series}
            for series in self._ask(influxql.select_extents(box_id))
        )
        common = counts.keys() & firsts.keys() & lasts.keys()  # a series may come into being between two of them
        return {key: Extent(counts[key][1], firsts[key][0], lasts[key][0]) for key in common}

    def forget(self, key: SeriesKey, start_ms: int, end_ms: int) -> None:
        start_ms, end_ms = max(start_ms, AT_MS_MIN), min(end_ms, AT_MS_MAX)
        if start_ms > end_ms:
            return
        try:
            self._ask(influxql.delete_points(key, start_ms, end_ms), method="POST")
        except QuestionRefused as error:
            raise CannotForget(str(error)) from error

    def clear(self) -> None:
        self._ask(influxql.DELETE_ALL, method="POST")

    def _ask(self, query: str, *, method: str = "GET") -> list[list[dict[str, Any]]]:
        """The series of each statement's result."""
        params = {"db": self._database, "epoch": "ms", "q": query}
        try:
            with self._client.stream(method, "/query", params=params) as answer:
                body = _read(answer)
                status = answer.status_code
        except httpx.HTTPError as error:
            raise SeriesUnavailable(f"it does not answer ({type(error).__name__}: {error})") from error
        try:
            found = json.loads(body)
            results: list[dict[str, Any]] = found.get("results", [])
            problem = found.get("error") or next((item["error"] for item in results if "error" in item), None)
        except (ValueError, AttributeError, TypeError) as error:
            raise SeriesUnavailable(f"it answers {status} and no JSON to a question") from error
        if problem is not None or status != httpx.codes.OK:
            kind = QuestionRefused if status in NEVER else SeriesUnavailable
            raise kind(f"it answers {status} to a question: {str(problem)[:REASON_CHARACTERS_MAX]}")
        return [item.get("series", []) for item in results]


def _key_of(tags: dict[str, str]) -> SeriesKey:
    return SeriesKey(*(decode_name(tags[tag]) for tag in influxql.TAGS))


def _read(answer: httpx.Response) -> bytes:
    body = bytearray()
    for part in answer.iter_bytes():
        body += part
        if len(body) > ANSWER_BYTES_MAX:
            raise SeriesUnavailable(f"its answer has more than {ANSWER_BYTES_MAX} bytes")
    return bytes(body)


def _never(point: Point) -> str | None:
    """Why no InfluxDB will ever take this point."""
    if not AT_MS_MIN <= point.at_ms <= AT_MS_MAX:
        return "its time is outside of what InfluxDB can keep (1970 to 2262)"
    return "a name is empty" if not all(point.key) else None
