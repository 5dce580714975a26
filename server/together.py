"""Stores what many boxes send at once with one sync of the disk, as if each had been stored alone.

Each work has a savepoint of its own: one that is refused undoes no other. Nothing has an outcome before the commit of
its transaction. What was not done along with others is done alone, by its own thread, which meets the fault itself.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from sqlalchemy import Engine
from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.orm import Session

from server.database import writing
from server.deps import AppState, Result, transact
from server.turns import Errand, Haste


def transact_together(state: AppState, work: Callable[[Session], Result], haste: Haste, size_bytes: int) -> Result:
    """As `transact` beside others, for the many small requests of boxes, of *size_bytes*.

    Where writers take turns, whoever has one does the work of those who wait along with its own.
    """
    engine = writing(state.engine, beside=True)
    if engine.dialect.name != "sqlite":
        return transact(state, work, haste, beside=True)
    errand = Errand(work, size_bytes)
    with state.turns.shared(errand, haste) as errands:
        if len(errands) == 1:
            with Session(engine, expire_on_commit=False) as db, db.begin():
                return work(db)
        if errands:
            _do_together(engine, errands)
    return errand.outcome[0] if errand.outcome else transact(state, work, haste, beside=True)


def _do_together(engine: Engine, errands: Sequence[Errand[Any]]) -> None:
    """Do all in one transaction, but leave undone what is refused, and everything if the database does not take it."""
    done: list[tuple[Errand[Any], Any]] = []
    try:
        with Session(engine, expire_on_commit=False) as db, db.begin():
            for errand in errands:
                try:
                    with db.begin_nested():
                        result = errand.work(db)
                except SQLAlchemyError:
                    raise  # the transaction itself may be over
                except Exception:  # noqa: BLE001, S112 - another's fault, which is no answer to this thread's request
                    continue
                done.append((errand, result))
    except SQLAlchemyError:
        return
    for errand, result in done:
        errand.outcome.append(result)
