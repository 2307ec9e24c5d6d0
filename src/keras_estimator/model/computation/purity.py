"""Find what a model computes anew each time it is traced: clocks, random numbers of Python, counters in Python.

A compiled step runs Python once, while it is traced. What Python gave then is a constant of the graph from
then on: it is another one in the next process, and it never changes again in this one.
"""

from __future__ import annotations

import dataclasses
import dis
import types
from collections.abc import Iterator
from typing import Any

import keras

from keras_estimator.model.anatomy import is_foreign, layers_by_path
from keras_estimator.model.computation.fingerprint import Traced
from keras_estimator.model.source_lines import where_defined

# Modules whose functions answer something else each time.
_CLOCKS_AND_DICE = frozenset({"time", "datetime", "random", "uuid", "secrets", "numpy.random", "numpy.random.mtrand"})
_STEPS = ("call", "build", "train_step", "test_step", "predict_step", "compute_loss", "compute_metrics")


@dataclasses.dataclass(frozen=True)
class Purity:
    """Whether a model computes the same each time it is traced.

    Attributes:
        differing: What differed between traces, such as ``"training: `noise`"``.
        suspects: Functions of the model that read a clock or Python's random numbers, with their line and what
            they read. Traces need not show it: a clock read as float32 is the same for a minute.
        calls_python: Whether the model calls Python while it runs, where no trace shows what it computes.
    """

    differing: tuple[str, ...]
    suspects: tuple[str, ...]
    calls_python: bool

    @property
    def is_pure(self) -> bool:
        """Whether nothing was found."""
        return not (self.differing or self.suspects or self.calls_python)


def purity_of(model: Any, traces: list[Traced]) -> Purity:
    """Judge a model by several traces of it.

    Args:
        model: The Keras model.
        traces: Its fingerprints, one after the other.
    """
    first = traces[0].fingerprint
    differing = {line: None for other in traces[1:] for line in first.differences(other.fingerprint)}
    return Purity(tuple(differing), tuple(_suspects(model)), any(traced.calls_python for traced in traces))


def _suspects(model: Any) -> Iterator[str]:
    for path, layer in layers_by_path(model).items():
        seen: set[types.FunctionType] = set()
        for function in _functions_of(layer):
            if function in seen:
                continue
            seen.add(function)
            reads = sorted(set(_impure_reads(function.__code__, function.__globals__)))
            if reads:
                where = f"`{path}`" if path else "the model"
                yield f"{where}: {function.__qualname__} ({where_defined(function)}) reads {', '.join(reads)}"


def _functions_of(layer: Any) -> Iterator[types.FunctionType]:
    """Yield the functions of the user that run when a layer is traced."""
    for name in _STEPS:
        function = getattr(getattr(layer, name, None), "__func__", vars(layer).get(name))
        if isinstance(function, types.FunctionType) and not is_foreign(function):
            yield function
    if isinstance(layer, keras.layers.Lambda) and isinstance(layer.function, types.FunctionType):
        yield layer.function


def _impure_reads(code: types.CodeType, names: dict[str, Any]) -> Iterator[str]:
    """Yield what a function reads of clocks and dice, as it is written: `time.time`, `np.random.rand`."""
    value: Any = None
    written = ""
    for instruction in dis.get_instructions(code):
        if instruction.opname in {"LOAD_GLOBAL", "LOAD_NAME"}:
            written, value = instruction.argval, names.get(instruction.argval)
        elif instruction.opname in {"LOAD_ATTR", "LOAD_METHOD"} and isinstance(value, types.ModuleType):
            written, value = f"{written}.{instruction.argval}", getattr(value, instruction.argval, None)
        else:
            value = None
        if value is not None and not isinstance(value, types.ModuleType) and _is_impure(value):
            yield written
    for constant in code.co_consts:
        if isinstance(constant, types.CodeType):
            yield from _impure_reads(constant, names)


def _is_impure(value: Any) -> bool:
    """Tell whether something is a function or a class of a clock or of dice."""
    module = getattr(value, "__module__", None) or type(getattr(value, "__self__", None)).__module__
    return callable(value) and module in _CLOCKS_AND_DICE
