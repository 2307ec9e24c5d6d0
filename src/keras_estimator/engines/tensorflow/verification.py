"""Compare an export, loaded by a process that has none of the user's code, with the live model."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import tensorflow as tf

from keras_estimator.engines.tensorflow import serving_process
from keras_estimator.engines.tensorflow.signatures import Entry, Signature, parts
from keras_estimator.engines.tensorflow.state import ModelState, written_variables
from keras_estimator.errors import EstimatorWarning, ExportError
from keras_estimator.model.user_lines import in_one_line

_BATCHES = (3, 2)
_UNKNOWN_SIZE = 32  # of dimensions other than the batch: enough for a few poolings

Outputs = dict[str, Any]


@dataclasses.dataclass(frozen=True)
class Call:
    """One request: a signature by name, and its inputs by name."""

    name: str
    signature: Signature
    inputs: Mapping[str, Any]


class LiveModel:
    """Answers calls from the model in this process, by a trace of its own, on the CPU as the other process does.

    Args:
        model: The Keras model.
        predict: Features to named outputs.
        spec: What the features look like.
    """

    def __init__(self, model: Any, predict: Callable[[Any], Outputs], spec: Any) -> None:
        with tf.device("CPU:0"):
            self._function = tf.function(predict, autograph=False).get_concrete_function(spec)
        graph = self._function.graph
        self._state = ModelState(model)
        self._written = written_variables(graph, graph.variables)
        self.is_half_precise = any(
            tensor.dtype in (tf.float16, tf.bfloat16)
            for operation in graph.get_operations()
            for tensor in operation.outputs
        )

    def __call__(self, calls: Sequence[Call]) -> list[Outputs]:
        """Answer calls one after another from the present state, which is the same afterwards."""
        with self._state.kept(self._written):
            return [self._answer(call) for call in calls]

    def _answer(self, call: Call) -> Outputs:
        features = call.signature.entry.features(list(call.inputs.values()))
        return call.signature.answer.pick(self._function(features))


def verify(
    folder: Path, signatures: Mapping[str, Signature], live: LiveModel, *, sample: Any = None
) -> list[EstimatorWarning]:
    """Compare every signature on two batches of different size; return what could not be compared.

    Args:
        folder: The exported model.
        signatures: Its signatures by name.
        live: The model it was made from.
        sample: Rows of features, or of inputs by name. None, or where they do not fit: made up.

    Raises:
        ExportError: it cannot be loaded or run without the user's code, or gives other numbers.
    """
    calls: list[Call] = []
    doubts: list[EstimatorWarning] = []
    for name, signature in signatures.items():
        try:
            made = [Call(name, signature, inputs) for inputs in _inputs(signature, sample)]
            live(made)
            calls += made
        except (ValueError, TypeError, tf.errors.OpError) as error:
            text = (
                f"the signature `{name}` loads, but was not compared with predict: the model does not take the "
                f"inputs that were {'made up' if sample is None else 'given'} for it ({in_one_line(error)}). "
                "Call it once yourself: tf.saved_model.load(path).signatures"
                f"[{name!r}]; verify=False leaves the comparison out."
            )
            doubts.append(EstimatorWarning(text))
    served = serving_process.serve(folder, [(call.name, call.inputs) for call in calls])
    expected = live(calls)
    difference = _difference(calls, served, expected, live)
    if difference is None:
        return doubts
    if _difference(calls, live(calls), expected, live) is not None:
        text = (
            "the model predicts by chance (tf.random without a seed of its own), so the export was run and not "
            "compared with predict. keras.random with a SeedGenerator is repeated exactly."
        )
        return [*doubts, EstimatorWarning(text, rule="KE210")]
    raise ExportError(
        "the export serves other numbers than the model predicts",
        found=difference,
        expected=f"what predict gives in this process, to {_tolerance(live)}",
        fix="look for a Python value that changes between two traces (np.random, a counter, the time) and keep it "
        "in a keras.Variable; verify=False exports it all the same",
    )


def _inputs(signature: Signature, sample: Any) -> list[dict[str, Any]]:
    """Return the inputs of calls with different sizes of batch."""
    generator = np.random.default_rng(0)
    entry = signature.entry
    given = _given(entry, sample)
    found = []
    for size in _BATCHES:
        whole = {
            name: _rows(given[name], _size(spec, size))
            if name in given
            else _made_up(spec, _size(spec, size), generator, entry.parsers.get(name))
            for name, spec in entry.specs.items()
        }
        flat = [part for name, tensor in whole.items() for part in parts(name, tensor).values()]
        found.append(dict(zip(signature.inputs, flat, strict=True)))
    return found


def _size(spec: Any, size: int) -> int:
    """Return the size of the batch, unless the spec has one of its own."""
    return spec.shape[0] if spec.shape.rank and spec.shape[0] is not None else size


def _given(entry: Entry, sample: Any) -> dict[str, Any]:
    """Return those parts of the sample that fit what the entry is fed."""
    if isinstance(sample, Mapping):
        pairs = [(name, sample[name]) for name in entry.specs if name in sample]
    else:
        leaves = [] if sample is None else tf.nest.flatten(sample)
        pairs = list(zip(entry.specs, leaves, strict=True)) if len(leaves) == len(entry.specs) else []
    tensors = {name: tf.nest.map_structure(_tensor, value) for name, value in pairs}
    return {name: tensor for name, tensor in tensors.items() if tensor.dtype == entry.specs[name].dtype}


def _tensor(value: Any) -> Any:
    return value if isinstance(value, tf.SparseTensor | tf.RaggedTensor) else tf.convert_to_tensor(value)


def _rows(tensor: Any, size: int) -> Any:
    """Return `size` rows, starting again from the first when there are fewer."""
    if isinstance(tensor, tf.SparseTensor):
        few = tf.sparse.slice(tensor, [0] * tensor.shape.rank, [size, *tensor.shape[1:]])
        return tf.sparse.from_dense(_rows(tf.sparse.to_dense(few), size))
    rows = int(tensor.shape[0])
    return tf.gather(tensor, np.arange(size) % rows)


def _made_up(spec: Any, size: int, generator: np.random.Generator, parser: Any) -> Any:
    """Return a tensor that fits a spec."""
    shape = [size, _UNKNOWN_SIZE] if spec.shape.rank is None else [d or _UNKNOWN_SIZE for d in spec.shape]
    if spec.shape.rank:
        shape[0] = size
    if parser is not None:
        return tf.constant([_example(parser, generator) for _ in range(math.prod(shape))])
    dense = tf.constant(_values(spec.dtype, shape, generator), spec.dtype)
    if isinstance(spec, tf.SparseTensorSpec):
        return tf.sparse.from_dense(dense)
    if isinstance(spec, tf.RaggedTensorSpec):
        lengths = np.arange(size) % 3 + 1 if spec.ragged_rank == 1 else None
        ragged = tf.RaggedTensor.from_tensor(dense, lengths=lengths, ragged_rank=spec.ragged_rank)
        return ragged.with_row_splits_dtype(spec.row_splits_dtype)
    return dense


def _values(dtype: Any, shape: list[int], generator: np.random.Generator) -> Any:
    if dtype == tf.string:
        return np.full(shape, b"a", dtype=object)
    if dtype.is_floating or dtype.is_complex:
        return generator.normal(size=shape)
    return generator.integers(0, 2, size=shape).astype(dtype.as_numpy_dtype)


def _example(parser: Any, generator: np.random.Generator) -> bytes:
    """Return a serialized tf.Example with every feature that a ParseExampleV2 operation looks for."""
    sizes = [math.prod(max(d.size, 1) for d in shape.dim) for shape in parser.get_attr("dense_shapes")]
    _, _, sparse, dense, ragged, *_ = (tf.get_static_value(tensor) for tensor in parser.inputs)
    wanted = [
        *zip(dense, parser.get_attr("Tdense"), sizes, strict=True),
        *((key, dtype, 1) for key, dtype in zip(sparse, parser.get_attr("sparse_types"), strict=True)),
        *((key, dtype, 1) for key, dtype in zip(ragged, parser.get_attr("ragged_value_types"), strict=True)),
    ]
    features = {key.decode(): _feature(_values(dtype, [size], generator)) for key, dtype, size in wanted}
    serialized: bytes = tf.train.Example(features=tf.train.Features(feature=features)).SerializeToString()
    return serialized


def _feature(values: Any) -> Any:
    if values.dtype.kind == "O":
        return tf.train.Feature(bytes_list=tf.train.BytesList(value=values))
    if values.dtype.kind == "f":
        return tf.train.Feature(float_list=tf.train.FloatList(value=values))
    return tf.train.Feature(int64_list=tf.train.Int64List(value=values))


def _difference(calls: list[Call], found: list[Outputs], expected: list[Outputs], live: LiveModel) -> str | None:
    """Return the first difference in words."""
    for call, got, wanted in zip(calls, found, expected, strict=True):
        if sorted(got) != sorted(wanted):
            return f"`{call.name}` gives {', '.join(sorted(got))}; the model {', '.join(sorted(wanted))}"
        for name, tensor in wanted.items():
            text = _how_tensors_differ(got[name], tensor, live)
            if text is not None:
                return f"`{name}` of the signature `{call.name}`: {text}"
    return None


def _how_tensors_differ(found: Any, expected: Any, live: LiveModel) -> str | None:
    if found.dtype != expected.dtype or found.shape != expected.shape:
        return f"{found.dtype.name} {found.shape} for {expected.dtype.name} {expected.shape}"
    one, other = found.numpy(), expected.numpy()
    if not (found.dtype.is_floating or found.dtype.is_complex):
        return None if np.array_equal(one, other) else f"{one.ravel()[:4]} for {other.ravel()[:4]}"
    wide = np.complex128 if found.dtype.is_complex else np.float64
    one, other = np.asarray(one, wide), np.asarray(other, wide)
    relative, absolute = (1e-2, 1e-2) if live.is_half_precise else (1e-5, 1e-6)
    # Where large numbers cancel out, what is left is as uncertain as they were.
    scale = max(1.0, float(np.max(np.abs(other), initial=0.0, where=np.isfinite(other))))
    if np.allclose(one, other, rtol=relative, atol=absolute * scale, equal_nan=True):
        return None
    place = int(np.argmax(np.nan_to_num(np.abs(one - other), nan=np.inf)))
    return f"{one.ravel()[place]:.7g} for {other.ravel()[place]:.7g}"


def _tolerance(live: LiveModel) -> str:
    return "1e-2 (half precision)" if live.is_half_precise else "rtol=1e-5, atol=1e-6"
