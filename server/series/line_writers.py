"""The two ways to hand line protocol to InfluxDB; times are milliseconds, bodies are compressed.

What the database answers is told apart in one place: refused points (LinesRefused), or anything that may pass by
itself (SeriesUnavailable), wrong credentials and a missing database included: an operator will mend those.
"""

from __future__ import annotations

import gzip
from typing import Any, Protocol

import httpx

from server.series.port import SeriesUnavailable

# 400: not parsed, or a partial write; 413: too much at once; 422: a field of another type (2.x)
REFUSING = (400, 413, 422)
ANSWER_CHARACTERS_MAX = 300


class LinesRefused(Exception):
    """The database read the lines and did not take all of them; its words."""


class LineWriter(Protocol):
    """Raises LinesRefused or SeriesUnavailable."""

    def post(self, lines: bytes) -> None:
        """Hand over lines; on return all of them are stored."""

    def close(self) -> None:
        """End its connections."""


def _fail(status: int, answer: str) -> None:
    if status in REFUSING:
        raise LinesRefused(answer[:ANSWER_CHARACTERS_MAX])
    hint = {
        401: "; check user, password or token",
        403: "; check user, password or token",
        404: "; does the database exist?",
    }
    raise SeriesUnavailable(f"it answers {status} to a write: {answer[:ANSWER_CHARACTERS_MAX]}{hint.get(status, '')}")


class V1LineWriter:
    """``POST /write`` (InfluxDB 1.x, and later ones for compatibility)."""

    def __init__(self, client: httpx.Client, database: str) -> None:
        """*client* is closed by its owner."""
        self._client = client
        self._params = {"db": database, "precision": "ms"}

    def post(self, lines: bytes) -> None:
        packed = gzip.compress(lines, 1, mtime=0)
        try:
            answer = self._client.post(
                "/write", params=self._params, content=packed, headers={"content-encoding": "gzip"}
            )
        except httpx.HTTPError as error:
            raise SeriesUnavailable(f"it does not answer ({type(error).__name__}: {error})") from error
        if answer.status_code not in (200, 204):
            _fail(answer.status_code, _message(answer))

    def close(self) -> None:
        """The client belongs to the store."""


def _message(answer: httpx.Response) -> str:
    try:
        return str(answer.json()["error"])
    except (ValueError, KeyError, TypeError):
        return answer.text


class V2LineWriter:
    """``POST /api/v2/write`` through influxdb-client (InfluxDB 2.x and 3.x; VictoriaMetrics takes it too)."""

    def __init__(
        self, url: str, org: str, bucket: str, token: str | None, timeout_s: float, ca_file: str | None
    ) -> None:
        from influxdb_client.client.influxdb_client import InfluxDBClient
        from influxdb_client.client.write_api import SYNCHRONOUS

        more: dict[str, Any] = {} if ca_file is None else {"ssl_ca_cert": ca_file}
        self._client: Any = InfluxDBClient(
            url, token or "", org=org, enable_gzip=True, timeout=round(timeout_s * 1000), retries=False, **more
        )
        # one write is one request: its batching mode would drop what fails for three minutes
        self._api: Any = self._client.write_api(write_options=SYNCHRONOUS)
        self._org = org
        self._bucket = bucket

    def post(self, lines: bytes) -> None:
        from influxdb_client.client.exceptions import InfluxDBError
        from influxdb_client.rest import ApiException
        from urllib3.exceptions import HTTPError

        try:
            self._api.write(self._bucket, self._org, lines, write_precision="ms")
        except ApiException as error:
            _fail(error.status or 0, str(error.message))
        except (HTTPError, InfluxDBError) as error:
            raise SeriesUnavailable(f"it does not answer ({type(error).__name__})") from error

    def close(self) -> None:
        self._api.close()
        self._client.close()
