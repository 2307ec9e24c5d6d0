"""A place in data that Python gives, as a checkpoint holds it: which batch, and what is needed to give that again."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any

from keras_estimator.engines import draws, plain_values
from keras_estimator.engines.engine import Position
from keras_estimator.engines.plain_values import not_written
from keras_estimator.errors import CheckpointError


@dataclasses.dataclass(frozen=True)
class Place:
    """A place, as far as another process needs it.

    Attributes:
        at: The batch to go on with.
        state: What whoever gives the batches needs for that, as JSON values; None: it has to begin at its beginning.
        hash: By what the last batch is known that was trained on; empty if nobody has looked.
        untold: Why there is no state, or the one of an earlier batch.
    """

    at: Position
    state: Mapping[str, Any] | None
    hash: str = ""
    untold: str = ""

    def record(self) -> dict[str, Any]:
        """Return the place as JSON values."""
        return {"at": [self.at.passes, self.at.batches], "state": self.state, "hash": self.hash, "untold": self.untold}

    def needed(self) -> dict[str, Any] | None:
        """Return the state as it was noted: what was held, and the states of random numbers."""
        state = self.state
        return None if state is None else {"random": state["random"], "held": plain_values.read(state["held"])}

    @classmethod
    def of(cls, record: Any, position: Position) -> Place:
        """Return the place that was recorded.

        Args:
            record: What `record` returned.
            position: How far the data were read then.

        Raises:
            CheckpointError: it never returned that.
        """
        try:
            passes, batches = record["at"]
            state, known = record["state"], {name: record[name] for name in ("hash", "untold")}
            is_before = (0, 0) <= (passes, batches) <= (position.passes, position.batches)
            if type(passes) is not int or type(batches) is not int or batches < 0 or not is_before:
                raise not_written(f"the batch {record['at']!r:.60} for {position}")
            if not all(isinstance(text, str) for text in known.values()):
                raise not_written(repr(known))
            if state is not None:
                draws.check(state["random"])
                plain_values.read(state["held"])
        except CheckpointError:
            raise
        except (*draws.NO_STATE, AttributeError) as error:
            raise not_written(f"{type(error).__name__}: {error}") from error
        return cls(Position(passes, batches), state, **known)
