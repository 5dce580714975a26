"""The way to the centre over HTTPS: one request, one answer, or an error that says what the caller can do.

Plain HTTP is refused except to this machine itself: records are signed, but nobody else shall read them. The
environment's proxy settings are not looked at: what leaves the box, and through whom, stands in its configuration.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Protocol

from pydantic import Field, ValidationError

from telemetry.messages import Message, Receipt, SeqRange
from telemetry.outbox.status import Pending
from telemetry.pace import Pace
from telemetry.pinning import client_context
from telemetry.server_url import check_server_url

if TYPE_CHECKING:
    import httpx

CONTENT_TYPE = "application/vnd.brightline.batch"
HISTORICAL = "brightline-historical"  # request header: old records, the centre may take newer ones first
ASK_MISSING = "brightline-ask-missing"  # request header: say which batches of this box are missing
TIMEOUT_S = 15.0
CONNECT_TIMEOUT_S = 5.0
RETRY_AFTER_S_MAX = 300.0
REVOKED = "the centre has revoked this box and takes nothing of it; enrol it again in an empty folder"


class UplinkUnavailable(Exception):
    """The centre did not take it now: keep everything and try again, not before ``retry_after_s`` if it is given."""

    def __init__(self, detail: str, retry_after_s: float | None = None) -> None:
        super().__init__(detail)
        self.retry_after_s = retry_after_s


class UplinkRefused(Exception):
    """The centre says that these bytes are wrong and always will be. ``code``: why, in one word, if it says so."""

    def __init__(self, detail: str, code: str = "") -> None:
        super().__init__(detail)
        self.code = code


class Answer(Message):
    """Receipts for batches of the request; ``missing`` if it was asked for."""

    receipts: list[Receipt]
    missing: list[SeqRange] = Field(default_factory=list, max_length=1000)


class Uplink(Protocol):
    """Port: the way to the centre. Raises UplinkUnavailable or UplinkRefused."""

    async def send(
        self, batches: Sequence[Pending], *, historical: bool = False, urgent: bool = False, ask_missing: bool = False
    ) -> Answer: ...

    async def send_evidence(self, sha256: str, data: bytes) -> None: ...


@dataclass(frozen=True)
class UplinkSettings:
    """Where the centre is and how to reach it. ``pins``: SHA-256 of public keys (see `telemetry.pinning`)."""

    base_url: str
    ca_file: Path | None = None
    pins: tuple[str, ...] = ()
    proxy: str | None = None
    timeout_s: float = TIMEOUT_S


class HttpsUplink:
    """Sends batches and evidence; an async context manager."""

    def __init__(self, settings: UplinkSettings, pace: Pace | None = None) -> None:
        self._pace = pace or Pace()
        self._settings = settings
        self._context = client_context(settings.ca_file, settings.pins)
        self._client = self._make_client()
        self._under_way: Counter[httpx.AsyncClient] = Counter()

    def _make_client(self) -> httpx.AsyncClient:
        import httpx

        return httpx.AsyncClient(
            base_url=check_server_url(self._settings.base_url),
            timeout=httpx.Timeout(self._settings.timeout_s, connect=CONNECT_TIMEOUT_S),
            verify=self._context,
            proxy=self._settings.proxy,
            trust_env=False,
            limits=httpx.Limits(max_connections=8, max_keepalive_connections=4, keepalive_expiry=60),
        )

    async def __aenter__(self) -> HttpsUplink:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for client in {self._client, *self._under_way}:
            await client.aclose()

    async def send(
        self, batches: Sequence[Pending], *, historical: bool = False, urgent: bool = False, ask_missing: bool = False
    ) -> Answer:
        """The centre's answer for *batches*. *urgent* ones do not wait for the bandwidth cap."""
        body = b"".join(batch.raw for batch in batches)
        headers = {"content-type": CONTENT_TYPE}
        headers |= {HISTORICAL: "1"} if historical else {}
        headers |= {ASK_MISSING: "1"} if ask_missing else {}
        answer = await self._request("POST", "/api/v1/batches", body, headers, urgent=urgent)
        try:
            return Answer.model_validate_json(answer.content)
        except ValidationError as error:
            raise UplinkUnavailable("the answer holds no receipts; is this a Brightline centre?") from error

    async def send_evidence(self, sha256: str, data: bytes) -> None:
        """Upload one sealed evidence file; raises UplinkUnavailable or UplinkRefused."""
        headers = {"content-type": "application/vnd.brightline.evidence"}
        await self._request("PUT", f"/api/v1/evidence/{sha256}", data, headers, urgent=False)

    async def _request(
        self, method: str, path: str, body: bytes, headers: dict[str, str], *, urgent: bool
    ) -> httpx.Response:
        import httpx

        content: bytes | AsyncIterator[bytes] = body
        if self._pace.is_capped and not urgent:
            headers["content-length"] = str(len(body))
            content = self._pace.spread(body)
        else:
            self._pace.spend(len(body))
        try:
            answer = await self._exchange(method, path, content, headers)
        except httpx.HTTPError as error:
            raise UplinkUnavailable(f"{type(error).__name__}: {error}") from error
        if answer.is_success:
            return answer
        if answer.status_code == 403 and _code(answer) == "revoked":
            raise UplinkUnavailable(REVOKED, RETRY_AFTER_S_MAX)
        detail = f"HTTP {answer.status_code}: {answer.text[:200]}"
        if answer.status_code in (400, 409, 413, 422):
            raise UplinkRefused(detail, _code(answer))
        raise UplinkUnavailable(detail, _retry_after_s(answer.headers.get("retry-after")))

    async def _exchange(
        self, method: str, path: str, content: bytes | AsyncIterator[bytes], headers: dict[str, str]
    ) -> httpx.Response:
        """One request. When its line is dead, so are the connections kept beside it: the next request opens its own.

        What is under way over the old ones may end there; who ends last closes them. Raises httpx.HTTPError.
        """
        import httpx

        client = self._client
        self._under_way[client] += 1
        try:
            return await client.request(method, path, content=content, headers=headers)
        except (httpx.ReadTimeout, httpx.WriteTimeout):
            if client is self._client:
                self._client = self._make_client()
            raise
        finally:
            self._under_way[client] -= 1
            if not self._under_way[client]:
                del self._under_way[client]
                if client is not self._client:
                    await client.aclose()


def _code(answer: httpx.Response) -> str:
    try:
        problem = answer.json()
    except ValueError:
        return ""
    return str(problem.get("code", "")) if isinstance(problem, dict) else ""


def _retry_after_s(text: str | None) -> float | None:
    """Seconds of a Retry-After header (RFC 9110, 10.2.3), in its number form or as a date."""
    from datetime import UTC, datetime
    from email.utils import parsedate_to_datetime

    if text is None:
        return None
    if text.isascii() and text.isdigit():
        return min(float(text[:9]), RETRY_AFTER_S_MAX)
    try:
        until = parsedate_to_datetime(text)
        wait_s = (until - datetime.now(UTC)).total_seconds()
    except (ValueError, TypeError):
        return None
    return min(max(wait_s, 0.0), RETRY_AFTER_S_MAX)
