"""The box's calls at the centre: one that waits there for commands, and one that fetches a release."""

from __future__ import annotations

import hashlib
import re
import time
from dataclasses import dataclass
from types import TracebackType
from typing import TYPE_CHECKING

from pydantic import ValidationError

from telemetry.commands import (
    ANSWER_BYTES_MAX,
    Call,
    Command,
    CommandError,
    Fetch,
    Signed,
    open_answer,
    sign_call,
    sign_fetch,
)
from telemetry.pinning import client_context
from telemetry.released_model import PIECE_BYTES_MAX
from telemetry.server_url import check_server_url
from telemetry.signing import PublicKey, Signer
from telemetry.uplink import CONNECT_TIMEOUT_S, RETRY_AFTER_S_MAX, TIMEOUT_S, UplinkSettings, UplinkUnavailable

if TYPE_CHECKING:
    import httpx

PATH = "/api/v1/boxes/self/commands"
RELEASE_PATH = "/api/v1/boxes/self/release"
_CONTENT_RANGE = re.compile(r"bytes (\d{1,12})-\d{1,12}/(\d{1,12})")
AFTER = "brightline-after"  # response header of a refused number: the next one must be above


@dataclass(frozen=True)
class Parties:
    """Who calls, with which key, and whose answers count."""

    box_id: str
    signer: Signer
    centre_key: PublicKey


@dataclass(frozen=True)
class Piece:
    """A part of ``total_bytes``."""

    data: bytes
    total_bytes: int


class PieceMissing(UplinkUnavailable):
    """The bytes that were asked for begin beyond the end."""


class CommandCaller:
    """An async context manager; one call at a time."""

    def __init__(self, settings: UplinkSettings, parties: Parties) -> None:
        import httpx

        self._parties = parties
        self._ahead_ms = 0  # what the box's clock lacks to the numbers that the centre takes
        self._last = 0
        self._client = httpx.AsyncClient(
            base_url=check_server_url(settings.base_url),
            timeout=httpx.Timeout(TIMEOUT_S, connect=CONNECT_TIMEOUT_S),
            verify=client_context(settings.ca_file, settings.pins),
            proxy=settings.proxy,
            trust_env=False,
        )

    async def __aenter__(self) -> CommandCaller:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._client.aclose()

    async def ask(self, known: list[str], wait_s: int) -> list[Command]:
        """The commands that wait, but for the *known*; empty after *wait_s*. Raises UplinkUnavailable."""
        call = Call(box_id=self._parties.box_id, number=self._next(), wait_s=wait_s, known=known)
        answer = await self._post(PATH, sign_call(call, self._parties.signer), wait_s)
        if len(answer.content) > 2 * ANSWER_BYTES_MAX:
            raise UplinkUnavailable("the answer is too long")
        try:
            return open_answer(Signed.model_validate_json(answer.content), self._parties.centre_key, call)
        except (ValidationError, CommandError) as error:
            raise UplinkUnavailable(f"the answer is not the centre's: {error}") from error

    async def fetch(self, sha256: str) -> bytes:
        """The bytes of the release with that digest, which a signed command named. Raises UplinkUnavailable."""
        asked = Fetch(box_id=self._parties.box_id, number=self._next(), sha256=sha256)
        answer = await self._post(RELEASE_PATH, sign_fetch(asked, self._parties.signer))
        if hashlib.sha256(answer.content).hexdigest() != sha256:
            raise UplinkUnavailable("the centre sent other bytes than it announced")
        return answer.content

    async def fetch_piece(self, sha256: str, first: int) -> Piece:
        """At most PIECE_BYTES_MAX of these bytes, from *first* on; nothing is checked but the size.

        Raises PieceMissing when there are none, UplinkUnavailable.
        """
        asked = Fetch(box_id=self._parties.box_id, number=self._next(), sha256=sha256)
        last = first + PIECE_BYTES_MAX - 1
        signed = sign_fetch(asked, self._parties.signer)
        answer = await self._post(RELEASE_PATH, signed, range=f"bytes={first}-{last}")
        said = _CONTENT_RANGE.fullmatch(answer.headers.get("content-range", ""))
        if said is None or int(said[1]) != first or not 0 < len(answer.content) <= PIECE_BYTES_MAX:
            raise UplinkUnavailable("the centre gives no piece of it")
        return Piece(answer.content, int(said[2]))

    def _next(self) -> int:
        self._last = max(self._last + 1, int(time.time() * 1000) + self._ahead_ms)
        return self._last

    async def _post(self, path: str, signed: Signed, wait_s: int = 0, **more: str) -> httpx.Response:
        """The answer of a request that succeeded; raises UplinkUnavailable."""
        import httpx

        headers = {"content-type": "application/json", **more}
        timeout = httpx.Timeout(wait_s + TIMEOUT_S, connect=CONNECT_TIMEOUT_S)
        try:
            answer = await self._client.post(path, content=signed.model_dump_json(), headers=headers, timeout=timeout)
        except httpx.HTTPError as error:
            raise UplinkUnavailable(f"{type(error).__name__}: {error}") from error
        after = answer.headers.get(AFTER, "")
        if answer.status_code == 409 and after.isdecimal() and len(after) < 17:
            self._ahead_ms += int(after) - self._last + 1
            self._last = 0
            raise UplinkUnavailable("the centre asks for another number", 0.0)
        if answer.status_code == 416:
            raise PieceMissing("the centre has no such piece of it")
        if answer.status_code == 403:
            raise UplinkUnavailable(f"HTTP 403: {answer.text[:200]}", RETRY_AFTER_S_MAX)
        if not answer.is_success:
            raise UplinkUnavailable(f"HTTP {answer.status_code}: {answer.text[:200]}")
        return answer
