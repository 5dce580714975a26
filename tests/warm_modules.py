"""What the process that `tests.warm` forks from has in memory; it holds no open file, connection or thread."""

from __future__ import annotations

import gc

gc.disable()  # what stands here stays: looking through it again and again costs a tenth of it

import alembic.command  # noqa: E402, F401
from sqlalchemy.orm import configure_mappers  # noqa: E402

import server.cli  # noqa: E402
import server.serving  # noqa: E402, F401

configure_mappers()
gc.freeze()
gc.enable()
