"""A document of the provider: asked for when somebody needs it, kept for an hour, and never asked for in a crowd.

One thread asks and holds no lock over it; whether it went well or not, nobody asks again for a while. So neither a
provider that is away nor tokens with invented key ids make the centre's threads wait or the provider's door busy.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Generic, TypeVar

from server.oidc.refusal import OidcRefused

LIFE_S = 3600.0
ASKED_AGAIN_S = 30.0
WAIT_S = 2.0  # for a thread that is asking already
Content = TypeVar("Content")


class Document(Generic[Content]):
    """*ask* gives the content or raises OidcRefused; *clock* is in seconds and never goes back."""

    def __init__(self, ask: Callable[[], Content], clock: Callable[[], float]) -> None:
        self._ask, self._clock = ask, clock
        self._changed = threading.Condition()
        self._kept: Content | None = None
        self._failed = OidcRefused("oidc_unreachable", "the provider has not answered yet")
        self._kept_s = self._asked_s = float("-inf")
        self._asking = False

    def get(self, suits: Callable[[Content], bool] = lambda _: True) -> Content:
        """The content; if the kept one does not suit a fresh one, where it may be asked for. Raises OidcRefused.

        What comes may not suit either.
        """
        with self._changed:
            self._changed.wait_for(lambda: not self._asking or self._young(suits) is not None, WAIT_S)
            found = self._young(suits)
            if found is not None:
                return found
            if self._asking or self._clock() - self._asked_s < ASKED_AGAIN_S:
                kept = self._young()
                if kept is not None:
                    return kept
                raise OidcRefused(self._failed.code, self._failed.reason)
            self._asking, self._asked_s = True, self._clock()
        return self._renew()

    def _young(self, suits: Callable[[Content], bool] = lambda _: True) -> Content | None:
        kept = self._kept if self._clock() - self._kept_s <= LIFE_S else None
        return kept if kept is not None and suits(kept) else None

    def _renew(self) -> Content:
        fresh = None
        try:
            fresh = self._ask()
            return fresh
        except OidcRefused as refused:
            self._failed = refused
            raise
        finally:
            with self._changed:
                self._asking = False
                if fresh is not None:
                    self._kept, self._kept_s = fresh, self._clock()
                self._changed.notify_all()
