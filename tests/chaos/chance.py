"""Chance that can be repeated: every harness draws from one seed, prints it, and takes it back from the environment."""

from __future__ import annotations

import os
import random
import sys


def seeded(name: str) -> random.Random:
    """A generator for *name*; ``BRIGHTLINE_SEED=N`` replays what an earlier run printed."""
    seed = int(os.environ.get("BRIGHTLINE_SEED") or random.SystemRandom().randrange(2**31))
    sys.stdout.write(f"{name}: seed {seed}; replay with BRIGHTLINE_SEED={seed}\n")
    return random.Random(seed)
