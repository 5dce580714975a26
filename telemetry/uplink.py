"""The way to the centre over HTTPS: one request, one answer, or an error that says what the caller can do.

Plain HTTP is refused except to this machine itself: records are signed, but nobody else shall read them.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from types import TracebackType

import httpx
from pydantic import ValidationError

from telemetry.messages import Message, Receipt
from telemetry.outbox import Pending
from telemetry.server_url import check_server_url

CONTENT_TYPE = "application/vnd.brightline.batch"
TIMEOUT = httpx.Timeout(15, connect=5)
RETRY_AFTER_S_MAX = 300.0


class UplinkUnavailable(Exception):
    """The centre did not take it now: keep everything and try again, not before ``retry_after_s`` if it is given."""

    def __init__(self, detail: str, retry_after_s: float | None = None) -> None:
        super().__init__(detail)
        self.retry_after_s = retry_after_s


class UplinkRefused(Exception):
    """The centre says that these bytes are wrong and always will be."""


class _Receipts(Message):
    receipts: list[Receipt]


class HttpsUplink:
    """Sends batches and evidence; an async context manager."""

    def __init__(self, base_url: str, *, ca_file: Path | None = None) -> None:
        import ssl

        context = ssl.create_default_context(cafile=str(ca_file) if ca_file else None)
        self._client = httpx.AsyncClient(base_url=check_server_url(base_url), timeout=TIMEOUT, verify=context)

    async def __aenter__(self) -> HttpsUplink:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._client.aclose()

    async def send(self, batches: Sequence[Pending]) -> list[Receipt]:
        """The receipts for *batches*; raises UplinkUnavailable or UplinkRefused."""
        body = b"".join(batch.raw for batch in batches)
        answer = await self._request("POST", "/api/v1/batches", body, CONTENT_TYPE)
        try:
            return _Receipts.model_validate_json(answer.content).receipts
        except ValidationError as error:
            raise UplinkUnavailable("the answer holds no receipts; is this a Brightline centre?") from error

    async def send_evidence(self, sha256: str, data: bytes) -> None:
        """Upload one sealed evidence file; raises UplinkUnavailable or UplinkRefused."""
        await self._request("PUT", f"/api/v1/evidence/{sha256}", data, "application/vnd.brightline.evidence")

    async def _request(self, method: str, path: str, body: bytes, content_type: str) -> httpx.Response:
        try:
            answer = await self._client.request(method, path, content=body, headers={"content-type": content_type})
        except httpx.HTTPError as error:
            raise UplinkUnavailable(f"{type(error).__name__}: {error}") from error
        if answer.is_success:
            return answer
        detail = f"HTTP {answer.status_code}: {answer.text[:200]}"
        if answer.status_code in (400, 409, 413, 422):
            raise UplinkRefused(detail)
        raise UplinkUnavailable(detail, _retry_after_s(answer.headers.get("retry-after")))


def _retry_after_s(text: str | None) -> float | None:
    if text is None or not text.isdigit():
        return None
    return min(float(text), RETRY_AFTER_S_MAX)
