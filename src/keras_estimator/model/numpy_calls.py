"""Run the NumPy functions that a model calls on its tensors as keras.ops, with exact gradients.

    np.sin(x) ──▶ x has no values now? ──▶ keras.ops.sin(x), once both have given the same numbers
                  x has values?        ──▶ NumPy, as ever

NumPy asks its arguments for `__array_ufunc__` and `__array_function__`. Tensors without values get both,
once and for good: NumPy could only fail on them, so nothing that worked changes. Variables have them
while a graph is traced. Eager tensors have them in one thread, inside `eager_too`: there NumPy would take
the numbers out, and the gradient would be wrong without a word.

All of this happens while a graph is traced, so it costs nothing per step, and a graph never calls Python.
Why this way: docs/decisions/0003-numpy-on-tensors.md
"""

from __future__ import annotations

import contextlib
import functools
import logging
import re
import sys
import threading
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import keras
import numpy as np

from keras_estimator.errors import EstimatorWarning, NumpyCallError
from keras_estimator.model.numpy_checks import agreement, compared
from keras_estimator.model.numpy_counterparts import NumpyCall, counterpart_of, with_matching_dtypes
from keras_estimator.model.tensor_kinds import is_symbolic, is_tensor, rank, tensor_kinds
from keras_estimator.model.user_lines import UserLine, instruction_of, line_of, running_line

# `array * tensor` arrives as np.multiply(array, tensor): the tensor's own operator decides what it means.
_OPERATORS = {
    "add": "__radd__",
    "subtract": "__rsub__",
    "multiply": "__rmul__",
    "divide": "__rtruediv__",
    "floor_divide": "__rfloordiv__",
    "remainder": "__rmod__",
    "power": "__rpow__",
    "bitwise_and": "__rand__",
    "bitwise_or": "__ror__",
    "bitwise_xor": "__rxor__",
    "equal": "__eq__",
    "not_equal": "__ne__",
    "less": "__gt__",
    "less_equal": "__ge__",
    "greater": "__lt__",
    "greater_equal": "__le__",
}
# What Keras, TensorFlow and Python say when the numbers of a tensor are asked for and there are none.
_NO_VALUES = re.compile(
    r"Cannot convert a symbolic|A KerasTensor is symbolic|numpy\(\) is only available when eager"
    r"|not '?(?:SymbolicTensor|KerasTensor)|'(?:SymbolicTensor|KerasTensor)' object cannot be interpreted"
)
_FIXES = (
    (r"\basarray\(|\basanyarray\(", "write keras.ops.convert_to_tensor(x) for np.asarray(x), or leave it out"),
    (
        r"\barray\(",
        "write keras.ops.convert_to_tensor(x) for np.array(x), keras.ops.stack([a, b]) for np.array([a, b])",
    ),
    (
        r"\brandom\.",
        "draw with keras.random, such as keras.random.normal(keras.ops.shape(x), seed=self.seed_generator)",
    ),
    (r"\b(?:float|int)\(", "write keras.ops.cast(x, 'float32') for float(x)"),
    (r"\bmath\.", "write keras.ops.sin(x) for math.sin(x), and the like"),
    (r"\b(?:zeros|ones|full)\(", "write keras.ops.zeros(keras.ops.shape(x)) for np.zeros(x.shape)"),
)

_log = logging.getLogger("keras_estimator")
_this_thread = threading.local()
_told: set[tuple[str, int, str]] = set()
_agreements: dict[tuple[Any, str, str], str] = {}


def numpy_on_tensors() -> contextlib.AbstractContextManager[None]:
    """Let NumPy functions run on tensors without values from now on, as `keras-estimator run` does.

    Call it before a model with NumPy in it is built; `model_to_estimator` and `keras-estimator run` do so
    themselves. Calling it twice changes nothing.

    Returns:
        What may be used as `with numpy_on_tensors():`. Inside, tensors that have values are included, in
        this thread: that is for a `GradientTape` without `tf.function`, which NumPy would cut.

    Example:
        >>> import keras, numpy as np
        >>> _ = numpy_on_tensors()
        >>> np.sin(keras.Input((4,))).shape
        (None, 4)
    """
    install()
    return eager_too()


