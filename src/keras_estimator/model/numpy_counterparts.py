"""Find what computes the same as a NumPy call in keras.ops, and hand it the same arguments."""

from __future__ import annotations

import dataclasses
import functools
import inspect
from collections.abc import Callable, Mapping
from typing import Any

import keras
import numpy as np
from keras import ops

from keras_estimator.errors import NumpyCallError
from keras_estimator.model.tensor_kinds import is_tensor
from keras_estimator.model.user_lines import running_line

# The same function under another name; the last two are ufuncs of scipy.special.
_OTHER_NAMES = {
    "absolute": "abs",
    "around": "round",
    "degrees": "rad2deg",
    "fix": "trunc",
    "invert": "bitwise_not",
    "radians": "deg2rad",
    "remainder": "mod",
    "rint": "round",
    "expit": "sigmoid",
    "log_expit": "log_sigmoid",
}
# Before NumPy 2.4 those of its functions that are written in C did not tell their arguments.
_SIGNATURES: dict[str, Callable[..., Any]] = {
    "concatenate": lambda arrays, /, axis=0, out=None, *, dtype=None, casting="same_kind": None,
    "dot": lambda a, b, out=None: None,
    "inner": lambda a, b, /: None,
    "vdot": lambda a, b, /: None,
    "where": lambda condition, x=np._NoValue, y=np._NoValue, /: None,  # noqa: SLF001 - what NumPy's own hold there
}
_NAMESAKES = frozenset({"cond"})  # The same name in keras.ops for something else.
_METHODS = {
    ("add", "reduce"): np.sum,
    ("multiply", "reduce"): np.prod,
    ("maximum", "reduce"): np.max,
    ("minimum", "reduce"): np.min,
    ("logical_and", "reduce"): np.all,
    ("logical_or", "reduce"): np.any,
    ("add", "accumulate"): np.cumsum,
    ("multiply", "accumulate"): np.cumprod,
}
# They say how NumPy stores or plans, not what it computes; a tensor is never changed in place.
_WITHOUT_EFFECT = frozenset({"copy", "subok", "overwrite_input", "optimize", "casting"})


