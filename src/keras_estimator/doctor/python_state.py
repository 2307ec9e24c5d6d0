"""Trace a live model some times, and see which numbers and lists of Python it changes each time."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from keras_estimator.doctor.live import LiveModel

_TRACES = 3  # the first may fill a cache


def changes_in_traces(live: LiveModel) -> dict[tuple[str, str], tuple[Any, Any]]:
    """Return the attributes of the user's layers that change in each trace: path and name, and before and after one.

    Args:
        live: The model, which is left as it was.
    """
    if not any(True for _ in live.layers_of_user) or live.features is None or not live.traced:
        return {}
    seen = []
    try:
        with live.unchanged():
            for _ in range(_TRACES):
                answer = live.tf.function(lambda x: live.model.predict_step((x,)), autograph=False)
                answer.get_concrete_function(live.features)
                seen.append(_numbers(live))
    except Exception:  # noqa: BLE001 - it cannot be traced, which others tell
        return {}
    first, second, third = seen
    return {
        key: (value, third.get(key))
        for key, value in second.items()
        if first.get(key) != value and third.get(key) != value
    }


def _numbers(live: LiveModel) -> dict[tuple[str, str], Any]:
    """Return the numbers, and the lengths of lists, that attributes of the user's layers hold."""
    of_keras = {name for one in (live.keras.Layer(), live.keras.Sequential()) for name in vars(one)}
    found: dict[tuple[str, str], Any] = {}
    for path, layer in live.layers_of_user:
        for name, value in vars(layer).items():
            if name not in of_keras and type(value) in (int, float):
                found[path, name] = value
            elif name not in of_keras and isinstance(value, list | dict | set):
                found[path, name] = f"{len(value)} items"
    return found
