"""Answer one batch with two graphs: one that knows how many rows it has, and one that does not."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from keras_estimator.doctor.live import LiveModel

_FAR = 1e-3  # of the largest number; two graphs may round otherwise


def difference_of_sizes(live: LiveModel) -> str:
    """Say how far the answers are from each other; empty if they are equal, or if they cannot be compared.

    A model that computes something else in each trace, or in each call, is not compared; nor is one of layers of Keras
    alone, which have no such sizes.

    Args:
        live: The model, which is left as it was.
    """
    has_code = any(True for _ in live.layers_of_user) or any(True for _ in live.layers_of("keras.layers.Lambda"))
    if not has_code or live.arrays is None or live.purity is None or live.purity.differing:
        return ""
    tensors = live.tf.nest.map_structure(live.tf.convert_to_tensor, live.arrays[0])
    known = live.tf.nest.map_structure(lambda one: live.tf.TensorSpec(one.shape, one.dtype), tensors)
    try:
        with live.unchanged():
            first, again = (_answers(live, live.features, tensors) for _ in range(2))
            other = _answers(live, known, tensors)
    except Exception:  # noqa: BLE001 - one of the two cannot be traced, which others tell
        return ""
    if _far(first, again):
        return ""
    far = _far(first, other)
    rows = live.tf.nest.flatten(tensors)[0].shape[0]
    return f"answers to {rows} rows, with their number known and not, differ by {far:.3g} of their size" if far else ""


def _answers(live: LiveModel, specs: Any, tensors: Any) -> list[Any]:
    answer = live.tf.function(lambda x: live.model.predict_step((x,)), autograph=False)
    return [one.numpy() for one in live.tf.nest.flatten(answer.get_concrete_function(specs)(tensors))]


def _far(one: list[Any], other: list[Any]) -> float:
    """Return the largest difference, by the largest number; zero if it is small."""
    pairs = [pair for pair in zip(one, other, strict=True) if pair[0].dtype.kind == "f"]
    if any(left.shape != right.shape for left, right in pairs):
        return 1.0
    found = [float(abs(one - two).max(initial=0.0)) / max(float(abs(one).max(initial=0.0)), 1e-6) for one, two in pairs]
    return max((each for each in found if each > _FAR), default=0.0)
