"""The zoo: every kind of model of the list of 61, and what people build besides; what must hold, and data for each.

`KINDS` has all that can be made, `TABLE` finds the 61 by their row, and `CANNOT_BE_MADE` has those of them that Keras
itself refuses.
"""

from __future__ import annotations

import contextlib
from collections.abc import Collection
from typing import Any

import pytest
import zoo_networks
import zoo_steps
import zoo_table_layers
import zoo_table_models
import zoo_training
import zoo_tricks
import zoo_unusual
from zoo_parts import CHECKS, Kind

from keras_estimator.errors import EstimatorWarning

__all__ = ["CANNOT_BE_MADE", "CHECKS", "FILES", "KINDS", "TABLE", "THOROUGH", "Kind", "heard", "under_contract"]

_OF_KINDS = (
    zoo_table_layers,
    zoo_table_models,
    zoo_training,
    zoo_unusual,
    zoo_tricks,
    zoo_steps,
    zoo_networks,
)
# In the order in which a notebook can type them in.
FILES = ("zoo_parts", *(module.__name__ for module in _OF_KINDS))
KINDS: dict[str, Kind] = {name: kind for module in _OF_KINDS for name, kind in module.KINDS.items()}
CANNOT_BE_MADE = zoo_table_models.CANNOT_BE_MADE
TABLE: dict[int, str] = {
    row: name
    for rows in (zoo_table_layers.LAYERS, zoo_table_models.MODELS, CANNOT_BE_MADE)
    for row, (name, *_) in sorted(rows.items())
}
# Half of the kinds that are not in the list of 61: an Estimator trains and serves them when `pytest -m thorough` asks.
THOROUGH = frozenset(sorted(KINDS.keys() - set(TABLE.values()))[::2])


def under_contract(quick: Collection[str] = ()) -> list[Any]:
    """Return all kinds as parameters of a test, marked by when it runs."""

    def marks(name: str) -> list[pytest.MarkDecorator]:
        if name in quick:
            return []
        return [pytest.mark.slow, pytest.mark.thorough] if name in THOROUGH else [pytest.mark.slow]

    return [pytest.param(name, marks=marks(name), id=name) for name in KINDS]


def heard(kind: Kind, moment: str) -> contextlib.AbstractContextManager[object]:
    """Expect the warning that `says` names for that moment; without one there, a warning is an error."""
    expected = kind.says.get(moment)
    return pytest.warns(EstimatorWarning, match=expected) if expected else contextlib.nullcontext()
