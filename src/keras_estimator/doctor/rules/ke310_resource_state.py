"""KE310 resource-state: a table, a generator or an iterator of TensorFlow has a state that no file of Keras holds.

What it finds:
    An attribute of a layer or model that is a `tf.lookup` table that grows, a `tf.random.Generator`, or an iterator of
    `tf.data`.

Why it matters:
    What was inserted into such a table, how far such a generator has drawn and such an iterator has read is no weight.

If ignored:
    After Keras's own `save` and `load_model` the table is empty, and the generator begins anew. An Estimator carries
    tables and generators, and can carry no iterator.

Example:
    self.table = tf.lookup.experimental.MutableHashTable(tf.string, tf.int64, -1)

Instead:
    self.lookup = keras.layers.StringLookup(vocabulary=words)

Fix:
    None: a `keras.layers.StringLookup` or `IntegerLookup` saves its words; a `keras.random.SeedGenerator` is the
    generator of Keras; an iterator belongs into the input function.

Evidence:
    A MutableHashTable with 5.0 in it answered 0.0 after `save` and `load_model`; the state of a generator came back as
    [1, 0, 0] instead of [8193, 0, 0].
"""

from __future__ import annotations

import ast
from collections.abc import Iterator
from typing import TYPE_CHECKING

from keras_estimator.doctor.findings import Applicability, Fix, Severity
from keras_estimator.doctor.rule import Problem
from keras_estimator.doctor.source import Source

if TYPE_CHECKING:
    from keras_estimator.doctor.live import LiveModel

SEVERITY = Severity.WARNING
_ADVICE = {
    "table": Fix("use keras.layers.StringLookup, or save what is in it yourself", Applicability.DISPLAY),
    "generator": Fix("use keras.random with a keras.random.SeedGenerator", Applicability.DISPLAY),
    "iterator": Fix("read the data in the input function", Applicability.DISPLAY),
}
_WHAT = {
    "table": "a table that grows, and Keras saves nothing that was put into it",
    "generator": "a generator of TensorFlow, and Keras does not save how far it has drawn",
    "iterator": "an iterator, which can be neither saved nor copied",
}
_MADE_BY = {
    "tensorflow.lookup.experimental.MutableHashTable": "table",
    "tensorflow.lookup.experimental.DenseHashTable": "table",
    "tensorflow.random.Generator": "generator",
    "tensorflow.random.Generator.from_seed": "generator",
    "tensorflow.random.Generator.from_non_deterministic_state": "generator",
    "tensorflow.random.Generator.from_state": "generator",
    "tensorflow.random.Generator.from_key_counter": "generator",
}
_CLASSES = {
    "tensorflow.lookup.experimental.MutableHashTable": "table",
    "tensorflow.lookup.experimental.DenseHashTable": "table",
    "tensorflow.random.Generator": "generator",
    "tensorflow.data.Iterator": "iterator",
}


def in_source(source: Source) -> Iterator[Problem]:
    """Find assignments of a table or generator to an attribute."""
    for call in source.calls:
        kind = _MADE_BY.get(source.dotted(call.func))
        statement = source.parent(call) if kind else None
        targets = statement.targets if isinstance(statement, ast.Assign) else [getattr(statement, "target", None)]
        name = next((one.attr for one in targets if isinstance(one, ast.Attribute) and _is_self(one.value)), "")
        if kind and name and statement is not None and source.class_of(call) is not None:
            yield Problem(statement, f"self.{name} is {_WHAT[kind]}", fix=_ADVICE[kind])


def _is_self(node: ast.expr) -> bool:
    return isinstance(node, ast.Name) and node.id == "self"


def in_model(live: LiveModel) -> Iterator[Problem]:
    """Find such objects among the attributes of the user's layers."""
    for path, layer in live.layers_of_user:
        for name, value in list(vars(layer).items()):
            kind = next((kind for dotted, kind in _CLASSES.items() if live.is_a(value, dotted)), None)
            if kind:
                place = live.place_of_attribute(layer, name)
                message = f"self.{name} is {_WHAT[kind]}"
                yield Problem(place, message, layer=path, evidence=type(value).__name__, fix=_ADVICE[kind])