@functools.cache
def install() -> None:
    """Give the backend's tensors without values, and its variables while it traces, NumPy's two protocols."""
    kinds = tensor_kinds()
    for classes, is_on in (
        (kinds.symbolic, lambda: True),
        (kinds.variables, lambda: _eager_is_on() or not kinds.is_eager()),
        (kinds.eager, _eager_is_on),
    ):
        for cls in classes:
            for name, method in (("__array_ufunc__", _array_ufunc), ("__array_function__", _array_function)):
                setattr(cls, name, _While(is_on, method))


@contextlib.contextmanager
def eager_too() -> Iterator[None]:
    """Include the tensors that have values, in this thread."""
    install()
    _this_thread.depth = getattr(_this_thread, "depth", 0) + 1
    try:
        yield
    finally:
        _this_thread.depth -= 1


@contextlib.contextmanager
def heard() -> Iterator[list[tuple[UserLine, str]]]:
    """Note which NumPy functions run on tensors without values in this thread: the line, and `numpy.sin`."""
    before = getattr(_this_thread, "heard", None)
    _this_thread.heard = []
    try:
        yield _this_thread.heard
    finally:
        _this_thread.heard = before


@contextlib.contextmanager
def explained() -> Iterator[None]:
    """Raise a `NumpyCallError` that names the user's line where the numbers of a tensor were asked for in vain."""
    try:
        yield
    except Exception as error:
        explanation = explain(error)
        if explanation is None or explanation is error:
            raise
        raise explanation from error


def explain(error: BaseException) -> NumpyCallError | None:
    """Return the error that names the user's line if `error` came from NumPy on a tensor, else None.

    Args:
        error: What tracing or building a model raised; Keras and AutoGraph may have wrapped it.
    """
    found: NumpyCallError | None = None
    at: BaseException | None = error
    while at is not None:
        if isinstance(at, NumpyCallError) and at.rule:
            return at  # and not what Keras makes of its text
        if _NO_VALUES.search(str(at)):
            found = _located(at) or found
        inner = at.__cause__ or at.__context__
        at = inner if inner is not None and _only_wraps(at, inner) else None
    return found


def _only_wraps(outer: BaseException, inner: BaseException) -> bool:
    """Tell whether `outer` tells about `inner`, and is no other error that came up while it was dealt with."""
    told = str(inner.args[0]) if inner.args else str(inner)
    return told in str(outer) or outer.__cause__ is inner or isinstance(outer, NotImplementedError)


def _located(error: BaseException) -> NumpyCallError | None:
    line = line_of(error)
    if line is None:
        return None
    fixes = (fix for pattern, fix in _FIXES if re.search(pattern, line.text))
    said = _NO_VALUES.search(str(error))
    start = str(error)[said.start() if said else 0 :].partition("\n")[0]
    return NumpyCallError(
        f"{line} asks for the numbers of a tensor that has none while the graph is traced",
        found=f"`{line.text}` ({line.file}, line {line.number}): {start}",
        expected="functions that run on tensors: those of keras.ops, and NumPy's functions of the same names",
        fix=next(fixes, "replace the call by one of keras.ops, which https://keras.io/api/ops/ lists"),
        rule="KE201",
    )


class _While:
    """A method that a class has only while `is_on()`; at other times it is not there at all."""

    def __init__(self, is_on: Callable[[], bool], method: Callable[..., Any]) -> None:
        self._is_on = is_on
        self._method = method

    def __get__(self, instance: Any, owner: type | None = None) -> Any:
        if not self._is_on():
            raise AttributeError(self._method.__name__)
        return self._method if instance is None else functools.partial(self._method, instance)


def _eager_is_on() -> bool:
    return getattr(_this_thread, "depth", 0) > 0


