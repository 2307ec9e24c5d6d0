"""Hash what a traced graph computes: equal in every process, different where the mathematics differ.

Each node is hashed with the hashes of what it reads, from the outputs backwards, so that neither names nor
the order in which nodes were made nor nodes that nobody reads matter. Beside that one hash of the whole,
each part (the nodes that one layer made) has a hash of its own, in which what comes from other parts counts
by the name of the part only: a difference in one layer leaves the hashes of all others as they are.
"""

from __future__ import annotations

import dataclasses
import hashlib
import operator
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

import numpy as np

from keras_estimator.model.computation.function_graph import DRAWS

# What says how, where or under which name an operation runs, and not what it computes.
_NOT_MATHEMATICS = frozenset(
    """
    shared_name container config config_proto executor_type use_locking debug_name token parallel_iterations
    """.split()
)
_FUNCTIONS = operator.attrgetter("library.function")  # where TensorFlow's message has them
_OWN_GRADIENT = "_gradient_op_type"
# The gradient of a call of a function is the one of the operations in it.
_GRADIENTS_OF_CALLS = ("PartitionedCall", "StatefulPartitionedCall")
# Operations that call back into Python: what they compute stands in no graph.
CALLS_OF_PYTHON = frozenset({"PyFunc", "PyFuncStateless", "EagerPyFunc"})
_LOOPS = frozenset({"While", "StatelessWhile"})


@dataclasses.dataclass(frozen=True)
class Computation:
    """What one traced function computes.

    Attributes:
        hash: 32 hexadecimal digits for the whole.
        parts: The same for what each part does by itself, by the path of its layer; `""` is the model.
    """

    hash: str
    parts: Mapping[str, str]


@dataclasses.dataclass(frozen=True)
class Read:
    """The tensors that a traced function gives, and what it was given.

    Attributes:
        outputs: Names of tensors, `"node:0"`, in the order of the function's result.
        effects: Names of nodes that run for what they do.
        turns: When a node's turn is, if that matters and its control edges do not say it.
        given: What each input is: the name of its node, and how it is called in every process. What is known
            of the function besides (the structure of its result) stands by the name `""`.
        parts: The path of the layer that made a node; nodes that no layer made are left out.
    """

    outputs: Sequence[str]
    effects: Sequence[str]
    turns: Mapping[str, str]
    given: Mapping[str, str]
    parts: Mapping[str, str]


def digest(*texts: str) -> str:
    """Return 32 hexadecimal digits for texts in an order."""
    return hashlib.sha256("\n".join(texts).encode()).hexdigest()[:32]


def digest_of_array(array: np.ndarray[Any, Any]) -> str:
    """Describe an array by its dtype, its shape and 32 hexadecimal digits for its numbers or texts."""
    content = repr(array.tolist()).encode() if array.dtype.hasobject else array.tobytes()
    return f"{array.dtype} {array.shape} {hashlib.sha256(content).hexdigest()[:32]}"


def functions_of(graph: Any) -> Iterable[Any]:
    """Return the functions that the nodes of a `GraphDef` may call."""
    found: Iterable[Any] = _FUNCTIONS(graph)
    return found


def nodes_of(graph: Any) -> Iterator[Any]:
    """Yield the nodes of a `GraphDef` and of the functions that they may call."""
    yield from graph.node
    for function in functions_of(graph):
        yield from function.node_def


class GraphHash:
    """The hashes of one graph.

    Args:
        graph: A `GraphDef`.
        read: What of it is read.
    """

    def __init__(self, graph: Any, read: Read) -> None:
        self._functions = _Functions(functions_of(graph))
        self._nodes = _Nodes(graph.node, read.given, read.turns, self._functions)
        self._read = read
        self._live = self._nodes.in_order([*map(_node_of, read.outputs), *read.effects])

    def computation(self) -> Computation:
        """Hash the whole and each part."""
        hashes = self._nodes.hashes(self._live)
        outputs = [_in_words(hashes, name) for name in self._read.outputs]
        effects = sorted(hashes[name] for name in self._read.effects)
        whole = digest("outputs", *outputs, "effects", *effects, "given", *self._read.given.values())
        return Computation(whole, self._hash_parts())

    def _hash_parts(self) -> dict[str, str]:
        local: dict[str, str] = {}
        by_part: dict[str, list[str]] = {}
        part_of = self._read.parts
        for name in self._live:
            if name in self._read.given:
                continue
            part = part_of.get(name, "")
            inputs = []
            for given in self._nodes.inputs(name):
                source = _node_of(given)
                if source in self._read.given:
                    inputs.append(self._read.given[source])
                elif part_of.get(source, "") == part:
                    inputs.append(_in_words(local, given))
                elif not given.startswith("^"):
                    inputs.append(f"from {part_of.get(source, '')}")
            local[name] = digest(self._nodes.content(name), *inputs)
            by_part.setdefault(part, []).append(local[name])
        return {part: digest(*sorted(hashes)) for part, hashes in by_part.items()}

    @property
    def has_own_gradients(self) -> bool:
        """Whether an operation has a gradient that the graph does not show, as `tf.custom_gradient` gives it."""
        return any(
            not node.attr[_OWN_GRADIENT].s.decode().startswith(_GRADIENTS_OF_CALLS)
            for node in self._all_nodes()
            if _OWN_GRADIENT in node.attr
        )

    @property
    def calls_python(self) -> bool:
        """Whether a `tf.py_function` or its like is in it: what that computes is not seen."""
        return any(node.op in CALLS_OF_PYTHON for node in self._all_nodes())

    @property
    def needs_graph(self) -> bool:
        """Whether its operations, called one by one from Python, may do something else, or take long.

        Those that draw by a state of their own begin anew with each graph, and go on in a process; a loop of a graph
        calls nothing from Python.
        """
        return any(node.op in CALLS_OF_PYTHON | DRAWS | _LOOPS for node in self._all_nodes())

    def _all_nodes(self) -> Iterator[Any]:
        yield from (self._nodes.by_name[name] for name in self._live)
        yield from self._functions.nodes()


