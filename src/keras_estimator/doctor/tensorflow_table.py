"""Which function of keras.ops computes the same as one of TensorFlow, as rules print it."""

from __future__ import annotations

from collections.abc import Collection

_SAME_NAMES = """
abs add argmax argmin ceil cos cosh divide einsum equal exp expand_dims eye floor greater greater_equal less less_equal
logical_and logical_not logical_or matmul maximum minimum multiply not_equal ones_like reshape round sign sin sinh
sqrt square squeeze stack subtract tan tanh tile transpose where zeros_like
"""
# The function of TensorFlow, without `math.` before it: that of keras.ops. tests/test_tensorflow_table.py compares.
_TABLE = {name: name for name in _SAME_NAMES.split()} | {
    "acos": "arccos",
    "asin": "arcsin",
    "atan": "arctan",
    "clip_by_value": "clip",
    "concat": "concatenate",
    "erf": "erf",
    "expm1": "expm1",
    "log": "log",
    "log1p": "log1p",
    "pow": "power",
    "reciprocal": "reciprocal",
    "reduce_all": "all",
    "reduce_any": "any",
    "reduce_logsumexp": "logsumexp",
    "reduce_max": "max",
    "reduce_mean": "mean",
    "reduce_min": "min",
    "reduce_prod": "prod",
    "reduce_std": "std",
    "reduce_sum": "sum",
    "reduce_variance": "var",
    "rsqrt": "rsqrt",
    "sigmoid": "sigmoid",
    "softplus": "softplus",
    "cast": "cast",
    "stop_gradient": "stop_gradient",
    "nn.elu": "elu",
    "nn.relu": "relu",
    "nn.relu6": "relu6",
    "nn.selu": "selu",
    "nn.sigmoid": "sigmoid",
    "nn.silu": "silu",
    "nn.softmax": "softmax",
    "nn.softplus": "softplus",
    "nn.softsign": "softsign",
    "nn.swish": "silu",
    "nn.tanh": "tanh",
}
# Arguments by name that mean the same in both.
_WORDS = frozenset({"axis", "keepdims"})
_WITHOUT_AXIS = frozenset({"argmax", "argmin"})  # of all elements in keras.ops, of the first axis in TensorFlow
_PLACES = {
    **dict.fromkeys(
        """add divide equal greater greater_equal less less_equal logical_and logical_or maximum minimum multiply
        not_equal pow subtract cast argmax argmin concat expand_dims matmul reshape squeeze stack tile
        transpose""".split(),
        2,
    ),
    **{name: 2 for name in _TABLE if name.startswith("reduce_")},
    "nn.softmax": 2,
    "clip_by_value": 3,
    "where": 3,
    "einsum": 9,
}


def same_in_ops(name: str, places: int, words: Collection[str]) -> str | None:
    """Return the function of keras.ops that computes the same as a call of TensorFlow; None if there is none.

    Args:
        name: The function, such as `math.reduce_mean` or `nn.relu`.
        places: How many arguments it is given by place.
        words: The names of its other arguments.
    """
    name = name.removeprefix("math.")
    if name not in _TABLE or not 1 <= places <= _PLACES.get(name, 1) or not _WORDS.issuperset(words):
        return None
    if (name == "where" and places != 3) or (name in _WITHOUT_AXIS and places == 1 and "axis" not in words):
        return None
    return _TABLE[name]
