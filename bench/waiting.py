"""Says how long a run of the benchmark takes: a guess at first, and after each model by how right that was."""

from __future__ import annotations

import time
from collections.abc import Collection, Sequence

from bench.race import CALLS, Effort

# Seconds for each row on two cores; what is compiled by XLA counts most.
_START, _TRY, _ORIGINAL_CALL = 2.5, 3.5, 1.0
_SLOW_TO_TRY = {"transformer": 6.0, "resnet": 8.0, "mobilenet": 20.0}
_FEWER = 0.7  # of the rows are not left out


class Waiting:
    """How much of a run is done, and how much is to come.

    Args:
        models: The names of all models.
        rows: The names of all rows.
        effort: How much is measured.
    """

    def __init__(self, models: Sequence[str], rows: Collection[str], effort: Effort) -> None:
        self._guesses = [_secs(model, rows, effort) for model in models]
        self._began = time.perf_counter()
        self._done = 0

    def line(self) -> str:
        """Return a line for the person who waits."""
        total, done = sum(self._guesses), sum(self._guesses[: self._done])
        gone = time.perf_counter() - self._began
        left = gone / done * (total - done) if done else total
        return f"{self._done} of {len(self._guesses)} models are measured, about {_minutes(left)} to go"

    def model_is_done(self) -> None:
        """Note that one more model has been measured."""
        self._done += 1


def _secs(model: str, rows: Collection[str], effort: Effort) -> float:
    calls = sum(len(CALLS.get(mode, ())) for mode in effort.modes)
    turn = (effort.secs + 0.2 if "train" in effort.modes else 0.0) + calls * (effort.call_secs + 0.05)
    original = calls * _ORIGINAL_CALL if "original" in rows else 0.0
    to_try = _START + _SLOW_TO_TRY.get(model, _TRY)
    return len(rows) * to_try + effort.rounds * (len(rows) * _FEWER * turn + original)


def _minutes(secs: float) -> str:
    return f"{secs / 60:.0f} minutes" if secs >= 90 else f"{secs:.0f} seconds"
