"""The fresh process of `Blueprint.verify`: builds a model from bytes, tries it out, writes what it did."""

from __future__ import annotations

import json
import pickle
import sys
from pathlib import Path

from keras_estimator.model.carrying.pickled_graph import read_graph
from keras_estimator.model.computation.trial import try_out


def main(asked: str, answered: str) -> None:
    """Try a model out.

    Args:
        asked: The file with the bytes of the model and the inputs; `verification.py` has just written it into a
            folder that only this user can write to.
        answered: Where the trial is written to, as JSON.
    """
    data, inputs, in_graphs = pickle.loads(Path(asked).read_bytes())
    trial = try_out(read_graph(data), inputs, in_graphs=in_graphs)
    Path(answered).write_text(json.dumps(trial.to_json()), encoding="utf-8")


if __name__ == "__main__":
    main(*sys.argv[1:])
