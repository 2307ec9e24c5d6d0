"""What names of a running program stand for."""

from __future__ import annotations

from pathlib import Path

import keras
import zoo_parts

from keras_estimator.doctor.imported import Imported


def test_a_name_that_a_module_has_given_is_known_by_what_it_stands_for():
    assert zoo_parts.L is keras.layers
    around = Imported()
    assert around.canonical("zoo_parts.L.Lambda") == "keras.layers.Lambda"
    assert around.canonical("zoo_parts.nothing") == "zoo_parts.nothing"
    assert around.canonical("no_such_module.L") == "no_such_module.L"
    assert around.canonical("keras.layers.Dense") == "keras.layers.Dense"


def test_the_kind_of_a_class_is_that_of_the_live_class():
    around = Imported()
    assert around.kind_of("zoo_parts.L.Dense") == "layer"
    assert around.kind_of("keras.Model") == "model"
    assert around.kind_of("zoo_parts.Kind") == around.kind_of("zoo_parts.nothing") == ""


def test_a_file_of_the_program_knows_the_names_of_others():
    text = "from zoo_parts import L\nclass Mine(L.Layer): ...\n"
    source = Imported().source(Path("somewhere.py"), text)
    assert [(one.name, one.kind) for one in source.classes] == [("Mine", "layer")]
    own = Path(zoo_parts.__file__)
    assert Imported().source(own, own.read_text(encoding="utf-8")).module == "zoo_parts"