@dataclasses.dataclass(frozen=True)
class NumpyCall:
    """One call of a NumPy function, as NumPy hands it to those who take part in its protocols.

    Attributes:
        function: A ufunc, or a function that dispatches over `__array_function__`.
        method: `"__call__"`, or a method of a ufunc such as `"reduce"`.
        args: The arguments by place.
        kwargs: The arguments by name.
    """

    function: Any
    method: str
    args: tuple[Any, ...]
    kwargs: Mapping[str, Any]

    @property
    def name(self) -> str:
        """The function as a user writes it: `np.sin`, `np.linalg.norm`, `np.add.reduce`."""
        name = str(self.function.__name__)
        module = getattr(self.function, "__module__", None) or ("numpy" if hasattr(np, name) else "")
        method = "" if self.method == "__call__" else f".{self.method}"
        return f"{module}.".replace("numpy.", "np.", 1).lstrip(".") + name + method

    def original(self, args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> Any:
        """Call NumPy itself with other arguments."""
        return getattr(self.function, self.method)(*args, **kwargs)


@dataclasses.dataclass(frozen=True)
class Counterpart:
    """What computes the same as a NumPy call.

    Attributes:
        label: Its name: `keras.ops.sin`.
        run: Takes the arguments that the NumPy function takes.
    """

    label: str
    run: Callable[..., Any]


def counterpart_of(call: NumpyCall) -> Counterpart:
    """Return what computes the same as `call` with keras.ops.

    Raises:
        NumpyCallError: keras.ops has no such function, or the function has no such argument.
    """
    if call.method != "__call__":
        return _of_method(call)
    name = str(call.function.__name__)
    if name in _COMPOSED and _is_numpy(call.function):
        return _composed(call, _COMPOSED[name])
    operation = getattr(ops, _OTHER_NAMES.get(name, name), None)
    if operation is None or not _is_numpy(call.function) or name in _NAMESAKES:
        raise refusal(call, "has no counterpart in keras.ops")
    label = f"keras.ops.{operation.__name__}"
    if isinstance(call.function, np.ufunc):
        _map_ufunc(call, operation, call.args, call.kwargs)
        return Counterpart(label, lambda *args, **kwargs: _map_ufunc(call, operation, args, kwargs)())
    _map_arguments(call, operation, call.args, call.kwargs)
    return Counterpart(label, lambda *args, **kwargs: _map_arguments(call, operation, args, kwargs)())


def refusal(call: NumpyCall, reason: str, fix: str = "") -> NumpyCallError:
    """Return the error that says why `call` cannot run on a tensor, and where it is."""
    line = running_line()
    return NumpyCallError(
        f"{call.name} on a tensor at {line} {reason}",
        found=f"`{line.text}` ({line.file}, line {line.number})" if line.text else str(line),
        expected="a function and arguments that keras.ops has too, so that it runs in the graph with its gradient",
        fix=fix or "write it with functions of keras.ops, which https://keras.io/api/ops/ lists",
        rule="KE201",
    )


def with_matching_dtypes(call: NumpyCall) -> NumpyCall:
    """Return `call` with its float64 arrays and NumPy scalars in the float type of its tensors.

    NumPy makes float64 where nobody asks for it (`np.zeros(3)`, `np.pi * np.ones(3)`); TensorFlow's own
    operators take such an array as a constant of the tensor's type, and so do we.
    """
    leaves = keras.tree.flatten([list(call.args), dict(call.kwargs)])
    dtypes = [keras.backend.standardize_dtype(leaf.dtype) for leaf in leaves if is_tensor(leaf)]
    floats = [dtype for dtype in dtypes if "float" in dtype]
    wanted = keras.backend.result_type(*floats) if floats else keras.config.floatx()
    if wanted == "float64" or any("complex" in dtype for dtype in dtypes):
        return call

    def match(leaf: Any) -> Any:
        if isinstance(leaf, np.ndarray | np.generic) and leaf.dtype == np.float64:
            return ops.convert_to_tensor(leaf, wanted) if wanted == "bfloat16" else np.asarray(leaf, wanted)
        return leaf

    args, kwargs = keras.tree.map_structure(match, (tuple(call.args), dict(call.kwargs)))
    return dataclasses.replace(call, args=args, kwargs=kwargs)


def _is_numpy(function: Any) -> bool:
    # Ufuncs do not say where they are from: those of SciPy are taken by name and compared like all others.
    return getattr(function, "__module__", None) in (None, "numpy", "numpy.linalg")


def _composed(call: NumpyCall, function: Callable[..., Any]) -> Counterpart:
    try:
        inspect.signature(function).bind(*call.args, **call.kwargs)
    except TypeError as error:
        raise refusal(call, f"is given what functions of keras.ops do not take: {error}") from error
    return Counterpart("a composition of keras.ops", function)


def _of_method(call: NumpyCall) -> Counterpart:
    function = _METHODS.get((call.function.__name__, call.method))
    if function is None:
        raise refusal(call, "has no counterpart in keras.ops")

    def plain(args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> NumpyCall:
        given = dict(zip(("axis", "dtype", "out", "keepdims"), args[1:], strict=False))
        return NumpyCall(function, "__call__", args[:1], {"axis": 0, **given, **kwargs})

    found = counterpart_of(plain(call.args, call.kwargs))

    def run(*args: Any, **kwargs: Any) -> Any:
        other = plain(args, kwargs)
        return found.run(*other.args, **other.kwargs)

    return Counterpart(found.label, run)


def _map_ufunc(
    call: NumpyCall, operation: Callable[..., Any], args: tuple[Any, ...], kwargs: Mapping[str, Any]
) -> Callable[[], Any]:
    """Return `operation` with the arguments of a ufunc, which are its inputs and options."""
    for name, value in kwargs.items():
        if name != "dtype" and name not in _WITHOUT_EFFECT:
            _refuse_argument(call, operation, name, value)
    inputs = _cast(args, kwargs["dtype"]) if kwargs.get("dtype") is not None else args
    return functools.partial(operation, *inputs)


def _map_arguments(
    call: NumpyCall, operation: Callable[..., Any], args: tuple[Any, ...], kwargs: Mapping[str, Any]
) -> Callable[[], Any]:
    """Return `operation` with the arguments of a NumPy function, matched by name and, failing that, by place."""
    signature = _signature(call)
    given = signature.bind(*args, **kwargs).arguments
    by_place: list[Any] = []
    by_name: dict[str, Any] = {}
    for place, (name, parameter) in enumerate(signature.parameters.items()):
        value = given.get(name, parameter.default)
        if parameter.kind is parameter.VAR_POSITIONAL:
            by_place.extend(given.get(name, ()))
        elif parameter.kind is parameter.VAR_KEYWORD:
            by_name.update(given.get(name, {}))
        elif target := _target(name, place, signature, operation):
            # Also when it was not given: NumPy's default may be another one. `_NoValue` is no default.
            if value is not np._NoValue:  # noqa: SLF001 - what the signatures of NumPy hold there
                by_name[target] = value
        elif name in given and name not in _WITHOUT_EFFECT and not _is_same(value, parameter.default):
            by_name[name] = value
    dtype = None if "dtype" in inspect.signature(operation).parameters else by_name.pop("dtype", None)
    for name in by_name.keys() - inspect.signature(operation).parameters:
        _refuse_argument(call, operation, name, by_name[name])
    if dtype is not None:
        by_place, by_name = _cast(by_place, dtype), _cast(by_name, dtype)
    return functools.partial(operation, *by_place, **by_name)


def _signature(call: NumpyCall) -> inspect.Signature:
    try:
        return inspect.signature(call.function)
    except ValueError:
        if call.function.__name__ not in _SIGNATURES:
            raise refusal(call, "has arguments that NumPy does not tell") from None
        return inspect.signature(_SIGNATURES[call.function.__name__])


def _target(name: str, place: int, signature: inspect.Signature, operation: Callable[..., Any]) -> str:
    """Return the name that `operation` has for an argument of NumPy; empty if it has none."""
    accepted = list(inspect.signature(operation).parameters)
    if name in accepted:
        return name
    # The same place, if what stands there is an argument that NumPy only calls differently (`a`, `x`).
    is_renamed = place < len(accepted) and accepted[place] not in signature.parameters
    return accepted[place] if is_renamed else ""


def _refuse_argument(call: NumpyCall, operation: Callable[..., Any], name: str, value: Any) -> None:
    fixes = {
        "out": "take the result instead: y = ...; a tensor cannot be written into",
        "where": "choose afterwards: keras.ops.where(condition, result, otherwise)",
    }
    reason = f"is given `{name}`, which keras.ops.{operation.__name__} does not take"
    raise refusal(
        call, reason, fixes.get(name, f"leave out `{name}={value!r}`, or write it with functions of keras.ops")
    )


def _is_same(value: Any, default: Any) -> bool:
    return value is default or (isinstance(value, bool | int | float | str) and bool(value == default))


def _cast(arguments: Any, dtype: Any) -> Any:
    def cast(leaf: Any) -> Any:
        if is_tensor(leaf) or isinstance(leaf, np.ndarray | np.generic):
            return ops.cast(leaf, keras.backend.standardize_dtype(dtype))
        return leaf

    return keras.tree.map_structure(cast, arguments)


def _clip(
    a: Any,
    a_min: Any = None,
    a_max: Any = None,
    *,
    min: Any = None,  # noqa: A002 - as NumPy calls it
    max: Any = None,  # noqa: A002 - as NumPy calls it
) -> Any:
    low = a_min if min is None else min
    high = a_max if max is None else max
    raised = a if low is None else ops.maximum(a, low)
    return raised if high is None else ops.minimum(raised, high)


def _copysign(x1: Any, x2: Any) -> Any:
    size = ops.abs(x1)
    return ops.where(ops.signbit(x2), ops.negative(size), size)


def _divmod(x1: Any, x2: Any) -> tuple[Any, Any]:
    return ops.floor_divide(x1, x2), ops.mod(x1, x2)


def _modf(x: Any) -> tuple[Any, Any]:
    whole = ops.trunc(x)
    return ops.subtract(x, whole), whole


def _reshape(a: Any, /, shape: Any = None, order: str = "C", *, newshape: Any = None, copy: bool | None = None) -> Any:
    del order, copy  # another order is refused where the result is compared with NumPy's
    sizes = newshape if shape is None else shape
    return ops.reshape(a, sizes if isinstance(sizes, tuple | list) else (sizes,))


def _astype(x: Any, dtype: Any, /) -> Any:
    return _cast(x, dtype)


def _matrix_transpose(x: Any, /) -> Any:
    return ops.swapaxes(x, -1, -2)


# Each takes NumPy's own arguments.
_COMPOSED: dict[str, Callable[..., Any]] = {
    "astype": _astype,
    "clip": _clip,
    "copysign": _copysign,
    "divmod": _divmod,
    "matrix_transpose": _matrix_transpose,
    "modf": _modf,
    "reshape": _reshape,
    # Both worked before on the tensor's own attributes, and still do so.
    "ndim": lambda a: len(a.shape),
    "shape": lambda a: a.shape,
}
