"""What becomes of the arguments of an `__init__` in a config, as the source says it."""

from __future__ import annotations

import textwrap

import pytest

from keras_estimator.doctor.configs import (
    Argument,
    Constructor,
    are_bases_known,
    constructors,
    get_config_above,
    is_of_root,
)
from keras_estimator.doctor.source import Source

HEAD = "import keras\nfrom abc import ABC\nfrom elsewhere import Base\n"


def constructor_of(body: str, base: str = "keras.layers.Layer", parameters: str = "gain=1.0, **kwargs") -> Constructor:
    lines = textwrap.indent(textwrap.dedent(body), " " * 8)
    text = f"{HEAD}class A({base}):\n    def __init__(self, {parameters}):\n{lines}\n"
    source = Source("a.py", text)
    return Constructor(source, source.classes[0])


def argument(body: str, **more: str) -> Argument:
    (found,) = constructor_of(body, **more).own
    return found


@pytest.mark.parametrize(
    ("body", "saved"),
    [
        ("self.gain = gain", "self.gain"),
        ("self.gain = float(gain)", "self.gain"),
        ("self.gain = gain or 3", "self.gain"),
        ("self.gain = gain if gain is not None else 3", "self.gain"),
        ("if gain is None:\n    gain = 3\nself.gain = gain", "self.gain"),
        ("self.gain = keras.activations.get(gain)", "keras.activations.serialize(self.gain)"),
        ("self.gain = keras.activations.get(gain, 1)", ""),
        ("self.gain = gain * 2", ""),
        ("self.gain = np.abs(gain)", ""),
        ("self._gain = gain", ""),
        ("gain = gain * 2\nself.gain = gain", ""),
        ("self.gain = gain\nself.gain = 3", ""),
        ("self.gain += gain", ""),
        ("self.gain, self.other = gain", ""),
        ("self.other, self.gain = 1, gain", "self.gain"),
        ("print(gain)", ""),
    ],
)
def test_what_gives_an_argument_back(body: str, saved: str) -> None:
    assert argument(body).saved == saved


def test_an_attribute_that_another_method_changes_is_not_what_was_given() -> None:
    text = f"{HEAD}class A(keras.layers.Layer):\n    def __init__(self, k):\n        self.k = k\n"
    text += "    def build(self, shape):\n        self.k = shape\n"
    source = Source("a.py", text)
    assert Constructor(source, source.classes[0]).own[0].saved == ""


@pytest.mark.parametrize(
    ("annotation", "method", "is_object"),
    [
        ("", "return self.k(x)", True),
        ("", "return self.k.trainable_weights", True),
        ("", "return x * self.k", False),
        (": Callable", "return x", True),
        (": keras.layers.Layer", "return x", True),
        (": str | Callable", "return x", False),
        (": float", "return x * self.k", False),
    ],
)
def test_whether_an_argument_is_a_plain_value(annotation: str, method: str, *, is_object: bool) -> None:
    text = f"{HEAD}class A(keras.layers.Layer):\n    def __init__(self, k{annotation}):\n        self.k = k\n"
    source = Source("a.py", f"{text}    def call(self, x):\n        {method}\n")
    assert Constructor(source, source.classes[0]).own[0].is_object is is_object


def test_arguments_of_the_base_class_and_those_that_nobody_uses_are_not_its_own() -> None:
    found = constructor_of("super().__init__(name=name)\nself.k = k", parameters="k, unused, name=None, *, dtype=None")
    assert [one.name for one in found.own] == ["k"]
    assert found.own[0].default is None
    assert not found.takes_all


def test_what_the_base_class_is_given() -> None:
    body = "kwargs['c'] = c\nsuper().__init__(a, b=b, units=d, name=f'{e}', **kwargs)"
    found = constructor_of(body, "keras.layers.Dense", "a, b, c, d, e, **kwargs")
    assert found.handed_up == {"a", "b", "c"}
    assert found.renamed == {"d": "units"}
    assert not found.hides_what_it_hands_up
    assert constructor_of("super().__init__(**settings)").hides_what_it_hands_up


@pytest.mark.parametrize(
    ("base", "body", "is_functional"),
    [
        ("keras.Model", "super().__init__(inputs, outputs)", True),
        ("keras.Model", "super().__init__(inputs=x, outputs=y, **kwargs)", True),
        ("keras.Model", "super().__init__(*args, **kwargs)", True),
        ("keras.Model", "keras.Model.__init__(self, **kwargs)", False),
        ("keras.Model", "super().__init__(**kwargs)", False),
        ("keras.Sequential", "super().__init__([keras.layers.Dense(1)])", False),
        ("keras.layers.Layer", "super().__init__(x)", False),
    ],
)
def test_whether_a_model_is_one_of_a_graph(base: str, body: str, *, is_functional: bool) -> None:
    assert constructor_of(body, base).is_functional is is_functional


CLASSES = """
class Root(keras.Layer, ABC):
    def __init__(self, k): self.k = k
    def get_config(self): return {"k": self.k}
class Child(Root):
    def __init__(self, k): super().__init__(k)
class Dense(keras.layers.Dense):
    def __init__(self, k): super().__init__(k)
class Strange(Base, keras.Layer):
    def __init__(self, k): super().__init__(k)
class Own(keras.Layer):
    def __init__(self, k): super().__init__(k)
    @classmethod
    def from_config(cls, config): return cls(1)
class Note(keras.callbacks.Callback):
    def __init__(self, k): super().__init__(k)
"""


def test_which_classes_keras_makes_from_configs() -> None:
    source = Source("a.py", HEAD + CLASSES)
    assert [one.one.name for one in constructors(source)] == ["Root", "Child", "Dense"]
    found = {one.name: one for one in source.classes}
    assert {name for name, one in found.items() if not are_bases_known(source, one)} == {"Strange"}
    assert {name for name, one in found.items() if not is_of_root(one)} == {"Dense"}
    above = get_config_above(found["Child"])
    assert above is found["Root"].methods["get_config"]
    assert get_config_above(found["Root"]) is None
