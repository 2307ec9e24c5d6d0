"""Lambdas that Keras is given: the names that they take from outside, and functions in their place."""

from __future__ import annotations

import ast
from typing import Any

import keras
import numpy as np

from keras_estimator.doctor.lambdas import (
    from_outside,
    globals_of,
    hoisted,
    is_lambda,
    lambdas_in,
    lambdas_of,
    place_of_lambda,
)
from keras_estimator.doctor.live import LiveModel
from keras_estimator.doctor.rewriting import changed
from keras_estimator.doctor.source import Source

SHARE = 0.5


def outside(text: str) -> tuple[list[str], list[str]]:
    source = Source("a.py", f"import keras\n{text}\n")
    function = next(one for one in source.nodes if isinstance(one, ast.Lambda))
    globals_, closure = from_outside(source, function)
    return [name.id for name in globals_], [name.id for name in closure]


def test_names_from_outside() -> None:
    assert outside("f = lambda x, k=1: abs(x) + a.b * k + [y for y in c][0]") == (["a", "c"], [])
    assert outside("def f(a):\n    b = 1\n    return lambda x: x * a * b * d") == (["d"], ["a", "b"])
    assert outside("def f():\n    import tf\n    def g(): pass\n    return lambda x: tf.s(g(x))") == ([], ["tf", "g"])
    assert outside("f = lambda x: (lambda y: x + y + z)(1)") == (["z"], [])


def test_a_lambda_becomes_a_function_above() -> None:
    text = "import keras\n\n# A comment.\nlayer = keras.layers.Lambda(lambda x: (\n    x * 2))\n"
    source = Source("here/mine.py", text)
    ((name, changes),) = hoisted(source).values()
    assert name == "lambda_function"
    assert changed(text, changes) == (
        'import keras\n\n\n@keras.saving.register_keras_serializable(package="mine")\ndef lambda_function(x):\n'
        "    return x * 2\n\n\n# A comment.\nlayer = keras.layers.Lambda(lambda_function)\n"
    )


def test_names_of_functions_are_free() -> None:
    text = "import keras\nlambda_function = plus = 1\na = [keras.layers.Lambda(lambda x: x, name='plus'),"
    text += " keras.layers.Lambda(lambda x: x), keras.layers.Lambda(lambda x: x, name='no name')]"
    found = [name for name, _ in hoisted(Source("a.py", text)).values()]
    assert sorted(found) == ["lambda_function_2", "lambda_function_3", "plus_2"]


def test_what_needs_values_of_a_function_around_it_is_left() -> None:
    text = "import keras\ndef f(k):\n    a = keras.layers.Lambda(lambda x: x * k)\n"
    text += "    b = keras.layers.Lambda(lambda x, k=k: x)\n"
    source = Source("a.py", text)
    assert len(lambdas_in(source)) == 2
    assert hoisted(source) == {}


def test_lambdas_of_a_live_model() -> None:
    double = lambda x: x * 2  # noqa: E731 - it is about lambdas
    layers = [keras.layers.Lambda(double), keras.layers.Dense(2, activation=lambda x: x)]
    model = keras.Sequential([keras.Input((4,)), *layers, keras.layers.Lambda(keras.ops.abs)])
    model.compile("sgd", loss=lambda y, p: y - p, metrics=["mae", lambda y, p: y])
    live = LiveModel(model)
    assert [(path, role) for path, role, _ in lambdas_of(live)] == [
        ("lambda", "lambda"),
        ("dense", "activation"),
        ("", "loss"),
        ("", "metric"),
    ]
    place = place_of_lambda(live, double)
    assert place is not None
    assert (place.line, place.column) == (double.__code__.co_firstlineno, 14)
    assert not is_lambda(keras.ops.abs)
    assert not is_lambda(test_lambdas_of_a_live_model)


def test_global_names_in_bytecode() -> None:
    function: Any = lambda x: [abs(y) * SHARE for y in x] + np.sin(x)  # noqa: E731 - it is about lambdas
    found = dict(globals_of(function.__code__))
    assert set(found) == {"SHARE", "np"}
    assert found["np"].end_column - found["np"].column == len("np")
