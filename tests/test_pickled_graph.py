"""Objects arrive in another process with the code that it has not, and nothing global is changed."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import threading
import types
from pathlib import Path

import carried_in_processes
import cloudpickle
import pytest
import zoo

from keras_estimator.errors import BlueprintError
from keras_estimator.model.carrying.pickled_graph import read_graph, write_graph

MODULE = types.ModuleType("typed_by_the_user")
exec("LIST = [1]\nFILE = open(__import__('os').devnull)\ndef read(): return LIST", vars(MODULE))
HELD = threading.Lock()


CALLS = [0]


class Counter:
    calls = CALLS

    def count(self) -> int:
        self.calls[0] += 1
        return super().__hash__() and self.calls[0]


def test_a_class_arrives_by_value_with_what_it_holds() -> None:
    counter = Counter()
    counter.me = counter
    arrived = read_graph(write_graph(counter))
    assert arrived.me is arrived
    assert arrived.count() == 1
    assert type(arrived) is not Counter or Counter.calls == [1]


def test_a_module_of_the_user_arrives_with_what_is_read_of_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, MODULE.__name__, MODULE)
    before = cloudpickle.list_registry_pickle_by_value()
    data = write_graph([lambda: MODULE.read()])
    assert cloudpickle.list_registry_pickle_by_value() == before
    monkeypatch.delitem(sys.modules, MODULE.__name__)
    function = read_graph(data)[0]
    assert function() == [1]
    assert function() is not MODULE.LIST


def test_a_lock_in_a_global_is_made_new_and_a_file_is_refused() -> None:
    assert read_graph(write_graph([lambda: HELD.locked()]))[0]() is False
    with pytest.raises(BlueprintError, match="cannot be carried") as refused:
        write_graph([lambda: MODULE.FILE])
    assert refused.value.rule == "KE120"


WITH_SLOTS = """
import dataclasses, sys
import keras
from keras_estimator.model.carrying.pickled_graph import read_graph, write_graph

class Pair:
    __slots__ = ("__hidden", "first", "me", "__weakref__")
    def __init__(self):
        self.first, self.__hidden, self.me = [1], 2, self
    def hidden(self):
        return self.__hidden

class Triple(Pair):
    __slots__ = "third"

class Open(Triple):
    def __init__(self):
        super().__init__()
        self.third, self.free = 3, 4

@dataclasses.dataclass(frozen=True, slots=True)
class Point:
    x: int
    of: Pair

class Slotted(keras.layers.Layer):
    __slots__ = ("scale",)
    def __init__(self, point):
        super().__init__()
        self.scale, self.point = keras.Variable(2.0), point
    def call(self, x):
        return x * self.scale

pair = Pair()
sys.stdout.buffer.write(write_graph([pair, Open(), Point(1, pair), Slotted(Point(2, pair))]))
"""
READ_SLOTS = """
import sys
import numpy as np
from keras_estimator.model.carrying.pickled_graph import read_graph

pair, opened, point, layer = read_graph(sys.stdin.buffer.read())
assert pair.first == [1] and pair.hidden() == 2 and pair.me is pair
assert not hasattr(pair, "__dict__") and not hasattr(point, "__dict__")
assert isinstance(opened, type(pair)) and (opened.third, opened.free, opened.hidden()) == (3, 4, 2)
assert vars(opened) == {"free": 4}
assert point.of is layer.point.of is pair and point == type(point)(1, pair)
try:
    pair.other = 1
except AttributeError:
    pass
else:
    raise AssertionError("it has a dict")
assert "scale" not in vars(layer) and layer(np.ones(1)) == 2
"""


@pytest.mark.slow
def test_classes_with_slots_arrive_with_them_where_they_are_not() -> None:
    written = subprocess.run([sys.executable, "-c", WITH_SLOTS], capture_output=True, check=False)
    assert written.returncode == 0, written.stderr.decode()[-2000:]
    read = subprocess.run([sys.executable, "-c", READ_SLOTS], input=written.stdout, capture_output=True, check=False)
    assert read.returncode == 0, read.stderr.decode()[-2000:]


def test_shared_objects_stay_shared() -> None:
    held = [1]
    first, second, third = read_graph(write_graph([lambda: held, lambda: held, held]))
    assert first() is second() is third


def in_a_process(folder: Path, *arguments: str) -> str:
    """Run the script from a folder that has none of the sources of the kinds."""
    script = folder / "elsewhere.py"
    done = subprocess.run(
        [sys.executable, str(script), *arguments],
        env=os.environ | {"PYTHONHASHSEED": "2"},
        capture_output=True,
        text=True,
        cwd=folder,
        check=False,
    )
    return "\n".join(done.stdout[done.stdout.find("WRONG") :].splitlines()) if done.returncode else ""


@pytest.fixture(scope="module", params=["0/4", "1/4", "2/4", "3/4"])
def written(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A part of all kinds, their classes typed into `__main__`, written to a file."""
    folder = tmp_path_factory.mktemp("elsewhere")
    shutil.copy(carried_in_processes.__file__, folder / "elsewhere.py")
    script = Path(carried_in_processes.__file__)
    done = subprocess.run(
        [sys.executable, str(script), "write", str(folder / "kinds"), request.param, *zoo.FILES],
        env=os.environ | {"PYTHONHASHSEED": "1"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr[-2000:]
    return folder


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_every_kind_is_equal_in_a_process_without_its_source(written: Path) -> None:
    assert in_a_process(written, "read", str(written / "kinds")) == ""


@pytest.mark.slow
@pytest.mark.timeout(600)
@pytest.mark.parametrize("written", ["0/4"], indirect=True)  # tests/test_zoo_on_two_devices.py has all kinds
def test_every_fourth_kind_is_made_and_trains_in_the_scope_of_two_replicas(written: Path) -> None:
    assert in_a_process(written, "mirror", str(written / "kinds")) == ""


@pytest.mark.slow
def test_what_was_made_and_trained_in_two_replicas_is_copied_to_one_and_to_two() -> None:
    kinds = "mlp,dropout,batch_normalization,boxes,weight_counter,own_normalization,functional_train_step"
    script = Path(carried_in_processes.__file__)
    done = subprocess.run(
        [sys.executable, str(script), "leave", kinds, *zoo.FILES], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr[-2000:]
