"""What becomes of the arguments of an `__init__` when Keras makes a config of the object, read from the source."""

from __future__ import annotations

import ast
import dataclasses
import functools
import re
from collections.abc import Iterable
from functools import cached_property

from keras_estimator.doctor.names import ROOTS, kind_of_keras
from keras_estimator.doctor.names_of_keras import AUTOMATIC
from keras_estimator.doctor.source import Function, KerasClass, Source

# What the base class of each kind puts into a config itself.
OF_BASE = {
    "layer": frozenset({"name", "trainable", "dtype", "activity_regularizer", "autocast", "dynamic", "input_shape"}),
    "model": frozenset({"name", "trainable", "dtype"}),
    "loss": frozenset({"name", "reduction", "dtype"}),
    "metric": frozenset({"name", "dtype"}),
    "optimizer": frozenset(
        """
        name learning_rate weight_decay clipnorm clipvalue global_clipnorm use_ema ema_momentum
        ema_overwrite_frequency loss_scale_factor gradient_accumulation_steps
        """.split()
    ),
    "initializer": frozenset({"name"}),
    "regularizer": frozenset({"name"}),
    "constraint": frozenset({"name"}),
    "schedule": frozenset({"name"}),
}
_BARE = frozenset(root.rpartition(".")[2] for root in ROOTS)
# A class that is there to be inherited from is made by its subclasses, which may have other arguments.
_ABSTRACT = re.compile(r"_?(Base|Abstract)[A-Z]\w*|\w+(Base|Mixin)")
_NO_BASES = frozenset({"abc.ABC", "typing.Generic", "typing.Protocol"})
# `keras.activations.get(x)` is undone by `keras.activations.serialize`.
_GETTERS = frozenset(f"keras.{kind}.get" for kind in ("activations", "initializers", "regularizers", "constraints"))
_CONVERTERS = frozenset({"int", "float", "bool", "str", "tuple", "list"})
# An argument of a type of these, or of which these are asked, is no plain value.
_TYPES_OF_OBJECTS = (
    "Callable",
    "Layer",
    "Model",
    "ndarray",
    "Tensor",
    "Initializer",
    "Regularizer",
    "Loss",
    "Optimizer",
)
_OF_OBJECTS = frozenset(
    """
    trainable_weights trainable_variables non_trainable_variables weights variables losses get_weights set_weights
    layers call build get_config compute_output_shape shape dtype ndim astype predict
    """.split()
)


@dataclasses.dataclass(frozen=True)
class Argument:
    """One argument of an `__init__`.

    Attributes:
        name: Its name.
        default: What it is if it is not given; None if it must be.
        saved: What gives its value back, such as `self.gain`; empty if no attribute of its name holds it as it was.
        is_object: Whether it is a function, a layer or an array, which JSON cannot hold.
    """

    name: str
    default: ast.expr | None
    saved: str
    is_object: bool


