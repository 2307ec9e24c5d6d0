"""What TARGET means: files to read, or a model to make, as `module:factory` or `file.py:name`."""

from __future__ import annotations

import dataclasses
import importlib
import importlib.util
import linecache
import sys
from collections.abc import Iterable
from pathlib import Path
from types import ModuleType
from typing import Any

from keras_estimator.doctor.failure import Failure
from keras_estimator.errors import ConfigError, InputError

_ROWS = 8


@dataclasses.dataclass(frozen=True)
class Target:
    """What to look at.

    Attributes:
        text: As the user wrote it.
        path: The file or folder; None if a module is named.
        module: The dotted name of the module; empty if a path is named.
        name: What makes the model, or is it; empty if only files are read.
    """

    text: str
    path: Path | None
    module: str
    name: str


def parse_target(text: str) -> Target:
    """Understand a target.

    Args:
        text: `script.py`, `folder`, `module:factory` or `file.py:name`.

    Raises:
        ConfigError: There is no such file or folder, or it is no name.
    """
    before, colon, name = text.rpartition(":")
    if colon and name.replace(".", "").isidentifier() and not Path(text).exists():
        if before.endswith(".py") or "/" in before or "\\" in before:
            return Target(text, _existing(Path(before), text), "", name)
        if all(part.isidentifier() for part in before.split(".")):
            return Target(text, None, before, name)
    return Target(text, _existing(Path(text), text), "", "")


def _existing(path: Path, text: str) -> Path:
    if path.is_file() or path.is_dir():
        return path
    raise ConfigError(
        "there is nothing to look at",
        found=text,
        expected="a Python file, a folder, module:factory or file.py:name",
        fix="keras-estimator doctor path/to/script.py",
    )


@dataclasses.dataclass(frozen=True)
class Made:
    """What came of a target that names a model.

    Attributes:
        model: The model; None if it could not be made.
        failures: The errors on the way, also if it was made in a second try.
    """

    model: Any
    failures: tuple[Failure, ...]


def make_model(target: Target) -> Made:
    """Import what a target names, and make its model: as plain Keras does, and if that fails, with what we add.

    The user's code runs. What it raises is a failure to be told, not an error.

    Raises:
        ConfigError: The target has no such name, or what it names is no model.
    """
    first = _made(target)
    if first.model is not None or not first.failures:
        return first
    from keras_estimator.engines.tensorflow import variable_reads  # noqa: PLC0415 - it starts TensorFlow
    from keras_estimator.model import numpy_calls  # noqa: PLC0415 - it starts Keras

    numpy_calls.install()
    variable_reads.install()
    return Made(_made(target).model, first.failures)


def _made(target: Target) -> Made:
    failures: list[Failure] = []
    module = _imported(target, failures)
    thing: Any = module
    for name in target.name.split("."):
        if not hasattr(thing, name):
            if failures:
                return Made(None, tuple(failures))
            raise _no_name(target, name, thing)
        thing = getattr(thing, name)
    if callable(thing) and not _is_model(thing):
        try:
            thing = thing()
        except Exception as error:  # noqa: BLE001 - the user's code; what it raises is what we tell
            return Made(None, (*failures, Failure(error, "build")))
    if not _is_model(thing):
        raise ConfigError(
            f"`{target.text}` is no model",
            found=type(thing).__name__ if not isinstance(thing, type) else f"the class {thing.__name__}",
            expected="a keras.Model, or a function without arguments that returns one",
            fix=f"write `def build(): ... return model` and name it: {target.text.rpartition(':')[0]}:build",
        )
    return Made(thing, tuple(failures))


def _is_model(thing: Any) -> bool:
    keras = sys.modules.get("keras")
    return keras is not None and isinstance(thing, keras.Model)


