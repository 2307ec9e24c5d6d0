"""Write the `self.add_weight(...)` that stands for a `tf.Variable(...)`, in as few lines as black would."""

from __future__ import annotations

import ast
import dataclasses
from typing import Any

from keras_estimator.doctor.rewriting import Change, needs_import
from keras_estimator.doctor.source import KerasClass, Source

_WIDTH = 88  # what black, and so most code, keeps to
_FIXED = ("zeros", "ones")
_UNDERSTOOD = frozenset({"initial_value", "trainable", "dtype", "name", "aggregation"})
# What a weight of Keras has as a variable of TensorFlow has it.
_SHARED = frozenset({"assign", "assign_add", "assign_sub", "numpy", "shape", "dtype", "name"})
_WHERE_MADE = ("__init__", "build")


@dataclasses.dataclass(frozen=True)
class Bracketed:
    """A call or a list: what stands before its items, the items, and the bracket behind them."""

    opening: str
    items: tuple[Bracketed | str, ...]
    closing: str

    def __str__(self) -> str:
        return f"{self.opening}{', '.join(map(str, self.items))}{self.closing}"


@dataclasses.dataclass(frozen=True)
class Weight:
    """A weight that can be made of a variable.

    Attributes:
        code: The call that makes it.
        is_same: Whether the model computes the same with it; a trainable one is trained from then on.
        imports: The import that the call needs, if any.
    """

    code: Bracketed
    is_same: bool
    imports: tuple[Change, ...]


def weight_for(source: Source, call: ast.Call, name: str, owner: KerasClass, used_as: str = "") -> Weight | None:
    """Return the weight for a call of `tf.Variable`; None if nobody can tell from the source what it starts with.

    Args:
        source: The file.
        call: The call.
        name: The name of the weight, if the call gives none.
        owner: The class it is made in.
        used_as: The attribute that holds it: a weight has not all the methods of a variable.
    """
    function = source.function_of(call)
    if owner.kind not in ("layer", "model", "metric") or getattr(function, "name", "") not in _WHERE_MADE:
        return None
    words = _words(call)
    first = words.get("initial_value") if words is not None else None
    if words is None or first is None or not _methods_used(owner.node, used_as) <= _SHARED:
        return None
    given = _first_value(source, first)
    dtype = _dtype(source, words["dtype"]) if "dtype" in words else given[1] if given else ""
    is_trainable, aggregation = _truth(words.get("trainable")), _aggregation(source, words.get("aggregation"))
    if given is None or not dtype or is_trainable is None or aggregation is None:
        return None
    shape, _, initializer = given
    is_number = "float" not in dtype
    is_trainable = is_trainable and not is_number  # nothing can train an integer
    title = words["name"].value if isinstance(words.get("name"), ast.Constant) else name  # type: ignore[attr-defined]  # a constant
    alias = source.names.alias_of("keras")
    is_constant = initializer not in _FIXED
    first_code = f"{alias or 'keras'}.initializers.Constant({initializer})" if is_constant else f'"{initializer}"'
    items = [f'name="{title}"', f"shape={shape}", f'dtype="{dtype}"', f"initializer={first_code}"]
    if owner.kind != "metric":  # whose variables are never trained, and have an aggregation of their own
        aggregation = aggregation or ("only_first_replica" if is_number else "")
        items += [f"trainable={is_trainable}", *([f'aggregation="{aggregation}"'] if aggregation else [])]
    is_same = not is_trainable and owner.kind != "metric" and (is_number or dtype == "float32")
    imports = (needs_import("keras"),) if is_constant and not alias else ()
    return Weight(Bracketed("self.add_weight(", tuple(items), ")"), is_same, imports)


def in_width(source: Source, node: ast.expr, code: Bracketed) -> str:
    """Return code that takes the place of a node, in one line if it is short enough; black would leave it as it is."""
    line, last = (source.lines[number - 1].encode() for number in (node.lineno, node.end_lineno or node.lineno))
    before, after = line[: node.col_offset].decode(), last[node.end_col_offset :].decode()
    return _laid_out(code, len(before) - len(before.lstrip()), 0, len(before), len(after))


