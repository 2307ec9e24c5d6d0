"""Objects arrive in another process with the code that it has not, and nothing global is changed."""

from __future__ import annotations

import shutil
import subprocess
import sys
import threading
import types
from pathlib import Path

import carried_in_processes
import cloudpickle
import pytest

from keras_estimator.errors import BlueprintError
from keras_estimator.model.carrying.pickled_graph import read_graph, write_graph

MODULE = types.ModuleType("typed_by_the_user")
exec("LIST = [1]\nFILE = open(__import__('os').devnull)\ndef read(): return LIST", vars(MODULE))
FILES = ("zoo", "carried_zoo", "carried_zoo_beyond")
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
    with pytest.raises(BlueprintError, match="cannot be carried"):
        write_graph([lambda: MODULE.FILE])


def test_shared_objects_stay_shared() -> None:
    held = [1]
    first, second, third = read_graph(write_graph([lambda: held, lambda: held, held]))
    assert first() is second() is third


def in_a_process(folder: Path, *arguments: str) -> str:
    """Run the script from a folder that has none of the sources of the kinds."""
    script = folder / "elsewhere.py"
    done = subprocess.run(
        [sys.executable, str(script), *arguments], capture_output=True, text=True, cwd=folder, check=False
    )
    return "\n".join(done.stdout[done.stdout.find("WRONG") :].splitlines()) if done.returncode else ""


@pytest.fixture(scope="module")
def written(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """All kinds, their classes typed into `__main__`, written to a file."""
    folder = tmp_path_factory.mktemp("elsewhere")
    shutil.copy(carried_in_processes.__file__, folder / "elsewhere.py")
    script = Path(carried_in_processes.__file__)
    done = subprocess.run(
        [sys.executable, str(script), "write", str(folder / "kinds"), *FILES],
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
def test_every_kind_is_made_and_trains_in_the_scope_of_two_replicas(written: Path) -> None:
    assert in_a_process(written, "mirror", str(written / "kinds")) == ""