class _Functions:
    """The functions in a graph's library, each hashed once."""

    def __init__(self, functions: Iterable[Any]) -> None:
        self._functions = {function.signature.name: function for function in functions}
        self._hashes: dict[str, str] = {}

    def nodes(self) -> Iterator[Any]:
        for function in self._functions.values():
            yield from function.node_def

    def hash(self, name: str) -> str:
        """Hash a function; a call of itself counts as that."""
        if name not in self._hashes:
            self._hashes[name] = "itself"
            self._hashes[name] = self._hash(self._functions[name]) if name in self._functions else f"unknown {name}"
        return self._hashes[name]

    def _hash(self, function: Any) -> str:
        signature = function.signature
        given = {arg.name: f"argument {place} {arg.type}" for place, arg in enumerate(signature.input_arg)}
        nodes = _Nodes(function.node_def, given, {}, self)
        outputs = [function.ret[arg.name] for arg in signature.output_arg]
        effects = list(function.control_ret.values())
        hashes = nodes.hashes(nodes.in_order([*map(_node_of, outputs), *effects]))
        return digest(*(_in_words(hashes, name) for name in outputs), *sorted(hashes[name] for name in effects))


class _Nodes:
    """The nodes of one graph or of one function."""

    def __init__(
        self, nodes: Iterable[Any], given: Mapping[str, str], turns: Mapping[str, str], functions: _Functions
    ) -> None:
        self.by_name = {node.name: node for node in nodes}
        self._given = given
        self._turns = turns
        self._functions = functions
        self._contents: dict[str, str] = {}

    def inputs(self, name: str) -> Sequence[str]:
        """Return what a node reads, as its graph writes it."""
        return () if name in self._given else self.by_name[name].input

    def in_order(self, roots: Iterable[str]) -> list[str]:
        """Return every node that the roots need, each after what it reads; no recursion, graphs are deep."""
        done: dict[str, None] = {}
        waiting = [(root, False) for root in roots]
        while waiting:
            name, is_ready = waiting.pop()
            if name in done:
                continue
            if is_ready:
                done[name] = None
                continue
            waiting.append((name, True))
            waiting.extend((source, False) for source in map(_node_of, self.inputs(name)) if source not in done)
        return list(done)

    def hashes(self, ordered: Iterable[str]) -> dict[str, str]:
        """Hash each node with all that it reads, which comes before it."""
        hashes: dict[str, str] = {}
        for name in ordered:
            if name in self._given:
                hashes[name] = self._given[name]
                continue
            inputs = self.inputs(name)
            data = [_in_words(hashes, given) for given in inputs if not given.startswith("^")]
            waits = sorted(hashes[given[1:]] for given in inputs if given.startswith("^"))
            hashes[name] = digest(self.content(name), *data, "after", *waits)
        return hashes

    def content(self, name: str) -> str:
        """Describe an operation by itself: its type, its attributes and its turn."""
        if name not in self._contents:
            node = self.by_name[name]
            attributes = (f"{key} {self._attribute(node.attr[key])}" for key in sorted(node.attr) if _counts(key))
            self._contents[name] = "\n".join((node.op, *attributes, self._turns.get(name, "")))
        return self._contents[name]

    def _attribute(self, value: Any) -> str:
        kind = value.WhichOneof("value")
        if kind == "func":
            return self._functions.hash(value.func.name)
        if kind == "list" and value.list.func:
            return " ".join(self._functions.hash(function.name) for function in value.list.func)
        return hashlib.sha256(value.SerializeToString(deterministic=True)).hexdigest()


def _counts(attribute: str) -> bool:
    return not attribute.startswith("_") and attribute not in _NOT_MATHEMATICS


def _node_of(name: str) -> str:
    """Return the node of `"node"`, `"node:0"`, `"node:output:0"` or `"^node"`."""
    return name.removeprefix("^").partition(":")[0]


def _in_words(hashes: Mapping[str, str], name: str) -> str:
    """Return the hash of a node, and which of its outputs it is."""
    return f"{hashes[_node_of(name)]} {name.partition(':')[2] or '0'}"