def _array_ufunc(self: Any, ufunc: Any, method: str, /, *inputs: Any, **kwargs: Any) -> Any:
    if method == "__call__" and len(inputs) == 2:
        # `array += tensor` asks for the result in the array; it has always bound the name to a tensor instead.
        caller = sys._getframe(1)  # noqa: SLF001 - the documented way to look at the caller
        is_in_place = kwargs.keys() == {"out"} and kwargs["out"][0] is inputs[0]
        if is_in_place and instruction_of(caller) == "BINARY_OP":
            kwargs = {}
        result = NotImplemented if kwargs else _by_operator(ufunc, *inputs)
        if result is not NotImplemented:
            return result
    return _run(NumpyCall(ufunc, method, inputs, kwargs))


def _array_function(
    self: Any,
    function: Any,
    types: Any,
    args: tuple[Any, ...],
    kwargs: Mapping[str, Any],
) -> Any:
    return _run(NumpyCall(function, "__call__", tuple(args), dict(kwargs)))


def _by_operator(ufunc: Any, left: Any, right: Any) -> Any:
    """Return `left * right` and the like if only the right side is a tensor; else NotImplemented."""
    operator = getattr(type(right), _OPERATORS.get(ufunc.__name__, ""), None)
    if operator is None or is_tensor(left):
        return NotImplemented
    call = with_matching_dtypes(NumpyCall(ufunc, "__call__", (left, right), {}))
    return operator(right, call.args[0])


def _run(call: NumpyCall) -> Any:
    if any(is_symbolic(leaf) for leaf in keras.tree.flatten([list(call.args), dict(call.kwargs)])):
        return _run_without_values(call)
    return _run_with_values(call)


def _run_without_values(call: NumpyCall) -> Any:
    call = with_matching_dtypes(call)
    counterpart = counterpart_of(call)
    key = (call.function, call.method, repr(keras.tree.map_structure(_kind, (call.args, dict(call.kwargs)))))
    if key not in _agreements:
        _agreements[key] = agreement(call, counterpart)
    line = running_line()
    if getattr(_this_thread, "heard", None) is not None:
        _this_thread.heard.append((line, call.name))
    if _is_news(line.file, line.number, call.name):
        doubt = f" (not compared with NumPy: {_agreements[key]})" if _agreements[key] else ""
        _log.info("NumPy on tensors: %s at %s runs as %s%s", call.name, line, counterpart.label, doubt)
    return counterpart.run(*call.args, **call.kwargs)


def _run_with_values(call: NumpyCall) -> Any:
    """Return what NumPy returns; as a tensor with its gradient if it is a floating number."""

    def array(leaf: Any) -> Any:
        return np.asarray(leaf) if is_tensor(leaf) else leaf

    args, kwargs = keras.tree.map_structure(array, (call.args, dict(call.kwargs)))
    expected = call.original(args, kwargs)
    if not any(np.asarray(leaf).dtype.kind in "fc" for leaf in keras.tree.flatten(expected)):
        return expected
    try:
        matched = with_matching_dtypes(call)
        counterpart = counterpart_of(matched)
    except NumpyCallError as error:
        result, difference = None, error.problem
    else:
        result, difference = compared(matched, counterpart, expected)
    if not difference:
        return result
    line = running_line()
    if _is_news(line.file, line.number, call.name):
        text = f"the gradient ends at {call.name} at {line}: {difference}; write it with functions of keras.ops"
        line.warn(EstimatorWarning(text, rule="KE202"))
    return expected


def _is_news(file: str, number: int, name: str) -> bool:
    told = (file, number, name)
    if told in _told:
        return False
    _told.add(told)
    return True


def _kind(leaf: Any) -> str:
    """Return what distinguishes an argument from others for which the call may compute something else."""
    if isinstance(leaf, np.ndarray):
        return f"array {leaf.dtype} {leaf.ndim}"
    if not is_tensor(leaf):
        return repr(leaf)
    return f"tensor {keras.backend.standardize_dtype(leaf.dtype)} {rank(leaf)}"
