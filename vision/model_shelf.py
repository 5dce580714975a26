"""Each model once in memory, however many cameras use it: sessions of onnxruntime by the SHA-256 of their bytes.

A session may run in several threads at once. Its own threads are explicit and do not spin: spinning costs four times
the CPU at a few pictures a second.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from threading import Lock
from typing import Any


@dataclass
class ModelShelf:
    """``threads`` are those of one inference."""

    threads: int = 1
    _sessions: dict[str, Any] = field(default_factory=dict)
    _loading: Lock = field(default_factory=Lock)  # two cameras may change their model in the same moment

    def session(self, sha256: str, data: bytes) -> Any:
        """The `onnxruntime.InferenceSession` of the model with these bytes; raises what onnxruntime raises."""
        import onnxruntime as ort

        with self._loading:
            if sha256 not in self._sessions:
                options = ort.SessionOptions()
                options.intra_op_num_threads = self.threads
                options.inter_op_num_threads = 1
                options.add_session_config_entry("session.intra_op.allow_spinning", "0")
                self._sessions[sha256] = ort.InferenceSession(data, options, providers=["CPUExecutionProvider"])
            return self._sessions[sha256]