def _laid_out(code: Bracketed | str, margin: int, indent: int, before: int, after: int) -> str:
    """Return code in lines, the second and later ones indented as if the statement began at the left.

    Args:
        code: The code.
        margin: Where the statement begins.
        indent: How far the line of the code is indented against that.
        before: How much stands before the code in its line.
        after: How much stands behind it.
    """
    if isinstance(code, str) or before + len(str(code)) + after <= _WIDTH:
        return str(code)
    inner = indent + 4
    body = ", ".join(map(str, code.items))
    if margin + inner + len(body) > _WIDTH or any(isinstance(item, Bracketed) for item in code.items):
        lines = [_laid_out(item, margin, inner, margin + inner, 1) + "," for item in code.items]
        body = f"\n{' ' * inner}".join(lines)
    return f"{code.opening}\n{' ' * inner}{body}\n{' ' * indent}{code.closing}"


def _words(call: ast.Call) -> dict[str, ast.expr] | None:
    """Return the arguments by name; None if there are some whose meaning for a weight is not known."""
    if len(call.args) > 2 or any(isinstance(one, ast.Starred) for one in call.args):
        return None
    words = dict(zip(("initial_value", "trainable"), call.args, strict=False))
    words |= {word.arg or "": word.value for word in call.keywords}
    return words if words.keys() <= _UNDERSTOOD else None


def _first_value(source: Source, node: ast.expr) -> tuple[str, str, str] | None:
    """Return the shape, the dtype and the initializer of a first value, as code; None if it has to be run to know."""
    try:
        value = ast.literal_eval(node)
    except (ValueError, TypeError, SyntaxError):
        return _filled(source, node)
    shape = _shape(value)
    leaves = list(_leaves(value))
    if shape is None or not leaves or not all(isinstance(leaf, int | float) for leaf in leaves):
        return None
    kinds = {type(leaf) for leaf in leaves}
    dtype = {frozenset({int}): "int32", frozenset({bool}): "bool"}.get(frozenset(kinds), "float32")
    same = next((name for place, name in enumerate(_FIXED) if all(leaf == place for leaf in leaves)), "")
    return repr(shape), dtype, same or source.code(node)


def _filled(source: Source, node: ast.expr) -> tuple[str, str, str] | None:
    """Understand `tf.zeros([2, units])` and the like."""
    if not isinstance(node, ast.Call) or not node.args or len(node.args) > 2:
        return None
    module, _, function = source.dotted(node.func).rpartition(".")
    words = {word.arg: word.value for word in node.keywords} | dict(zip(("shape", "dtype"), node.args, strict=False))
    shape = words.get("shape")
    if module not in ("tensorflow", "keras.ops") or function not in _FIXED or not words.keys() <= {"shape", "dtype"}:
        return None
    if isinstance(shape, ast.Constant):
        sizes = [source.code(shape)]
    elif isinstance(shape, ast.List | ast.Tuple):
        sizes = [source.code(size) for size in shape.elts]
    else:
        return None
    code = f"({', '.join(sizes)}{',' if len(sizes) == 1 else ''})"
    return code, _dtype(source, words["dtype"]) if "dtype" in words else "float32", function


def _shape(value: Any) -> tuple[int, ...] | None:
    if not isinstance(value, list | tuple):
        return ()
    inner = {_shape(item) for item in value}
    first = inner.pop() if len(inner) == 1 else None
    return None if first is None else (len(value), *first)


def _leaves(value: Any) -> Any:
    if isinstance(value, list | tuple):
        for item in value:
            yield from _leaves(item)
    else:
        yield value


def _dtype(source: Source, node: ast.expr) -> str:
    if isinstance(node, ast.Constant):
        return str(node.value or "")
    module, _, name = source.dotted(node).rpartition(".")
    return name if module in ("tensorflow", "numpy") else ""


def _truth(node: ast.expr | None) -> bool | None:
    if node is None:
        return True
    return bool(node.value) or node.value is None if isinstance(node, ast.Constant) else None


def _aggregation(source: Source, node: ast.expr | None) -> str | None:
    if node is None:
        return ""
    module, _, name = source.dotted(node).rpartition(".")
    return name.lower() if module == "tensorflow.VariableAggregation" else None


def _methods_used(node: ast.ClassDef, attribute: str) -> set[str]:
    """Return what a class asks of `self.attribute`."""
    if not attribute:
        return set()
    reached = (one for one in ast.walk(node) if isinstance(one, ast.Attribute) and isinstance(one.value, ast.Attribute))
    return {one.attr for one in reached if ast.unparse(one.value) == f"self.{attribute}"}
