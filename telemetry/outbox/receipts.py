"""What the centre's answers do to the outbox. The caller holds the transaction.

A batch that the centre refuses because it holds other bytes under that number (this file was taken back to an
earlier state, by a damaged log, a restored copy or a disk that lied) is no loss: its records are sealed again in a
new epoch.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence

from telemetry.messages import Receipt, SeqRange
from telemetry.outbox.store import BatchStore

logger = logging.getLogger(__name__)
MISSING_RANGES_MAX = 100
FORKED = ("conflict", "chain")


def carry_out_receipt(store: BatchStore, receipt: Receipt) -> None:
    """Mark as delivered, seal again, or set aside."""
    key = (receipt.epoch, receipt.lane, receipt.seq)
    if receipt.status != "rejected":
        store.mark_delivered(*key)
        return
    reason = receipt.reason or ""
    if receipt.seq > 1 and reason.partition(":")[0] in FORKED:  # a fresh epoch cannot be known to the centre
        if receipt.epoch == store.epoch:
            logger.error("the centre holds other batches under this epoch (%s); a new epoch begins", reason)
            store.begin_epoch()
            store.append_events([store.note("epoch_renewed", epoch=store.epoch, before=receipt.epoch)])
        store.seal_again(*key)
        return
    store.set_aside(*key, reason)


def answer_missing(store: BatchStore, missing: Sequence[SeqRange]) -> int:
    """Send again what is here, tell what is not; gives the number of batches sent again."""
    again = 0
    for item in missing[:MISSING_RANGES_MAX]:
        again += store.send_again(item.epoch, item.lane, item.first_seq, item.last_seq)
    for item in missing[:MISSING_RANGES_MAX]:
        for first, last in list(store.absent(item.epoch, item.lane, item.first_seq, item.last_seq)):
            store.tell_gap("missing", item.lane, item.epoch, first, last)
    return again