class Constructor:
    """The `__init__` of a class and what it does with its arguments.

    Args:
        source: The file.
        one: A class with an `__init__` of its own.
    """

    def __init__(self, source: Source, one: KerasClass) -> None:
        self._source = source
        self.one = one
        self.init: Function = one.methods["__init__"]

    @property
    def takes_all(self) -> bool:
        """Whether it takes whatever a config has."""
        return self.init.args.kwarg is not None

    @cached_property
    def names(self) -> list[str]:
        """The names of its arguments, but for `*args` and `**kwargs`."""
        given = self.init.args
        return [one.arg for one in (*given.posonlyargs, *given.args)][1:] + [one.arg for one in given.kwonlyargs]

    @cached_property
    def _nodes(self) -> list[ast.AST]:
        return [node for statement in self.init.body for node in ast.walk(statement)]

    @cached_property
    def calls_of_super(self) -> list[ast.Call]:
        """Where it calls the `__init__` of a base class."""
        calls = (node for node in self._nodes if isinstance(node, ast.Call))
        return [call for call in calls if isinstance(call.func, ast.Attribute) and call.func.attr == "__init__"]

    @cached_property
    def is_functional(self) -> bool:
        """Whether it hands inputs and outputs to a `Model`, or all that it gets."""
        words = {word.arg for call in self.calls_of_super for word in call.keywords}
        positional = [value for call in self.calls_of_super for value in call.args if not _is_self(value)]
        is_sequential = any(base.endswith("Sequential") for base in self.one.bases)
        return self.one.kind == "model" and not is_sequential and ({"inputs", "outputs"} <= words or bool(positional))

    @cached_property
    def _made_of(self) -> dict[str, set[str]]:
        """The names that each local name is computed from."""
        found: dict[str, set[str]] = {}
        for node in self._nodes:
            for target in targets_of(node):
                if isinstance(target, ast.Name):
                    found.setdefault(target.id, set()).update(_names_in(node))
        return found

    def goes_into(self, names: Iterable[str]) -> set[str]:
        """Return names and all those that they are computed from."""
        found: set[str] = set()
        waiting = list(names)
        while waiting:
            name = waiting.pop()
            if name not in found:
                found.add(name)
                waiting += self._made_of.get(name, ())
        return found

    @cached_property
    def handed_up(self) -> frozenset[str]:
        """The arguments that a base class gets, under their own names or by their places, also what is made of them."""
        found: set[str] = set()
        for call in self.calls_of_super:
            found |= self.goes_into(name for value in call.args for name in _names_in(value))
            for word in call.keywords:
                names = self.goes_into(_names_in(word.value))
                found |= names if word.arg in names else set()
        kwargs = self.init.args.kwarg.arg if self.init.args.kwarg else ""
        for node in self._nodes:
            if isinstance(node, ast.Subscript) and isinstance(node.value, ast.Name) and node.value.id == kwargs:
                found |= {node.slice.value} if isinstance(node.slice, ast.Constant) else set()  # type: ignore[arg-type]  # a text, as it is a key of a config
        return frozenset(found)

    @cached_property
    def renamed(self) -> dict[str, str]:
        """The arguments that a base class gets under another name, which is the one in its config, and that name."""
        words = [word for call in self.calls_of_super for word in call.keywords if word.arg not in (None, "name")]
        pairs = {word.value.id: word.arg or "" for word in words if isinstance(word.value, ast.Name)}
        return {name: word for name, word in pairs.items() if name in self.names and name != word}

    @cached_property
    def hides_what_it_hands_up(self) -> bool:
        """Whether a base class gets arguments that nobody can name, such as `**settings`."""
        kwargs = self.init.args.kwarg.arg if self.init.args.kwarg else ""
        starred = [word.value for call in self.calls_of_super for word in call.keywords if word.arg is None]
        return not all(isinstance(value, ast.Name) and value.id == kwargs for value in starred)

    @cached_property
    def own(self) -> list[Argument]:
        """The arguments that are its own and that it uses: those that its config must have."""
        given = self.init.args
        positional = [one.arg for one in (*given.posonlyargs, *given.args)]
        defaults: dict[str, ast.expr | None] = dict(
            zip(positional[len(positional) - len(given.defaults) :], given.defaults, strict=True)
        )
        defaults |= {one.arg: value for one, value in zip(given.kwonlyargs, given.kw_defaults, strict=True)}
        used = {node.id for node in self._nodes if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Load)}
        base = OF_BASE.get(self.one.kind, frozenset())
        names = [name for name in self.names if name in used and name not in base]
        return [Argument(name, defaults.get(name), self._saved(name), self._is_object(name)) for name in names]

    @cached_property
    def _attributes(self) -> dict[str, list[tuple[ast.AST, ast.expr | None]]]:
        """Every assignment to an attribute in the class, by name."""
        found: dict[str, list[tuple[ast.AST, ast.expr | None]]] = {}
        for node in ast.walk(self.one.node):
            for target in targets_of(node):
                if isinstance(target, ast.Attribute) and _is_self(target.value):
                    found.setdefault(target.attr, []).append((node, _value_of(node, target)))
        return found

    def _saved(self, name: str) -> str:
        assigned = self._attributes.get(name, [])
        if len(assigned) != 1 or self._is_bound_again(name) or assigned[0][0] not in self._nodes:
            return ""
        value = assigned[0][1]
        if (
            isinstance(value, ast.Call)
            and len(value.args) == 1
            and _is_name(value.args[0], name)
            and not value.keywords
        ):
            if self._source.dotted(value.func) in _GETTERS and isinstance(value.func, ast.Attribute):
                return f"{self._source.code(value.func.value)}.serialize(self.{name})"
            return f"self.{name}" if isinstance(value.func, ast.Name) and value.func.id in _CONVERTERS else ""
        if isinstance(value, ast.BoolOp):  # name or 3
            return f"self.{name}" if _is_name(value.values[0], name) else ""
        if isinstance(value, ast.IfExp):  # name if name is not None else 3
            return f"self.{name}" if _is_name(value.body, name) and name in _names_in(value.test) else ""
        return f"self.{name}" if value is not None and _is_name(value, name) else ""

    def _is_bound_again(self, name: str) -> bool:
        """Tell whether an argument gets another value, but for `if name is None: name = 3`."""
        for node in self._nodes:
            if any(_is_name(target, name) for target in targets_of(node)):
                test = getattr(self._source.parent(node), "test", None)
                if test is None or ast.unparse(test) not in (f"{name} is None", f"not {name}"):
                    return True
        return False

    def _is_object(self, name: str) -> bool:
        annotation = next((one.annotation for one in _parameters(self.init) if one.arg == name), None)
        if annotation is not None and any(kind in ast.unparse(annotation) for kind in _TYPES_OF_OBJECTS):
            # `str | Callable` may be either; it is a name most often.
            return not any(plain in ast.unparse(annotation) for plain in ("str", "int", "float"))
        values = [value for _, value in self._attributes.get(name, [])]
        is_held = len(values) == 1 and values[0] is not None and _is_name(values[0], name)
        return is_held and name in self._used_as_objects

    @cached_property
    def _used_as_objects(self) -> frozenset[str]:
        """The attributes that the class calls, or asks for what only functions, layers and arrays have."""
        found: set[str] = set()
        for node in ast.walk(self.one.node):
            asked = node.func if isinstance(node, ast.Call) else None
            if isinstance(node, ast.Attribute) and node.attr in _OF_OBJECTS:
                asked = node.value
            if isinstance(asked, ast.Attribute) and _is_self(asked.value):
                found.add(asked.attr)
        return frozenset(found | self._called_one_by_one)

    @cached_property
    def _called_one_by_one(self) -> set[str]:
        """The attributes that are lists of functions or layers: `for layer in self.layers: x = layer(x)`."""
        nodes = list(ast.walk(self.one.node))
        called = {node.func.id for node in nodes if isinstance(node, ast.Call) and isinstance(node.func, ast.Name)}
        found: set[str] = set()
        for node in nodes:
            if isinstance(node, ast.For | ast.comprehension) and _names_in(node.target) & called:
                parts = (one for one in ast.walk(node.iter) if isinstance(one, ast.Attribute) and _is_self(one.value))
                found |= {part.attr for part in parts}
        return found


