"""Saving and restoring what a part of the judgement remembers, exactly: plain JSON values, floats by their shortest
repr.

A part lists its memory in ``FIELDS``; whatever else it holds follows from its settings. Restoring refuses what does
not fit.
"""

from __future__ import annotations

from typing import Any, ClassVar


class StateError(ValueError):
    """A saved state that is not one of ours; start afresh and say so."""


class Remembering:
    """Base of all parts with memory."""

    FIELDS: ClassVar[tuple[str, ...]] = ()
    LATER: ClassVar[frozenset[str]] = frozenset()  # fields that states of earlier versions do not have

    def state(self) -> dict[str, Any]:
        """The memory as JSON values; lists are copies."""
        return {name: _plain(getattr(self, name)) for name in self.FIELDS}

    def restore(self, state: dict[str, Any]) -> None:
        """Take over what ``state`` gave; raises StateError when a field is missing or foreign."""
        if not isinstance(state, dict) or set(state) | self.LATER != set(self.FIELDS):
            raise StateError(f"{type(self).__name__}: fields differ from {', '.join(self.FIELDS)}")
        for name, value in state.items():
            setattr(self, name, _plain(value))


def _plain(value: Any) -> Any:
    return [_plain(item) for item in value] if isinstance(value, list | tuple) else value
