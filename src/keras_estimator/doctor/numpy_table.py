"""Which function of keras.ops stands for one of NumPy, and which of them compute the same, as rules print it."""

from __future__ import annotations

from collections.abc import Collection

# With the same name and the same meaning of `axis`, `keepdims` and of so many arguments by place. What each computes
# is compared with NumPy by tests/test_numpy_table.py.
_BY_PLACES = {
    1: """
    abs absolute arccos arccosh arcsin arcsinh arctan arctanh ceil conj cos cosh exp expm1 floor hstack isfinite isinf
    isnan log log10 log1p log2 logical_not negative ones_like reciprocal sign sin sinh sqrt square tan tanh
    zeros_like
    """,
    2: """
    add all amax amin any arctan2 argmax argmin concatenate cumprod cumsum divide dot equal expand_dims flip greater
    greater_equal less less_equal logical_and logical_or matmul max maximum mean min minimum mod multiply not_equal
    outer power prod reshape round sort squeeze stack std subtract sum tile transpose true_divide tril triu var
    """,
    3: "clip diff repeat roll swapaxes where",
    9: "einsum",
}
_PLACES = {name: count for count, names in _BY_PLACES.items() for name in names.split()}
SAME_IN_OPS = frozenset(_PLACES)
_WORDS = frozenset({"axis", "keepdims"})
_OTHERWISE_NAMED = {
    "acos": "arccos",
    "acosh": "arccosh",
    "asin": "arcsin",
    "asinh": "arcsinh",
    "atan": "arctan",
    "atan2": "arctan2",
    "atanh": "arctanh",
    "pow": "power",
    "fabs": "absolute",
    "remainder": "mod",
    "rint": "round",
    "around": "round",
    "concat": "concatenate",
    "asarray": "convert_to_tensor",
    "array": "convert_to_tensor",
    "radians": "deg2rad",
    "fix": "trunc",
    "invert": "bitwise_not",
    "linalg.norm": "norm",
    "linalg.inv": "inv",
    "linalg.det": "det",
    "linalg.solve": "solve",
    "linalg.cholesky": "cholesky",
}
# Of arrays with one axis, `vstack` of Keras makes one axis, too; NumPy's makes rows.
_ALSO_IN_OPS = frozenset(
    "argsort median quantile full_like nan_to_num pad split take take_along_axis average count_nonzero digitize "
    "histogram inner kron moveaxis nonzero ravel tensordot trace vdot logaddexp floor_divide bincount broadcast_to "
    "meshgrid linspace arange cross diagonal rot90 searchsorted select trunc hypot signbit logical_xor "
    "vstack".split()
)


def equivalent_of(name: str) -> str | None:
    """Return the name in keras.ops of NumPy's `sin` or `linalg.norm`; None if there is none."""
    if name in SAME_IN_OPS or name in _ALSO_IN_OPS:
        return name
    return _OTHERWISE_NAMED.get(name)


def is_same(name: str, places: int, words: Collection[str | None]) -> bool:
    """Tell whether a call computes the same with the function of keras.ops that has the same name.

    Args:
        name: The function, such as `sum`.
        places: How many arguments it is given by place.
        words: The names of its other arguments.
    """
    # With a condition alone, `where` finds places.
    return name in SAME_IN_OPS and (3 if name == "where" else 1) <= places <= _PLACES[name] and _WORDS.issuperset(words)
