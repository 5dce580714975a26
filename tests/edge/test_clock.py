"""What the box knows about its clock comes from the kernel and starts no process."""

from __future__ import annotations

import uuid

import pytest

from edge.clock import boot_id, clock_synced


def test_boot_id_is_the_kernels_and_stays() -> None:
    assert uuid.UUID(boot_id()).version == 4
    assert boot_id() == boot_id()


def test_asking_for_the_clock_starts_no_process(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("os.posix_spawn", None)
    monkeypatch.setattr("subprocess.Popen", None)
    assert clock_synced() in (True, False)
