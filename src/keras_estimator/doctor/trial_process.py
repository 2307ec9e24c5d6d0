"""The process that tries a target out, with some of its files as they would be after the fixes."""

from __future__ import annotations

import importlib.machinery
import json
import sys
from pathlib import Path
from typing import Any

import keras

from keras_estimator.doctor.live import LiveModel
from keras_estimator.doctor.targets import first_batch, make_model, parse_target

_SEED = 1


def tried(asked: dict[str, Any]) -> dict[str, Any]:
    """Make the model of a target from a fixed seed, let it answer and take a step, and carry it as Keras does.

    Args:
        asked: `target` and `data` as on the command line, `replaced`: the texts of files by their paths.

    Returns:
        `trial` as JSON, or None; `failure`: why; `saved`: what came of Keras's own save and load, or None.
    """
    _replace({str(Path(path).resolve()): text for path, text in asked["replaced"].items()})
    keras.utils.set_random_seed(_SEED)
    made = make_model(parse_target(asked["target"]))
    failure = made.failures[0].line if made.failures else ""
    if made.model is None:
        return {"trial": None, "failure": failure, "saved": None}
    live = LiveModel(made.model, first_batch(asked["data"]) if asked["data"] else None)
    if live.trial is None:
        return {"trial": None, "failure": "; ".join(one.line for one in live.failures), "saved": None}
    outcome = live.routes.get("save")
    return {
        "trial": live.trial.to_json(),
        "failure": failure,
        "saved": None if outcome is None else "" if outcome.is_lossless else str(outcome),
    }


def _replace(texts: dict[str, str]) -> None:
    """Let Python read other texts than those on the disk, whatever it has compiled before."""
    read = importlib.machinery.SourceFileLoader.get_code

    def get_code(self: Any, fullname: str) -> Any:
        path = self.get_filename(fullname)
        text = texts.get(str(Path(path).resolve()))
        return read(self, fullname) if text is None else self.source_to_code(text.encode(), path)

    importlib.machinery.SourceFileLoader.get_code = get_code  # type: ignore[method-assign]  # in this process alone


if __name__ == "__main__":
    answer = tried(json.loads(Path(sys.argv[1]).read_text(encoding="utf-8")))
    Path(sys.argv[2]).write_text(json.dumps(answer), encoding="utf-8")
