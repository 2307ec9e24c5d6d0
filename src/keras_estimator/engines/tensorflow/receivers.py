"""How requests become features: tf.Examples, raw tensors, or the user's own receiver function.

A receiver function is written as for the original: it makes `tf.compat.v1.placeholder`s and returns
features computed from them. It is run once, in a graph of its own, when the model is exported.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping
from typing import Any

import tensorflow as tf

from keras_estimator.engines.tensorflow.signatures import Entry
from keras_estimator.errors import ConfigError, ExportError

_TENSORS = tf.Tensor | tf.SparseTensor | tf.RaggedTensor


@dataclasses.dataclass
class ServingInputReceiver:
    """What a receiver function returns: the tensors that are fed, and the features made of them.

    Args:
        features: A dict of name to tensor; a single tensor becomes `{"feature": tensor}`.
        receiver_tensors: A dict of name to tensor; a single tensor becomes `{"input": tensor}`. The
            names are those of the signature's inputs.
        receiver_tensors_alternatives: Other places to feed the same graph, each under a name: a dict
            of name to such tensors. Each gives a signature `name:serving_default`.

    Raises:
        ConfigError: a key is no string, or a value no tensor.
    """

    features: Any
    receiver_tensors: Any
    receiver_tensors_alternatives: Any = None

    def __post_init__(self) -> None:
        features = self.features if isinstance(self.features, Mapping) else {"feature": self.features}
        self.features = _checked("features", features)
        self.receiver_tensors = _checked("receiver_tensors", self.receiver_tensors)
        self.receiver_tensors_alternatives = _checked_alternatives(self.receiver_tensors_alternatives)


@dataclasses.dataclass
class TensorServingInputReceiver:
    """A `ServingInputReceiver` whose features are one tensor, which the model gets as it is.

    Raises:
        ConfigError: the features are no tensor, or as for `ServingInputReceiver`.
    """

    features: Any
    receiver_tensors: Any
    receiver_tensors_alternatives: Any = None

    def __post_init__(self) -> None:
        _checked("features", {"feature": self.features})
        self.receiver_tensors = _checked("receiver_tensors", self.receiver_tensors)
        self.receiver_tensors_alternatives = _checked_alternatives(self.receiver_tensors_alternatives)


def build_parsing_serving_input_receiver_fn(
    feature_spec: Mapping[str, Any], default_batch_size: int | None = None
) -> Callable[[], ServingInputReceiver]:
    """Return a receiver function that takes serialized tf.Examples, fed as `examples`.

    Args:
        feature_spec: Name to `tf.io.FixedLenFeature`, `VarLenFeature` and so on.
        default_batch_size: How many examples there are in each request; None: any number.

    Example:
        >>> import tensorflow as tf
        >>> receiver_fn = build_parsing_serving_input_receiver_fn({"x": tf.io.FixedLenFeature([3], tf.float32)})
    """

    def serving_input_receiver_fn() -> ServingInputReceiver:
        examples = tf.compat.v1.placeholder(tf.string, [default_batch_size], name="input_example_tensor")
        return ServingInputReceiver(tf.io.parse_example(examples, dict(feature_spec)), {"examples": examples})

    return serving_input_receiver_fn


def build_raw_serving_input_receiver_fn(
    features: Any, default_batch_size: int | None = None
) -> Callable[[], ServingInputReceiver | TensorServingInputReceiver]:
    """Return a receiver function that takes the features themselves, fed under their names.

    Args:
        features: Name to tensor, spec or example array; their shapes and dtypes are taken, the first
            dimension being the batch. A single one is fed as `input`.
        default_batch_size: How many rows there are in each request; None: any number.
    """

    def serving_input_receiver_fn() -> ServingInputReceiver | TensorServingInputReceiver:
        if not isinstance(features, Mapping):
            tensor = _placeholder("input", features, default_batch_size)
            return TensorServingInputReceiver(tensor, tensor)
        tensors = {name: _placeholder(name, value, default_batch_size) for name, value in features.items()}
        return ServingInputReceiver(tensors, dict(tensors))

    return serving_input_receiver_fn


def entries(receiver_fn: Callable[[], Any]) -> dict[str, Entry]:
    """Run a receiver function and return its ways in: the main one under "", alternatives by name.

    Raises:
        ExportError: it returns something else, or its features need a tensor that is not fed.
    """
    made: list[Any] = []

    def run() -> None:
        made.append(receiver_fn())

    graph_function = tf.compat.v1.wrap_function(run, [])
    receiver = made[0]
    if not hasattr(receiver, "features") or not hasattr(receiver, "receiver_tensors"):
        raise ExportError(
            "the receiver function does not return what it receives",
            found=type(receiver).__name__,
            expected="a ServingInputReceiver(features, receiver_tensors)",
            fix="return ke.ServingInputReceiver(features, {'examples': placeholder})",
        )
    groups = {"": receiver.receiver_tensors, **(getattr(receiver, "receiver_tensors_alternatives", None) or {})}
    return {name: _entry(graph_function, name, _by_name(group), receiver.features) for name, group in groups.items()}


def _entry(graph_function: Any, name: str, tensors: Mapping[str, Any], features: Any) -> Entry:
    fed = tf.nest.flatten(list(tensors.values()), expand_composites=True)
    try:
        pruned = graph_function.prune(fed, features)
    except Exception as error:  # TensorFlow's UnliftableError has no public name
        raise ExportError(
            "the features need a tensor that is not fed",
            found=str(error).splitlines()[0],
            expected=f"every placeholder among {f'the alternative `{name}`' if name else 'receiver_tensors'}: "
            + ", ".join(tensors),
            fix="return ke.ServingInputReceiver(features, {...}) with all placeholders",
        ) from error
    parsers = {
        key: operation
        for key, tensor in tensors.items()
        for operation in (tensor.consumers() if isinstance(tensor, tf.Tensor) else [])
        if operation.type == "ParseExampleV2"
    }
    specs = {key: tf.type_spec_from_value(tensor) for key, tensor in tensors.items()}
    feature_spec = tf.nest.map_structure(tf.type_spec_from_value, pruned.structured_outputs)
    return Entry(specs, lambda flat: pruned(*flat), feature_spec, parsers)


def _placeholder(name: str, example: Any, batch: int | None) -> Any:
    spec = example if isinstance(example, tf.TypeSpec) else tf.type_spec_from_value(_as_tensor(example))
    shape = [batch, *spec.shape[1:]] if spec.shape.rank else spec.shape
    if isinstance(spec, tf.SparseTensorSpec):
        return tf.compat.v1.sparse_placeholder(spec.dtype, shape, name=_node(name))
    if isinstance(spec, tf.RaggedTensorSpec):
        inner = spec.shape[spec.ragged_rank + 1 :]
        return tf.compat.v1.ragged.placeholder(spec.dtype, spec.ragged_rank, inner, name=_node(name))
    return tf.compat.v1.placeholder(spec.dtype, shape, name=_node(name))


def _as_tensor(value: Any) -> Any:
    return value if isinstance(value, _TENSORS) else tf.convert_to_tensor(value)


def _node(name: str) -> str:
    """Return a name that an operation may have; the signature keeps the name as it is."""
    return "input_" + "".join(sign if sign.isascii() and sign.isalnum() else "_" for sign in name)


def _checked_alternatives(alternatives: Any) -> Any:
    if alternatives is None:
        return None
    return {name: _checked(f"the alternative `{name}`", tensors) for name, tensors in alternatives.items()}


def _checked(what: str, given: Any) -> dict[Any, Any]:
    tensors = _by_name(given)
    for name, tensor in tensors.items():
        if not isinstance(name, str) or not isinstance(tensor, _TENSORS):
            raise ConfigError(
                f"{what}: not a dict of tensors by name",
                found=f"{name!r}: {type(tensor).__name__}",
                expected="string keys; values that are tensors (dense, sparse or ragged)",
                fix="tf.convert_to_tensor(value), or tf.compat.v1.placeholder(dtype, shape)",
            )
    return tensors


def _by_name(tensors: Any) -> dict[Any, Any]:
    return dict(tensors) if isinstance(tensors, Mapping) else {"input": tensors}
