"""One small record for the tests of the seals; who changes it takes a copy."""

from __future__ import annotations

from tests.server.merkle.conftest import record, whole

__all__ = ["record", "whole"]
