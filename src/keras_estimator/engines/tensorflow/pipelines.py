"""Know a tf.data pipeline again by a hash, the same in every process, and see whether it repeats itself.

TensorFlow's own `DatasetFingerprint` tells pipelines apart by their graphs and constants (file names, rows, batch
size) and leaves seeds out. It also sees by which number a Python function was registered, which differs each
time a pipeline is made, and it is slow for many rows in memory; such pipelines are hashed here. What a
Python function does, or a file holds, is in no hash.

The private parts of TensorFlow used here are `Dataset._inputs`, `Dataset._functions`, `TensorSliceDataset._tensors`,
and `_seed` and `_seed2` of datasets that draw; tests/test_pipelines.py fails when they change.
"""

from __future__ import annotations

import hashlib
import math
import zlib
from collections.abc import Iterator
from typing import Any

import tensorflow as tf

from keras_estimator.model.computation.function_graph import DRAWS
from keras_estimator.model.computation.graph_hash import CALLS_OF_PYTHON, nodes_of

_SEEDED = ("Shuffle", "Random", "Sampling")  # datasets with a seed, which differs each time one is drawn
_LARGE = 32 * 2**20  # bytes of rows


def pipeline_hash(dataset: tf.data.Dataset) -> str:
    """Return a hash that differs where two pipelines are seen to differ."""
    stages = list(_stages(dataset))
    held = [tensor for stage in stages for tensor in getattr(stage, "_tensors", ())]
    if sum(math.prod(tensor.shape.as_list()) * tensor.dtype.size for tensor in held) > _LARGE:
        return _digest(*(type(stage).__name__ for stage in stages), *map(_rows, held))
    variant = tf.data.experimental.to_variant(dataset)
    try:
        nodes = list(_nodes(variant))
        if not any(node.op in CALLS_OF_PYTHON for node in nodes):
            return format(int(tf.raw_ops.DatasetFingerprint(input_dataset=variant)), "x")
    except tf.errors.OpError:  # it reads something that has no graph, such as a service
        return _digest(*(type(stage).__name__ for stage in stages))
    seeds = {name for node in nodes if node.op.startswith(_SEEDED) for name in node.input}
    return _digest(*sorted(node.op if node.name in seeds else _content(node) for node in nodes))


def unrepeatable(dataset: tf.data.Dataset) -> list[str]:
    """Say what makes a pipeline give something else each time it is read in a new process.

    Returns:
        Such as `"shuffle without a seed"`; empty if nothing does that can be seen. What Python computes in it cannot.
    """
    found: dict[str, None] = {}
    for stage in _stages(dataset):
        if _is_zero(getattr(stage, "_seed", None)) and _is_zero(getattr(stage, "_seed2", None)):
            found[f"{type(stage).__name__.strip('_').removesuffix('Dataset').lower()} without a seed"] = None
        for function in stage._functions():  # noqa: SLF001 - there is no other way to what a map does
            for node in nodes_of(function.function.graph.as_graph_def()):
                if node.op in DRAWS and not node.attr["seed"].i and not node.attr["seed2"].i:
                    found[f"{node.op} without a seed in a function"] = None
    if dataset.options().deterministic is False:
        found["options.deterministic = False"] = None
    return list(found)


def _is_zero(seed: Any) -> bool:
    value = None if seed is None else tf.get_static_value(seed)
    return value is not None and int(value) == 0


def _stages(dataset: tf.data.Dataset) -> Iterator[tf.data.Dataset]:
    """Yield the datasets that make up a pipeline, the last one first."""
    waiting = [dataset]
    while waiting:
        stage = waiting.pop()
        yield stage
        waiting += stage._inputs()  # noqa: SLF001 - there is no other way to the rows


def _nodes(variant: tf.Tensor) -> Iterator[Any]:
    """Return the nodes of the pipeline's graph and of the functions that it calls."""
    ignore = 1  # external state, such as the seed of a shuffle: a hash needs none of it
    text = tf.raw_ops.DatasetToGraphV2(input_dataset=variant, external_state_policy=ignore)
    return nodes_of(tf.compat.v1.GraphDef.FromString(text.numpy()))


def _content(node: Any) -> str:
    """Describe one node without names, also without those of resources."""
    value = node.attr["value"].tensor
    if node.op != "Const" or value.dtype == tf.resource.as_datatype_enum:
        return str(node.op)
    return f"Const {hashlib.sha256(value.SerializeToString(deterministic=True)).hexdigest()}"


def _rows(tensor: tf.Tensor) -> str:
    rows = tensor.numpy()
    values = repr(rows.tolist()).encode() if rows.dtype == object else rows.tobytes()
    return f"{tensor.shape} {tensor.dtype} {zlib.crc32(values)}"


def _digest(*parts: str) -> str:
    return hashlib.sha256("\n".join(parts).encode()).hexdigest()[:16]
