"""Where a missing number was seen last: at the broker alone, in the box's outbox, or in the centre's journal.

What a harness calls lost has to name its loser: this is the evidence. Files are only read, whoever runs.
"""

from __future__ import annotations

import contextlib
import json
import sqlite3
from collections.abc import Iterable, Sequence

from telemetry.batch import BatchError, open_batch
from telemetry.messages import Reading
from telemetry.signing import PublicKey
from tests.chaos.chain import Chain

FRAMES = "SELECT frame.raw, batch.delivered FROM batch JOIN frame USING (id) WHERE lane = 'readings' ORDER BY id DESC"
FRESH = "SELECT payload FROM fresh ORDER BY id DESC"


def explain(chain: Chain, numbers: Sequence[int], kills: Iterable[tuple[str, int]] = ()) -> str:
    """One line a number, at most twenty. *kills*: (victim, numbers sent until then)."""
    held, journal = outbox_numbers(chain), journal_numbers(chain)
    lines = []
    for number in numbers[:20]:
        box = held.get(number, "not in the outbox: the broker alone had it, or what the box had read was not committed")
        centre = "in the journal" if number in journal else "not in the journal"
        before = [f"{name} at {sent}" for name, sent in kills if sent <= number][-2:]
        after = [f"{name} at {sent}" for name, sent in kills if sent > number][:3]
        lines.append(f"{number}: {box}; {centre}; kills before {before}, after {after}")
    return "\n".join(lines)


def outbox_numbers(chain: Chain, newest: int = -1) -> dict[int, str]:
    """Number -> where it stands in the box; delivered ones as long as the box keeps them (16 MB).

    With *newest*, only those of so many commits and so many batches.
    """
    path = chain.folder / "box" / "outbox.sqlite"
    with contextlib.closing(sqlite3.connect(f"file:{path}?mode=ro", uri=True, timeout=20)) as db:
        fresh = db.execute(f"{FRESH} LIMIT ?", (newest,)).fetchall()  # before the frames: they go there
        frames = db.execute(f"{FRAMES} LIMIT ?", (newest,)).fetchall()
    found = {
        number: "delivered" if delivered else "waiting in the outbox"
        for raw, delivered in frames
        for number in frame_numbers(chain, raw)
    }
    items = [item for (payload,) in fresh for item in json.loads(payload)]
    return found | {round(item["value"]): "fresh in the outbox" for item in items if item["value"] is not None}


def newest_committed(chain: Chain) -> int:
    """The highest number of the box's last commits, 0 without any. Numbers come in order."""
    return max(outbox_numbers(chain, newest=3), default=0)


def journal_numbers(chain: Chain) -> set[int]:
    """The numbers in the batches that the centre has stored."""
    frames = chain.rows("SELECT raw FROM batch WHERE lane = 'readings'")
    return {number for (raw,) in frames if isinstance(raw, bytes) for number in frame_numbers(chain, raw)}


def frame_numbers(chain: Chain, raw: bytes) -> list[int]:
    """The numbers in one sealed batch; none in one that does not prove itself."""
    keys = {str(name): PublicKey.from_b64(str(key)) for name, key in chain.rows("SELECT id, public_key FROM box")}
    try:
        records = [record for _, record in open_batch(raw, keys.get).records]
    except BatchError:
        return []
    return [round(item.value) for item in records if isinstance(item, Reading) and item.value is not None]
