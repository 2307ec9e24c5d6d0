"""A place in the data is written to a checkpoint and read back; what was never written there is an error."""

from __future__ import annotations

import json
import random
from typing import Any

import numpy as np
import pytest

from keras_estimator.engines import draws
from keras_estimator.engines.engine import Position
from keras_estimator.engines.places import Place
from keras_estimator.engines.plain_values import written
from keras_estimator.errors import CheckpointError

HERE = Position(2, 5)


def record(**changes: Any) -> Any:
    state = {"random": draws.noted()(), "held": written({".rng": {"state": {"key": np.arange(3)}}})}
    return json.loads(json.dumps({**Place(Position(2, 4), state, "abc", "").record(), **changes}))


def test_a_place_comes_back() -> None:
    place = Place.of(record(), HERE)
    assert (place.at, place.hash, place.untold) == (Position(2, 4), "abc", "")
    assert place.record() == record()
    needed = place.needed()
    assert needed is not None
    assert needed["held"][".rng"]["state"]["key"].tolist() == [0, 1, 2]
    assert Place.of(record(state=None), HERE).needed() is None


def test_to_read_it_changes_no_random_state() -> None:
    before = record()
    random.seed(3)
    expected = random.getstate()
    Place.of(before, HERE)
    assert random.getstate() == expected


@pytest.mark.parametrize(
    "changes",
    [{"at": at} for at in (None, 3, [2], [2, 6], [3, 0], [2, -1], [-1, 2], [2, 4.0], ["2", "4"])]
    + [{"hash": None}, {"untold": 3}, {"state": 3}, {"state": {}}, {"state": {"random": {}, "held": 1}}]
    + [{"state": {"random": draws.noted()(), "held": {"code": "x"}}}],
    ids=lambda changes: str(changes)[:40],
)
def test_what_was_never_written_is_an_error(changes: dict[str, Any]) -> None:
    with pytest.raises(CheckpointError, match="none that was written"):
        Place.of(record(**changes), HERE)
    with pytest.raises(CheckpointError):
        Place.of({}, HERE)
