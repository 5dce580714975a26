"""A migrated, empty record to begin with: the migrations, half a second, run once in each process."""

from __future__ import annotations

from functools import cache
from pathlib import Path
from tempfile import TemporaryDirectory

from server.database import migrate
from server.settings import Settings

NAME = "record.sqlite"


@cache
def _bytes() -> bytes:
    with TemporaryDirectory() as folder:
        migrate(Settings(data_dir=Path(folder)))
        assert not (Path(folder) / f"{NAME}-wal").exists(), "closed whole"
        return (Path(folder) / NAME).read_bytes()


def lay_ready_record(data: Path) -> None:
    """As `brightline-server migrate` leaves a new folder; a record that is there already stays."""
    data.mkdir(parents=True, exist_ok=True, mode=0o700)
    if not (data / NAME).exists():
        (data / NAME).write_bytes(_bytes())