def are_bases_known(source: Source, one: KerasClass) -> bool:
    """Tell whether each class that a class inherits from is Keras's own, or in the same file."""
    in_file = {ancestor.name for ancestor in one.ancestors}
    for node in (one.node, *one.ancestors):
        for base in node.bases:
            dotted = source.dotted(base)
            name = base.id if isinstance(base, ast.Name) else ""
            if name in in_file or name == "object" or dotted in _NO_BASES or kind_of_keras(dotted):
                continue
            return False
    return True


def is_of_root(one: KerasClass) -> bool:
    """Tell whether a class inherits from classes of Keras only that have no config of their own, as `keras.Layer`."""
    of_keras = (base for base in one.bases if kind_of_keras(base))
    return all(base in AUTOMATIC or base.rpartition(".")[2] in _BARE for base in of_keras)


@functools.lru_cache(maxsize=1)
def constructors(source: Source) -> tuple[Constructor, ...]:
    """Return the `__init__` of each class that Keras must make from a config, and that does so in no way of its own."""
    found = []
    inherited = {ancestor.name for one in source.classes for ancestor in one.ancestors}
    for one in source.classes:
        if _ABSTRACT.fullmatch(one.name) or (one.name.startswith("_") and one.name in inherited):
            continue
        is_plain = isinstance(one.methods.get("__init__"), ast.FunctionDef) and one.kind in OF_BASE
        if is_plain and one.method("from_config") is None and are_bases_known(source, one):
            constructor = Constructor(source, one)
            if not constructor.hides_what_it_hands_up:
                found.append(constructor)
    return tuple(found)


def get_config_above(one: KerasClass) -> Function | None:
    """Return the `get_config` that a class inherits from a class of the same file."""
    for ancestor in one.ancestors:
        for node in ancestor.body:
            if isinstance(node, ast.FunctionDef) and node.name == "get_config":
                return node
    return None


def targets_of(node: ast.AST) -> list[ast.expr]:
    """Return what a statement assigns to, tuples taken apart."""
    targets = node.targets if isinstance(node, ast.Assign) else []
    if isinstance(node, ast.AugAssign | ast.AnnAssign | ast.NamedExpr | ast.For):
        targets = [node.target]
    return [
        one for target in targets for one in (target.elts if isinstance(target, ast.Tuple | ast.List) else [target])
    ]


def _value_of(node: ast.AST, target: ast.expr) -> ast.expr | None:
    """Return what an assignment gives to one of its targets; None if it is a part of something, or computed."""
    if isinstance(node, ast.AnnAssign):
        return node.value
    if not isinstance(node, ast.Assign):
        return None
    if target in node.targets:
        return node.value
    values: list[ast.expr] = getattr(node.value, "elts", [])
    for whole in node.targets:
        parts: list[ast.expr] = getattr(whole, "elts", [])
        if target in parts and len(parts) == len(values) and not any(isinstance(one, ast.Starred) for one in values):
            return values[parts.index(target)]
    return None


def _parameters(init: Function) -> list[ast.arg]:
    return [*init.args.posonlyargs, *init.args.args, *init.args.kwonlyargs]


def _names_in(node: ast.AST) -> set[str]:
    return {one.id for one in ast.walk(node) if isinstance(one, ast.Name)}


def _is_name(node: ast.AST, name: str) -> bool:
    return isinstance(node, ast.Name) and node.id == name


def _is_self(node: ast.AST) -> bool:
    return _is_name(node, "self")
