"""What a served model is asked and what it answers: the names, shapes and kinds of its signatures.

Names of inputs: the keys of a dict; the names of `keras.Input`s; `inputs` for one without a name, and
`input_1`, `input_2` for several. Names of outputs: the keys of a dict; the names of the layers that end a
Functional or Sequential model; `output_1`, `output_2` for a subclassed one. A ragged or sparse tensor is
served as its parts: `x_values` and `x_row_splits`, or `x_indices`, `x_values` and `x_dense_shape`.
"""

from __future__ import annotations

import dataclasses
import keyword
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

import keras
import tensorflow as tf

from keras_estimator.engines.tensorflow.batches import Ports
from keras_estimator.errors import ExportError

DEFAULT = "serving_default"

# The tensor that TensorFlow Serving's Classify and Regress put their tf.Examples into.
EXAMPLES_OF_SERVING = "inputs"

_KINDS = {"PredictOutput": "predict", "ClassificationOutput": "classify", "RegressionOutput": "regress"}
_UNNAMED = re.compile(r"keras_tensor(_\d+)?")


class PredictOutput:
    """A signature that gives one output as `output`, for the Predict call of TensorFlow Serving."""


class ClassificationOutput:
    """A signature that gives one output as `scores`, or `classes` if they are strings, for Classify."""


class RegressionOutput:
    """A signature that gives one output as `outputs`, for the Regress call of TensorFlow Serving."""


@dataclasses.dataclass(frozen=True)
class Entry:
    """One way into the model: tensors by name, and how features are made of them.

    Attributes:
        specs: What is fed, by name.
        features: Makes the features of the parts of what is fed, in order.
        feature_spec: What the features look like.
        parsers: The operation that parses the tf.Examples fed under a name, if there is one.
    """

    specs: Mapping[str, Any]
    features: Callable[[Sequence[Any]], Any]
    feature_spec: Any
    parsers: Mapping[str, Any] = dataclasses.field(default_factory=dict)

    def parts(self) -> dict[str, Any]:
        """Return the dense tensors that are fed, by name."""
        return {part: spec for name, whole in self.specs.items() for part, spec in parts(name, whole).items()}

    @property
    def takes_examples(self) -> bool:
        """Whether one string tensor is all that is fed, as Classify and Regress do."""
        return [spec.dtype for spec in self.parts().values()] == [tf.string]


@dataclasses.dataclass(frozen=True)
class Answer:
    """Which outputs a signature gives.

    Attributes:
        output: The name of one output; None for all.
        kind: "predict", "classify" or "regress".
    """

    output: str | None = None
    kind: str = "predict"

    def pick(self, outputs: Mapping[str, Any]) -> dict[str, Any]:
        """Return the tensors of the signature by the names that TensorFlow Serving expects.

        Raises:
            ExportError: there is no such output, or it is not what this kind of signature gives.
        """
        if self.output is None:
            return dict(outputs)
        if self.output not in outputs:
            raise ExportError(
                "export_outputs names an output that the model does not have",
                found=self.output,
                expected=f"one of: {', '.join(outputs)}",
                fix=f'export_outputs={{"{next(iter(outputs))}": ...}}',
            )
        value = outputs[self.output]
        if self.kind == "predict":
            return {"output": value}
        if self.kind == "classify" and value.dtype == tf.string:
            return {"classes": value}
        if not value.dtype.is_floating:
            raise ExportError(
                f"the output `{self.output}` is nothing to {self.kind} by",
                found=f"a tensor of {value.dtype.name}",
                expected="floats" if self.kind == "regress" else "floats (scores) or strings (classes)",
                fix=f'export_outputs={{"{self.output}": "predict"}}',
            )
        return {"scores" if self.kind == "classify" else "outputs": value}


