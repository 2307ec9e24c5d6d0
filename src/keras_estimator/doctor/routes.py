"""What Keras's own way to carry a model makes of it: `save` and `load_model`."""

from __future__ import annotations

import dataclasses
import tempfile
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import keras

from keras_estimator.doctor.failure import Failure
from keras_estimator.model import numpy_calls
from keras_estimator.model.anatomy import Holding, holdings
from keras_estimator.model.computation.trial import Trial, TrialInputs, try_out
from keras_estimator.model.verification import Difference, differences


@dataclasses.dataclass(frozen=True)
class Outcome:
    """What came of a model on one way.

    Attributes:
        failure: The error, if it did not arrive; None if it did.
        differences: What is different in what arrived; empty if nothing is, or if it did not arrive.
    """

    failure: Failure | None
    differences: tuple[Difference, ...]

    @property
    def is_lossless(self) -> bool:
        """Whether it arrived as it was."""
        return self.failure is None and not self.differences

    def __str__(self) -> str:
        if self.failure is not None:
            return self.failure.line
        return "; ".join(map(str, self.differences[:2])) or "nothing is lost"


def keras_routes(model: Any, inputs: TrialInputs, here: Trial) -> dict[str, Outcome]:
    """Try the ways out.

    Args:
        model: The model, which is left as it was.
        inputs: What it is tried with.
        here: What it did with them.

    Returns:
        What came of it, by the name of the way: `"save"` is `save` and `load_model`.
    """
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of a model that is tried out, nobody asked for them
        return {name: _outcome(model, carry, inputs, here) for name, carry in _ROUTES.items()}


def _outcome(model: Any, carry: Callable[[Any], Any], inputs: TrialInputs, here: Trial) -> Outcome:
    try:
        with numpy_calls.eager_too():
            arrived = carry(model)
            _draw_on(model, arrived)
            there = try_out(arrived, inputs, with_fingerprint=False, in_graphs=here.in_graphs)
    except Exception as error:  # noqa: BLE001 - whatever Keras or the user's code says is what we want to know
        return Outcome(Failure(error, "save"), ())
    return Outcome(None, tuple(filter(_is_loss, differences(here, there))))


def _draw_on(model: Any, arrived: Any) -> None:
    """Let a model go on with the random numbers of another: that no file has their states is a rule of its own."""
    states = {held.path: held.variable for held in holdings(model) if _is_of_seeds(held)}
    for held in holdings(arrived):
        if _is_of_seeds(held) and held.path in states:
            held.variable.assign(states[held.path])


def _is_of_seeds(held: Holding) -> bool:
    return isinstance(held.owner, keras.random.SeedGenerator)


def _is_loss(one: Difference) -> bool:
    # An optimizer that is loaded makes its slots at once; one that was compiled makes them at the first step.
    is_new = one.check == "state" and one.here == "missing"
    return one.check != "fingerprint" and not is_new


def _saved(model: Any) -> Any:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "model.keras")
        model.save(path)
        return keras.models.load_model(path)


# Others, as `clone_model`, lose at least what this one loses; rules try them where they tell more.
_ROUTES: dict[str, Callable[[Any], Any]] = {"save": _saved}
