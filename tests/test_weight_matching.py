"""Weights find their partners by names in a fixed order; what is not clear is an error."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pytest

from keras_estimator.errors import CheckpointMismatchError
from keras_estimator.weight_matching import (
    LAYERS,
    PLACE,
    SAVED,
    STATE,
    ModelNames,
    Stored,
    Weight,
    match,
    with_names_of_layers,
)


def weight(path: str, shape: tuple[int | None, ...] = (2,), dtype: str = "float32", **names: str) -> Weight:
    return Weight(path, shape, dtype, lambda: np.zeros(shape), {STATE: path, **names})


def stored(name: str, kind: str = LAYERS, value: float = 0.0, shape: tuple[int, ...] = (2,), **names: str) -> Stored:
    return Stored(name, shape, "float32", lambda: np.full(shape, value), {kind: name, **names})


def pairs(
    weights: Sequence[Weight], there: Sequence[Stored], models: Sequence[str] = ("net",), **renamed: str
) -> dict[str, str]:
    names = ModelNames(weights, {"dense", "lstm_cell"}, models)
    return {path: each.name for path, each in match(names, weights, there, renamed, "there").pairs.items()}


def layers(*names: str) -> list[Weight]:
    return [weight(name, layers=name) for name in names]


def test_numbers_that_keras_made_up_are_counted_anew() -> None:
    ours = layers("net/dense_7/kernel", "net/dense_10/kernel", "net/block_2/kernel")
    theirs = [stored(name) for name in ("old/dense/kernel", "old/dense_1/kernel", "old/block_2/kernel")]
    assert pairs(ours, theirs) == {
        "net/dense_7/kernel": "old/dense/kernel",
        "net/dense_10/kernel": "old/dense_1/kernel",
        "net/block_2/kernel": "old/block_2/kernel",
    }


def test_models_in_a_model_count_unless_the_file_has_none() -> None:
    ours = layers("net/one/dense_3/kernel", "net/two/dense_4/kernel")
    nested = [stored(f"old/{name}") for name in ("one/dense_9/kernel", "two/dense_8/kernel")]
    found = pairs(ours, nested, ["net", "one", "two"])
    assert found == {ours[0].path: "old/one/dense_9/kernel", ours[1].path: "old/two/dense_8/kernel"}
    flat = [stored("dense_8/kernel"), stored("dense_9/kernel")]
    found = pairs(ours, flat, ["net", "one", "two"])
    assert found == {ours[0].path: "dense_8/kernel", ours[1].path: "dense_9/kernel"}


def test_a_name_that_is_the_end_of_another_counts_if_it_is_the_only_one_that_fits() -> None:
    ours = [weight("hidden/kernel"), weight("hidden/bias", (3,))]
    there = [stored("old/hidden/kernel", STATE), stored("old/hidden/bias", STATE, shape=(3,)), stored("kernel", STATE)]
    assert pairs(ours, there) == {"hidden/kernel": "old/hidden/kernel", "hidden/bias": "old/hidden/bias"}


def test_several_partners_are_an_error_unless_they_hold_the_same() -> None:
    ours = [weight("hidden/kernel")]
    alike = [stored(f"{old}/hidden/kernel", STATE) for old in "ab"]
    assert pairs(ours, alike) == {"hidden/kernel": "a/hidden/kernel"}
    others = [alike[0], stored("b/hidden/kernel", STATE, 1.0)]
    with pytest.raises(CheckpointMismatchError, match="a/hidden/kernel, b/hidden/kernel") as caught:
        pairs(ours, others)
    assert "{'hidden/kernel': 'a/hidden/kernel'}" in caught.value.fix
    renamed = {"hidden/kernel": "b/hidden/kernel"}
    assert pairs(ours, others, **renamed) == renamed


def test_a_partner_that_two_could_have_is_an_error() -> None:
    with pytest.raises(CheckpointMismatchError, match="2 weights") as caught:
        pairs([weight("a/hidden/kernel"), weight("b/hidden/kernel")], [stored("hidden/kernel", STATE)])
    assert caught.value.found.splitlines() == ["a/hidden/kernel: hidden/kernel", "b/hidden/kernel: hidden/kernel"]


def test_names_of_the_user_come_before_places() -> None:
    ours = [weight("head/k", place="layers/dense/vars/0", saved="layers/head/vars/0")]
    there = [
        stored("layers/dense/vars/0", PLACE, saved="layers/hidden/vars/0"),
        stored("layers/dense_1/vars/0", PLACE, saved="layers/head/vars/0"),
    ]
    assert pairs(ours, there) == {"head/k": "layers/dense_1/vars/0"}


def test_places_count_only_if_every_one_is_there_and_fits() -> None:
    ours = [weight("a/k", place="layers/dense/vars/0"), weight("b/k", place="layers/dense_1/vars/0")]
    there = [stored("layers/dense/vars/0", PLACE)]
    assert pairs(ours, there) == {}
    assert pairs(ours, [*there, stored("layers/dense_1/vars/0", PLACE, shape=(7,))]) == {}
    assert len(pairs(ours, [*there, stored("layers/dense_1/vars/0", PLACE)])) == 2


def test_a_layer_is_renamed_with_all_that_it_holds_the_innermost_first() -> None:
    ours = [weight("a/b/kernel"), weight("a/c/kernel")]
    there = [stored("x/c/kernel", STATE), stored("y/kernel", STATE)]
    assert pairs(ours, there, **{"a": "x", "a/b": "y"}) == {"a/b/kernel": "y/kernel", "a/c/kernel": "x/c/kernel"}


def test_the_map_may_give_one_value_to_several_weights() -> None:
    found = pairs([weight("a/k"), weight("b/k")], [stored("x/k", STATE)], a="x", b="x")
    assert found == {"a/k": "x/k", "b/k": "x/k"}


@pytest.mark.parametrize(
    ("ours", "theirs", "fits"),
    [
        ("float32", "bfloat16", True),
        ("float32", "float64", True),
        ("int64", "uint8", True),
        ("float32", "int32", False),
        ("bool", "int8", False),
    ],
)
def test_numbers_of_one_kind_fit_whatever_their_precision(ours: str, theirs: str, fits: bool) -> None:
    value = Stored("a", (2,), theirs, lambda: np.zeros(2), {})
    assert weight("a", (2,), ours).takes(value) is fits
    assert weight("a", (None,), ours).takes(value) is fits
    assert not weight("a", (2, 1), ours).takes(value)


def test_places_get_the_names_that_the_user_gave() -> None:
    layers = {
        "layers/dense": "hidden",
        "layers/dense_1": "dense_8",
        "layers/dense_10": "dense_9",
        "layers/net/layers/dense": "dense_2",
        "layers/net": "body",
    }
    places = {
        "layers/dense/vars/0": "layers/hidden/vars/0",
        "layers/dense_1/vars/0": "layers/dense/vars/0",
        "layers/dense_10/vars/1": "layers/dense_1/vars/1",
        "layers/net/layers/dense/vars/0": "layers/body/layers/dense/vars/0",
        "blocks/dense/vars/0": "blocks/dense/vars/0",
        "vars/0": "vars/0",
    }
    assert with_names_of_layers(places, layers) == places
    assert SAVED != PLACE