@dataclasses.dataclass(frozen=True)
class Signature:
    """One signature of the exported model.

    Attributes:
        entry: What it is fed.
        answer: What it gives.
        inputs: The specs of its inputs by the names they are served under.
        function: The traced function.
    """

    entry: Entry
    answer: Answer
    inputs: Mapping[str, Any]
    function: Any

    @property
    def method(self) -> str:
        """The call of TensorFlow Serving that it is for; Classify and Regress send tf.Examples only."""
        return f"tensorflow/serving/{self.answer.kind if self.entry.takes_examples else 'predict'}"


def answers(export_outputs: Mapping[str, Any] | None) -> dict[str, Answer]:
    """Return the answers by the name of their signature, the default one first.

    Args:
        export_outputs: Output name to one of the classes above, to TensorFlow's classes of these
            names, or to "predict", "classify" or "regress".

    Raises:
        ExportError: a value is none of these.
    """
    found = {DEFAULT: Answer()}
    for output, wanted in (export_outputs or {}).items():
        kind = wanted if isinstance(wanted, str) else _KINDS.get(getattr(wanted, "__name__", ""), "")
        if kind not in _KINDS.values():
            raise ExportError(
                f"export_outputs does not say what kind of signature `{output}` is",
                found=repr(wanted),
                expected="the class PredictOutput, ClassificationOutput or RegressionOutput",
                fix=f'export_outputs={{"{output}": "predict"}}, or "classify", or "regress"',
            )
        found[output] = Answer(output, kind)
    return found


def feature_spec(model: Any, spec: Any) -> Any:
    """Return the spec of the features for batches of any size.

    Args:
        model: The Keras model.
        spec: What the data looked like; None: take what the model declares.

    Raises:
        ExportError: nobody knows what the model takes.
    """
    inputs = Ports(model).inputs
    if spec is None:
        if inputs is None:
            raise ExportError(
                f"nothing says what `{model.name}` takes",
                found="a subclassed model that was never called",
                expected="a serving_input_receiver_fn, or one call of train, evaluate or predict before",
                fix="estimator.export_saved_model(base, serving_input_receiver_fn="
                "ke.build_raw_serving_input_receiver_fn({name: tf.TensorSpec([None, 10], tf.float32)}))",
                rule="KE502",
            )
        declared = model.inputs[0] if isinstance(model, keras.Sequential) else model.input
        spec = tf.nest.map_structure(_spec_of_input, declared)
    if isinstance(spec, Mapping) and inputs is not None and set(inputs) <= set(spec):
        spec = {name: spec[name] for name in inputs}  # the data may have more columns than the model takes
    return tf.nest.map_structure(_any_batch, spec)


def declared_batch(model: Any) -> int | None:
    """Return the fixed size of batch that the inputs of the model state, if they state one."""
    if Ports(model).inputs is None:
        return None
    sizes = {tensor.shape[0] for tensor in model.inputs}
    return sizes.pop() if len(sizes) == 1 else None


def with_batch(spec: Any, size: int) -> Any:
    """Return the spec for batches of just this size."""
    return tf.nest.map_structure(lambda leaf: _resized(leaf, size), spec)


def entry_of_features(model: Any, spec: Any) -> Entry:
    """Return the entry that takes the features themselves."""
    names = _names(spec, known=Ports(model).inputs, single="inputs", several="input")
    return Entry(
        dict(zip(names, tf.nest.flatten(spec), strict=True)),
        lambda tensors: tf.nest.pack_sequence_as(spec, list(tensors), expand_composites=True),
        spec,
    )


def named_outputs(model: Any, outputs: Any) -> dict[str, Any]:
    """Return the outputs of the model as dense tensors by name.

    Args:
        model: The Keras model.
        outputs: What it gave, in its own structure.
    """
    names = _names(outputs, known=Ports(model).outputs, single="output_1", several="output")
    named: dict[str, Any] = {}
    for name, whole in zip(names, tf.nest.flatten(outputs), strict=True):
        for part, tensor in parts(name, whole).items():
            named[_unique(part, named)] = tensor
    return named


