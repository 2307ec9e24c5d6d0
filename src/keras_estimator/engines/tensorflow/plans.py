"""Which plan the steps of a model are run by.

| plan      | the loop                                        | wins on                             |
|-----------|-------------------------------------------------|-------------------------------------|
| "graph"   | a graph around the step                         | what XLA does not compile           |
| "step"    | a graph around the step, which XLA compiles     | convolutions                        |
| "stacked" | XLA compiles the loop over several batches      | dense, recurrent and attention nets |
| "eager"   | Python                                          | what cannot be traced               |

"auto" is what the model's own `compile` says, so that a run that goes on does the same.
"""

from __future__ import annotations

import logging
from typing import Any

from keras_estimator.model.keras_private import compiled_as
from keras_estimator.run_config import ModeKeys

_LOG = logging.getLogger("keras_estimator")
BY_XLA = ("step", "stacked")


class Plans:
    """The plans of one model, one for training and one for measuring.

    Args:
        model: Its `compile` decides if nobody else does.
        wanted: "auto", or the plan to use if that is possible.
        is_shared: Whether several replicas share the steps: XLA compiles no sums over them.
    """

    def __init__(self, model: Any, wanted: str, *, is_shared: bool) -> None:
        self._model = model
        self._wanted = wanted
        self._is_shared = is_shared
        self._refused: set[tuple[str, Any]] = set()

    def of(self, mode: str = ModeKeys.TRAIN) -> str:
        """Return the plan for one of `ModeKeys`."""
        plan = self._wanted if self._wanted != "auto" else self._of_compile()
        is_possible = not self._is_shared and (mode, compiled_as(self._model)) not in self._refused
        return plan if plan not in BY_XLA or is_possible else "graph"

    def is_by_xla(self, mode: str) -> bool:
        """Tell whether XLA is asked to compile the steps."""
        return self.of(mode) in BY_XLA

    def refuse(self, mode: str, obstacle: str) -> None:
        """Use "graph" instead, for the model as it is compiled now, and say why."""
        what = "the training" if mode == ModeKeys.TRAIN else "the evaluation"
        _LOG.info('plan="%s" is not for %s, which runs by "graph": %s', self.of(mode), what, obstacle)
        self._refused.add((mode, compiled_as(self._model)))

    def _of_compile(self) -> str:
        if self._model.run_eagerly:
            return "eager"
        return "step" if self._model.jit_compile else "graph"
