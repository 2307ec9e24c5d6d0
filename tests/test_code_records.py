"""Functions are taken apart into closure, defaults and the globals that hold state."""

from __future__ import annotations

import functools

import keras

from keras_estimator.model.carrying import code_records as records
from keras_estimator.model.carrying.shells import Target

HERE = Target.THIS_PROCESS
LAYER = keras.layers.Dense(1)


def reads_a_global(x):
    return LAYER(x)


def calls_another(x):
    return reads_a_global(x) + len(x)


def test_a_function_of_a_library_is_shared() -> None:
    assert records.take_function(keras.activations.relu, HERE) is None
    assert records.take_builtin_method(len, HERE) is None


def test_globals_with_state_and_functions_that_may_read_some_are_parts() -> None:
    assert records.take_function(reads_a_global, HERE).pairs == [("LAYER", LAYER)]
    assert records.take_function(calls_another, HERE).pairs == [("reads_a_global", reads_a_global)]
    assert records.take_function(calls_another, Target.ANOTHER_PROCESS).pairs == []


def test_a_closure_is_a_list_of_cells_after_the_defaults() -> None:
    held = [1]
    record = records.take_function(lambda x, y=2: held, HERE)
    assert record.items[0] == 2
    assert record.items[1].cell_contents is held


def test_a_method_of_the_class_is_known_by_name() -> None:
    assert records.take_method(LAYER.call, HERE).kind == "own method"
    layer = keras.layers.Dense(1)
    assert records.take_method(functools.partial(LAYER.call).func.__func__.__get__(layer), HERE).source == "call"


def test_names_of_inner_functions_are_found() -> None:
    assert "LAYER" in set(records.names_in((lambda: lambda: LAYER).__code__))
