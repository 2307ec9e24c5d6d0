"""Trace a function into a graph, with what it does in the order in which it does it.

`tf.function` would do the same, and spend a fifth of the time on a function that can be called and on
control edges between its operations. Nothing is run here: what an operation reads, writes and waits for is
said beside it. TensorFlow's `automatic control dependencies` are the source of the rules.

The private part of TensorFlow that is touched is `Graph._add_control_dependencies`: with it, the branches
and loops inside the graph get their edges (tests/test_function_graph.py).
"""

from __future__ import annotations

import dataclasses
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import tensorflow as tf

# Operations that read what a handle stands for, and do not change it.
READS = frozenset(
    """
    ReadVariableOp ResourceGather ResourceGatherNd VariableShape VarIsInitializedOp
    LookupTableFindV2 LookupTableSizeV2 LookupTableExportV2
    """.split()
)
# What a call only reads, as TensorFlow found out when it traced what is called.
_READ_BY_CALL = "_read_only_resource_inputs"
# They draw random numbers by a state of their own, which no variable holds.
DRAWS = frozenset(
    """
    RandomUniform RandomUniformInt RandomStandardNormal ParameterizedTruncatedNormal TruncatedNormal
    RandomShuffle Multinomial RandomGamma RandomPoisson RandomPoissonV2
    """.split()
)
# These, too, have a state of their own, or wait for others: nothing happens if nobody reads their result.
_WITHOUT_EFFECT = DRAWS | frozenset(
    """
    RandomGammaGrad CollectiveGather CollectiveReduce CollectiveBcastSend CollectiveBcastSendV2 CollectiveBcastRecv
    CollectiveBcastRecvV2 NcclAllReduce Recv CollectiveInitializeCommunicator CollectiveAssignGroupV2
    CudnnRNN CudnnRNNBackprop CudnnRNNV2 CudnnRNNV3 CudnnRNNBackpropV2 CudnnRNNBackpropV3 RestoreV2 SaveV2
    """.split()
)


@dataclasses.dataclass(frozen=True)
class FunctionGraph:
    """A traced function.

    Attributes:
        graph: The `tf.Graph`, with the attribute `captures`.
        inputs: Its placeholders, one for each spec.
        results: What the function returned, as tensors of the graph.
        effects: The names of the operations that run for what they do.
        turns: When an operation's turn is, if that matters: how often was written before to what it touches.
    """

    graph: Any
    inputs: Sequence[Any]
    results: Any
    effects: Sequence[str]
    turns: Mapping[str, str]


def trace(function: Callable[..., Any], specs: tuple[Any, ...]) -> FunctionGraph:
    """Trace a function.

    Args:
        function: Of tensors; no variable is made in it.
        specs: One `tf.TensorSpec`, or a structure of them, for each argument.

    Raises:
        Exception: Whatever the function raises.
    """
    graph = tf.__internal__.FuncGraph("traced")
    graph._add_control_dependencies = True  # noqa: SLF001 - see the first lines of this file
    with graph.as_default():
        inputs = tf.nest.map_structure(lambda spec: tf.compat.v1.placeholder(spec.dtype, spec.shape), specs)
        results = tf.nest.map_structure(_as_tensor, function(*inputs), expand_composites=True)
        effects, turns = _effects_and_turns(graph.get_operations())
    return FunctionGraph(graph, tf.nest.flatten(inputs), results, effects, turns)


def _as_tensor(result: Any) -> Any:
    return None if result is None else tf.identity(result)  # also of a tensor that was made outside


def _effects_and_turns(operations: Sequence[Any]) -> tuple[list[str], dict[str, str]]:
    effects: list[str] = []
    turns: dict[str, str] = {}
    stateful: dict[str, bool] = {}  # by the type of operation: what it does stands in no result
    writes: Counter[int] = Counter()  # by the id of the handle's tensor; 0 for what touches none
    for operation in operations:
        touched = {id(tensor): tensor for tensor in operation.inputs if tensor.dtype == tf.resource}
        kind = operation.type
        if kind not in stateful:
            stateful[kind] = operation.op_def.is_stateful and kind not in _WITHOUT_EFFECT
        if touched or stateful[kind]:
            turns[operation.name] = " ".join(str(writes[key]) for key in touched or (0,))
        if stateful[kind] and kind not in READS:
            effects.append(operation.name)
            writes.update(_written(operation, touched) if touched else (0,))
    return effects, turns


def _written(operation: Any, touched: Mapping[int, Any]) -> list[int]:
    try:
        only_read = {id(operation.inputs[place]) for place in operation.get_attr(_READ_BY_CALL)}
    except ValueError:  # it is no call, or one that writes to all
        return list(touched)
    return [key for key in touched if key not in only_read]
