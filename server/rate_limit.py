"""How often somebody may ask: token buckets in this process, one for each caller and one for each address.

Whoever sends a token or a session has a bucket of their own beside their address's, so that people behind one address
do not stand in each other's way and nobody gains anything by making credentials up. What boxes send is limited
elsewhere (`server.backfill`): it is signed, and a box whose records are refused would have to keep them.
"""

from __future__ import annotations

import math
import re
import threading
import time
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass
from hashlib import sha256
from typing import NamedTuple

from starlette.datastructures import Headers, MutableHeaders
from starlette.requests import HTTPConnection
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from server.limits import Limits
from server.problems import problem_response

BUCKETS_MAX = 20_000
# what pages need and what boxes send, who wait by themselves; a picture that is fetched is no box's doing
FREE = re.compile(r"\w+ /static/.*|GET /api/v1/health|POST /api/v1/batches|PUT /api/v1/evidence/[0-9a-f]{64}")


class Verdict(NamedTuple):
    """Whether it may be, how many more may be now, and in how many seconds the bucket is full, or has one again."""

    allowed: bool
    limit: int
    remaining: int
    wait_s: int

    @property
    def headers(self) -> dict[str, str]:
        """As in draft-ietf-httpapi-ratelimit-headers-06, and ``Retry-After`` for a refusal."""
        told = {
            "ratelimit-limit": str(self.limit),
            "ratelimit-remaining": str(self.remaining),
            "ratelimit-reset": str(self.wait_s),
        }
        return told if self.allowed else {**told, "retry-after": str(self.wait_s)}


@dataclass
class _Bucket:
    level: float
    at_s: float


class Buckets:
    """Token buckets by name, of which the longest unused are forgotten. May be called by several threads."""

    def __init__(self, per_s: float, burst: int, clock: Callable[[], float] = time.monotonic) -> None:
        self._per_s = per_s
        self._burst = burst
        self._clock = clock
        self._lock = threading.Lock()
        self._buckets: OrderedDict[str, _Bucket] = OrderedDict()

    def spend(self, name: str) -> Verdict:
        """Take one, if there is one."""
        with self._lock:
            bucket = self._filled(name)
            allowed = bucket.level >= 1
            if allowed:
                bucket.level -= 1
            missing = self._burst - bucket.level if allowed else 1 - bucket.level
            return Verdict(allowed, self._burst, int(bucket.level), max(1, math.ceil(missing / self._per_s)))

    def refund(self, name: str) -> None:
        """Give one back, for what turned out not to count."""
        with self._lock:
            bucket = self._filled(name)
            bucket.level = min(self._burst, bucket.level + 1)

    def _filled(self, name: str) -> _Bucket:
        now_s = self._clock()
        bucket = self._buckets.setdefault(name, _Bucket(self._burst, now_s))
        bucket.level = min(self._burst, bucket.level + (now_s - bucket.at_s) * self._per_s)
        bucket.at_s = now_s
        self._buckets.move_to_end(name)
        if len(self._buckets) > BUCKETS_MAX:
            self._buckets.popitem(last=False)
        return bucket


class RateLimit:
    """ASGI middleware: 429 for who asks too often; every other answer says how much is left."""

    def __init__(self, app: ASGIApp, limits: Limits, cookie: str) -> None:
        self._app = app
        self._cookie = cookie
        self._callers = Buckets(limits.caller_per_s, limits.caller_burst)
        self._addresses = Buckets(limits.address_per_s, limits.address_burst)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http" or FREE.fullmatch(f"{scope['method']} {scope['path']}"):
            await self._app(scope, receive, send)
            return
        verdict = self._judge(scope)
        if not verdict.allowed:
            detail = f"too many requests; wait {verdict.wait_s} s"
            await problem_response(429, "too_many", detail, verdict.headers)(scope, receive, send)
            return

        async def send_with_headers(message: Message) -> None:
            if message["type"] == "http.response.start":
                headers = MutableHeaders(scope=message)
                for name, value in verdict.headers.items():
                    headers.setdefault(name, value)
            await send(message)

        await self._app(scope, receive, send_with_headers)

    def _judge(self, scope: Scope) -> Verdict:
        client = scope.get("client")
        of_address = self._addresses.spend(client[0] if client else "")
        secret = Headers(scope=scope).get("authorization") or HTTPConnection(scope).cookies.get(self._cookie)
        if secret is None or not of_address.allowed:
            return of_address
        of_caller = self._callers.spend(sha256(secret.encode()).hexdigest())
        return of_caller if of_caller.remaining < of_address.remaining or not of_caller.allowed else of_address
