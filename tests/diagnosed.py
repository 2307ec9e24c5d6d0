"""Reports as the doctor makes them, about small models, with findings of every severity; none is run for them."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import keras
import numpy as np

from keras_estimator.doctor.findings import Applicability, Finding, Fix, Place, Severity
from keras_estimator.doctor.report import Report
from keras_estimator.doctor.rewriting import needs_import
from keras_estimator.model.description import describe

SOURCE = '''\
import keras
import numpy as np


class Wave(keras.layers.Layer):
    """Uses NumPy."""

    def call(self, x):
        return np.sin(
            x,
        )


class LongWave(Wave):
    pass
'''
CALL = 9  # the line of np.sin
FIX = Fix("use `keras.ops.sin`", Applicability.SAFE, (needs_import("keras"),))


class Wave(keras.layers.Layer):
    def call(self, x: Any) -> Any:
        return keras.ops.sin(x)


class LongWave(Wave):
    pass


class TwoWaves(keras.Model):
    """A subclassed model: a tree."""

    def __init__(self) -> None:
        super().__init__(name="two_waves")
        self.wave = LongWave(name="wave")
        self.inside = keras.Sequential([keras.layers.Dense(4, name="dense"), keras.layers.Dropout(0.5, name="drop")])

    def call(self, x: Any) -> Any:
        return self.inside(self.wave(x))


def finding(severity: Severity = Severity.WARNING, layer: str = "", **others: Any) -> Finding:
    values = {
        "code": "KE301", "name": "raw-tf-variable", "message": "`self.count` is a raw tf.Variable", "place": None,
        "consequence": "Keras does not save it.", "evidence": "`count` is not among the 4 weights", "fix": None,
    }  # fmt: skip
    return Finding(**{**values, "severity": severity, "layer": layer, **others})


def findings(file: Path) -> tuple[Finding, ...]:
    """Return one about a class, one about a layer, one about two layers, one about the whole; the worst not first."""
    file.write_text(SOURCE, encoding="utf-8")
    return (
        finding(Severity.INFO, "drop, inner/drop_again", code="KE305", name="seeds-not-saved", message="they are lost"),
        finding(Severity.WARNING, "", code="KE004", name="lost-by-keras", message="it cannot be loaded", evidence=""),
        finding(Severity.WARNING, "inner/dense", fix=Fix("make it a weight", Applicability.DISPLAY)),
        finding(
            Severity.ERROR, code="KE201", name="numpy-on-symbolic", message="np.sin is applied to a tensor",
            evidence="", place=Place(str(file), CALL, 16, CALL + 2, 10), fix=FIX,
        ),
    )  # fmt: skip


def graph_report(file: Path) -> Report:
    """Return a report on a Functional model with a branch and a model in it; its source is written into a file."""
    x = keras.Input((8,), name="x")
    wave = LongWave(name="wave")(x)
    drop = keras.layers.Dropout(0.5, name="drop")(wave)
    again = keras.layers.Dropout(0.5, name="drop_again")
    inner = keras.Sequential([keras.Input((8,)), keras.layers.Dense(8, name="dense"), again], name="inner")
    both = keras.layers.Add(name="add")([wave, inner(drop)])
    model = keras.Model(x, keras.layers.Dense(1, name="answer")(both), name="waves")
    return Report("model `waves`", findings(file), "8 layers, 1 file", ("its `train_step`",), describe(model))


def tree_report(file: Path) -> Report:
    """Return a report on a subclassed model; its source is written into a file."""
    model = TwoWaves()
    model(np.zeros((2, 8), "float32"))
    found = [dataclasses.replace(one, layer=one.layer.replace("drop, inner", "inside")) for one in findings(file)]
    found = [dataclasses.replace(one, layer=one.layer.replace("inside/drop_again", "inside/drop")) for one in found]
    found = [dataclasses.replace(one, layer=one.layer.replace("inner/", "inside/")) for one in found]
    return Report("model `two_waves`", tuple(found), "4 layers, 1 file", (), describe(model))


def chain_report(length: int = 60) -> Report:
    """Return a report on a chain that is drawn as one box."""
    counts = {"trainable_parameters": 1, "other_parameters": 0, "is_built": True}
    layers = [
        {"path": f"l{at}", "name": f"l{at}", "class": "Dense", "inside": None, "output_shapes": [[None, 4]], **counts}
        for at in range(length)
    ]
    edges = [[at, at + 1] for at in range(length - 1)]
    model = {"name": "chain", "class": "Sequential", "kind": "sequential", "layers": layers, "edges": edges, **counts}
    return Report("model `chain`", tuple(finding(layer=f"l{at}") for at in range(12)), "", (), model)