def _imported(target: Target, failures: list[Failure]) -> ModuleType:
    """Import a target; of a file that raised an error, return what there was until then."""
    if target.path is not None:
        return _run_file(target.path, failures)
    _let_import_from(Path.cwd())
    try:
        return importlib.import_module(target.module)
    except Exception as error:
        if isinstance(error, ModuleNotFoundError) and error.name and target.module.startswith(error.name):
            raise ConfigError(
                f"there is no module `{error.name}`",
                found=target.text,
                expected="a module that can be imported from here",
                fix="name its file: path/to/file.py:name",
            ) from error
        failures.append(Failure(error, "import"))
        return sys.modules.get(target.module) or ModuleType(target.module)


def _run_file(path: Path, failures: list[Failure]) -> ModuleType:
    """Run a file as a module of its own name; its folder can be imported from, as when Python runs a script."""
    linecache.checkcache(str(path))
    # A file `test.py` must not stand in the place of Python's own module.
    name = f"_{path.stem}" if path.stem in sys.stdlib_module_names else path.stem
    spec = importlib.util.spec_from_file_location(name, path.resolve())
    if spec is None or spec.loader is None:
        raise ConfigError(
            "the file cannot be imported", found=str(path), expected="a file that ends with .py", fix="rename it"
        )
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    _let_import_from(path.resolve().parent)
    try:
        spec.loader.exec_module(module)
    except (Exception, SystemExit) as error:  # noqa: BLE001 - the user's code; what it raises is what we tell
        if not (isinstance(error, SystemExit) and not error.code):
            failures.append(Failure(error, "import"))
    return module


def forget_modules(files: Iterable[str | Path]) -> None:
    """Let files be imported anew: they have changed since they were."""
    changed = {Path(file).resolve() for file in files}
    for name, module in list(sys.modules.items()):
        file = getattr(module, "__file__", None)
        if name != "__main__" and file and Path(file).resolve() in changed:
            del sys.modules[name]
    linecache.checkcache()
    importlib.invalidate_caches()


def _let_import_from(folder: Path) -> None:
    """Let modules of a folder be imported from now on: functions of the target may import more when they are called."""
    if str(folder) not in sys.path:
        sys.path.insert(0, str(folder))


def _no_name(target: Target, name: str, thing: Any) -> ConfigError:
    models = [known for known, value in vars(thing).items() if _is_model(value) or known.startswith(("build", "make"))]
    return ConfigError(
        f"there is no `{name}` in it",
        found=target.text,
        expected=f"one of {', '.join(models)}" if models else "the name of a model, or of a function that makes one",
        fix=f"{target.text.rpartition(':')[0]}:{models[0] if models else 'build'}",
    )


def first_batch(text: str) -> Any:
    """Return a few rows of the data that `--data module:input_fn` names.

    Args:
        text: `module:input_fn` or `file.py:input_fn`: a function that gives data, or the data.

    Raises:
        ConfigError: There is no such name.
        InputError: It gives nothing that can be read.
    """
    import keras  # noqa: PLC0415 - what asks for no data starts no Keras
    import numpy as np  # noqa: PLC0415 - the same

    from keras_estimator.input_functions import InputContext  # noqa: PLC0415 - the same
    from keras_estimator.inputs import Arrays, source_from  # noqa: PLC0415 - the same

    target = parse_target(text)
    failures: list[Failure] = []
    module = _imported(target, failures)
    if not target.name or not hasattr(module, target.name):
        if not failures:
            raise _no_name(target, target.name, module)
        raise InputError(
            "the data cannot be made",
            found=f"{failures[0].place}: {failures[0].line}",
            expected="a file that can be run, with a function that gives data",
            fix=f"python {target.path or '-m ' + target.module}    shows the error whole",
        ) from failures[0].error
    known: dict[str, Any] = {"mode": "train", "params": {}, "config": None, "input_context": InputContext()}
    data = source_from(getattr(module, target.name), known, seed=0, has_steps=True).data
    if isinstance(data, Arrays):
        parts = [part for part in (data.x, data.y, data.sample_weight) if part is not None]
        return tuple(keras.tree.map_structure(lambda array: array[:_ROWS], part) for part in parts)
    batch = next(iter(data))
    return keras.tree.map_structure(lambda tensor: np.asarray(tensor)[:_ROWS], batch)
