"""What keeps XLA from running a step; found without compiling it, which may take minutes.

The private part of TensorFlow used here is its registry of kernels; tests/test_xla.py fails when it changes.
"""

from __future__ import annotations

import functools
from typing import Any

import tensorflow as tf
from tensorflow.python.framework import kernels

from keras_estimator.engines.tensorflow.xla_draws import DRAWS_OTHERWISE
from keras_estimator.model.computation.graph_hash import nodes_of

# They hold a graph together and are compiled with it, or leave no trace in it.
_STRUCTURE = frozenset("Placeholder PlaceholderWithDefault NoOp _Arg _Retval Assert".split())


def obstacle_in(graph: Any) -> str:
    """Name the operations of a traced step that are not for XLA; empty if there are none.

    Args:
        graph: A `FuncGraph`.
    """
    operations = dict.fromkeys(node.op for node in nodes_of(graph.as_graph_def()))
    unknown = [operation for operation in operations if not _has_kernel(operation)]
    draws = [operation for operation in operations if operation in DRAWS_OTHERWISE]
    if unknown:
        return f"XLA cannot compile {', '.join(unknown)}"
    return f"XLA draws other numbers by {', '.join(draws)}" if draws else ""


def obstacle_in_batches(spec: Any) -> str:
    """Say what of batches XLA cannot take, or would be compiled for again and again; empty if nothing.

    Args:
        spec: One batch, a nest of `tf.TypeSpec`.
    """
    for leaf in tf.nest.flatten(spec):
        if not isinstance(leaf, tf.TensorSpec):
            return f"XLA takes no {type(leaf).__name__.removesuffix('Spec')}"
        if leaf.dtype in (tf.string, tf.resource, tf.variant):
            return f"XLA takes no {leaf.dtype.name}"
    return ""


@functools.cache
def _has_kernel(operation: str) -> bool:
    _register()
    devices = {one.device_type for one in kernels.get_registered_kernels_for_op(operation).kernel}
    return not devices or "XLA_CPU_JIT" in devices or operation in _STRUCTURE  # a function that is called has none


@functools.cache
def _register() -> None:
    """TensorFlow registers the kernels of XLA when it compiles for the first time."""
    with tf.init_scope():
        tf.function(lambda number: number + 1, jit_compile=True, autograph=False)(tf.constant(0))