def parts(name: str, whole: Any) -> dict[str, Any]:
    """Return the dense parts, by name, of a tensor or of its spec."""
    flat = tf.nest.flatten(whole, expand_composites=True)
    if isinstance(whole, tf.SparseTensor | tf.SparseTensorSpec):
        return dict(zip((f"{name}_indices", f"{name}_values", f"{name}_dense_shape"), flat, strict=True))
    if isinstance(whole, tf.RaggedTensor | tf.RaggedTensorSpec):
        splits = [f"{name}_row_splits" + (f"_{rank}" if rank > 1 else "") for rank in range(1, len(flat))]
        return dict(zip((f"{name}_values", *splits), flat, strict=True))
    return {name: whole if isinstance(whole, tf.TensorSpec) else tf.convert_to_tensor(whole)}


def servable(names: Iterable[str]) -> dict[str, str]:
    """Return, for each name of an input, the name that a signature can have for it.

    TensorFlow makes inputs arguments of a Python function, so a name has to be one of Python's.

    Raises:
        ExportError: two inputs would get one name.
    """
    found: dict[str, str] = {}
    for name in names:
        safe = re.sub(r"\W", "_", name, flags=re.ASCII)
        if not safe[:1].isalpha():
            safe = f"arg_{safe}"
        if keyword.iskeyword(safe) or safe == "self":
            safe = f"{safe}_"
        if safe in found.values():
            raise ExportError(
                "two inputs cannot be told apart once they are served",
                found=", ".join(other for other in (*found, name) if found.get(other, safe) == safe),
                expected="names that differ in more than signs: a signature has letters, digits and `_` only",
                fix="rename one of the inputs",
            )
        found[name] = safe
    return found


def _spec_of_input(tensor: Any) -> Any:
    shape, dtype = tensor.shape, tf.as_dtype(tensor.dtype)
    if tensor.sparse:
        return tf.SparseTensorSpec(shape, dtype)
    if getattr(tensor, "ragged", False):
        return tf.RaggedTensorSpec(shape, dtype, ragged_rank=1)
    return tf.TensorSpec(shape, dtype)


def _any_batch(spec: Any) -> Any:
    return _resized(spec, None)


def _resized(spec: Any, size: int | None) -> Any:
    if spec.shape.rank in (None, 0):
        return spec
    shape = [size, *spec.shape[1:]]
    if isinstance(spec, tf.SparseTensorSpec):
        return tf.SparseTensorSpec(shape, spec.dtype)
    if isinstance(spec, tf.RaggedTensorSpec):
        return tf.RaggedTensorSpec(shape, spec.dtype, spec.ragged_rank, spec.row_splits_dtype)
    return tf.TensorSpec(shape, spec.dtype)


def _names(structure: Any, *, known: list[str] | None, single: str, several: str) -> list[str]:
    """Name the leaves of `structure` in the order in which TensorFlow flattens it."""
    count = len(tf.nest.flatten(structure))
    defaults = tf.nest.flatten(_labels(structure, "", single, several))
    if isinstance(structure, Mapping) or known is None or len(known) != count:
        return [str(name) for name in defaults]
    return [default if _UNNAMED.fullmatch(name) else name for name, default in zip(known, defaults, strict=True)]


def _labels(structure: Any, name: str, single: str, several: str) -> Any:
    """Return `structure` with a name in the place of each leaf."""
    if isinstance(structure, Mapping):
        return {key: _labels(part, f"{name}_{key}" if name else str(key), single, several)
                for key, part in structure.items()}  # fmt: skip
    if isinstance(structure, list | tuple):
        labelled = enumerate(structure, start=1)
        return [_labels(part, f"{name or several}_{place}", single, several) for place, part in labelled]
    return name or single


def _unique(name: str, taken: Iterable[str]) -> str:
    candidate, number = name, 1
    while candidate in taken:
        number += 1
        candidate = f"{name}_{number}"
    return candidate
