"""What the process that `tests.warm` forks from has in memory; it holds no open file, connection or thread."""

from __future__ import annotations

import gc

gc.disable()  # what stands here stays: looking through it again and again costs a tenth of it

import alembic.command  # noqa: E402, F401
from sqlalchemy.orm import configure_mappers  # noqa: E402

import edge.cli  # noqa: E402
import edge.gateway  # noqa: E402, F401
import firmware_sim.cli  # noqa: E402, F401
import server.cli  # noqa: E402
import server.serving  # noqa: E402, F401
from server import accounts  # noqa: E402
from server.i18n import catalogue  # noqa: E402
from server.self_control.catalogue import sample_rules, sheets  # noqa: E402
from server.statistics.risk import risk_rules  # noqa: E402

configure_mappers()
for begin in (accounts.warm_up, catalogue, sheets, sample_rules, risk_rules):  # each is kept by a cache of its own
    begin()
gc.freeze()
gc.enable()
