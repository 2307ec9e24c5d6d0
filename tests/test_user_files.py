"""The files of a live model, as rules of the source see them."""

from __future__ import annotations

from pathlib import Path

import keras
from rule_cases import loaded

from keras_estimator.doctor.findings import Place, Severity
from keras_estimator.doctor.live import LiveModel
from keras_estimator.doctor.rule import Problem
from keras_estimator.doctor.user_files import is_told_by_source, sources_of

TEXT = """
import keras

class Twice(keras.layers.Layer):
    def call(self, x):
        return 2 * x

def build():
    return keras.Sequential([keras.Input((4,)), Twice()])
"""


def test_files_of_a_model_are_read_once(tmp_path: Path) -> None:
    path = tmp_path / "twice.py"
    path.write_text(TEXT, encoding="utf-8")
    live = LiveModel(loaded(path).build())
    (source,) = sources_of(live)
    assert [one.name for one in source.classes] == ["Twice"]
    assert list(sources_of(live)) == [source]
    other = Place(str(path), 2)
    assert is_told_by_source(live, lambda source: [Problem(other, "of no class")])
    assert is_told_by_source(live, lambda source: [Problem(one.node, "found") for one in source.classes])
    assert not is_told_by_source(live, lambda source: [])


def test_what_another_model_is_made_of_tells_nothing(tmp_path: Path) -> None:
    path = tmp_path / "others.py"
    path.write_text(TEXT.replace("class", "class Other(keras.layers.Layer):\n    pass\n\nclass"), encoding="utf-8")
    live = LiveModel(loaded(path).build())
    assert not is_told_by_source(live, lambda source: [Problem(one.node, "found") for one in source.classes[:1]])
    in_builder = [Problem(Place(str(path), 12), "found")]
    assert is_told_by_source(live, lambda source: in_builder, Severity.WARNING)
    for severity in (Severity.ERROR, Severity.INFO):
        assert not is_told_by_source(live, lambda source: in_builder, severity)


def test_a_model_of_keras_alone_has_no_file() -> None:
    live = LiveModel(keras.Sequential([keras.Input((4,)), keras.layers.Dense(1)]))
    assert list(sources_of(live)) == []


def test_a_file_that_became_no_python_is_passed_over(tmp_path: Path) -> None:
    path = tmp_path / "broken.py"
    path.write_text(TEXT, encoding="utf-8")
    model = loaded(path).build()
    path.write_text("def (", encoding="utf-8")
    live = LiveModel(model)
    live.__dict__["files"] = [str(path)]
    assert list(sources_of(live)) == []
