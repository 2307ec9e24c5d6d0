"""What test_keras_layers.py runs in another process: put the models of a file together and let each live."""

from __future__ import annotations

import pickle
import sys
import traceback

import layers_of_keras

from keras_estimator import Blueprint


def failures(path: str) -> dict[str, str]:
    """Return what went wrong, by the name of the layer."""
    with open(path, "rb") as file:
        carried = pickle.load(file)
    wrong = {}
    for name, (data, expected) in carried.items():
        try:
            model = Blueprint.from_bytes(data).build()
            lived = layers_of_keras.bits(layers_of_keras.life(model, name))
        except Exception:  # noqa: BLE001 - whatever it is, the parent reports it
            wrong[name] = traceback.format_exc(limit=-3)
        else:
            wrong |= {} if lived == expected else {name: "other bits"}
    return wrong


if __name__ == "__main__":
    found = failures(sys.argv[1])
    for name, text in found.items():
        sys.stdout.write(f"WRONG {name} {text}\n")
    sys.exit(bool(found))
