"""Verify a blueprint: build the model in a fresh process, try it out there, and compare."""

from __future__ import annotations

import contextlib
import dataclasses
import json
import logging
import os
import pickle
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import keras
import numpy as np

from keras_estimator.console import show_log
from keras_estimator.errors import BlueprintError, EstimatorError
from keras_estimator.model import fresh_process
from keras_estimator.model.computation.fingerprint import Traced, take_fingerprints
from keras_estimator.model.computation.sample import batches_of, values_for
from keras_estimator.model.computation.trial import Trial, TrialInputs, arithmetic, try_out
from keras_estimator.model.computation.unchanged import unchanged
from keras_estimator.model.user_lines import located

_LOG = logging.getLogger("keras_estimator")
_CHECKS = ("state", "answers", "train step", "fingerprint")
_LISTED = 5  # of what one check found


@dataclasses.dataclass(frozen=True)
class Difference:
    """One thing that is not in a fresh process what it is here.

    Attributes:
        check: Which comparison found it: `"build"`, `"state"`, `"answers"`, `"train step"`, `"fingerprint"`.
        where: The variable, the output or the layer.
        here: What the model has, or does.
        there: What its copy has, or does.
    """

    check: str
    where: str
    here: str
    there: str

    def __str__(self) -> str:
        return f"{self.check}: {self.where}: here {self.here}, in a fresh process {self.there}"


@dataclasses.dataclass(frozen=True)
class Verification:
    """What was compared between a model and its copy in a fresh process.

    Attributes:
        differences: What differs; empty if nothing does.
        checked: What was compared, of `"state"`, `"answers"`, `"train step"`, `"fingerprint"`.
        not_checked: What could not be compared, and why.
    """

    differences: tuple[Difference, ...]
    checked: tuple[str, ...]
    not_checked: Mapping[str, str]

    @property
    def passed(self) -> bool:
        """Whether nothing that was compared differs."""
        return not self.differences

    def __str__(self) -> str:
        said: list[str] = []
        for check in ("build", *self.checked):
            found = [str(one) for one in self.differences if one.check == check]
            more = [f"{check}: and {len(found) - _LISTED} more"] if len(found) > _LISTED else []
            same = [f"{check}: the same in a fresh process"] if check in self.checked else []
            said += [*found[:_LISTED], *more] or same
        return "\n".join([*said, *(f"{check}: not compared, {why}" for check, why in self.not_checked.items())])


def verify(model: Any, data: bytes, batch: Any) -> Verification:
    """Compare a model with what another process makes of its bytes; the model is left as it was.

    Args:
        model: The model.
        data: The bytes of its blueprint.
        batch: A batch as `train_step` gets it; None: one is made up.

    Raises:
        BlueprintError: Nothing says what the model takes, or it does not run.
    """
    show_log()
    _LOG.info("comparing `%s` with its copy in a fresh process, which takes some seconds", model.name)
    traced = _traced(model, batch)
    inputs = inputs_for(model, batch, traced)
    return compared(trial_here(model, inputs, traced), data, inputs)


def compared(here: Trial, data: bytes, inputs: TrialInputs) -> Verification:
    """Compare a trial of a model with one of what a fresh process makes of its bytes.

    Args:
        here: What the model did.
        data: The bytes of its blueprint.
        inputs: What it was tried with.
    """
    there = _in_a_fresh_process(data, inputs, in_graphs=here.in_graphs)
    if isinstance(there, Difference):
        return Verification((there,), (), dict.fromkeys(_CHECKS, "the copy could not be tried out"))
    not_checked = dict(here.not_tried) | dict(there.not_tried)
    checked = tuple(check for check in _CHECKS if check not in not_checked)
    return Verification(tuple(differences(here, there)), checked, not_checked)


def _traced(model: Any, batch: Any) -> Traced | None:
    try:
        return take_fingerprints(model, batch)[0]
    except BlueprintError:
        return None  # the trial says so, and why


def inputs_for(model: Any, batch: Any, traced: Traced | None) -> TrialInputs:
    """Return what a model is tried with: rows of the user's batch, or what is made up for what was traced.

    Raises:
        BlueprintError: Nothing says what the model takes.
    """
    features = batches_of(model, batch)
    if not model.compiled:
        return TrialInputs(features, None, batch)
    if batch is not None:
        return TrialInputs(features, keras.tree.map_structure(np.asarray, batch), batch)
    return TrialInputs(features, None if traced is None else values_for(traced.data), None)


def trial_here(model: Any, inputs: TrialInputs, traced: Traced | None) -> Trial:
    """Try a model out in this process; it is left as it was.

    Args:
        model: The model.
        inputs: What it is tried with.
        traced: What its traces showed; None if it cannot be traced.

    Raises:
        BlueprintError: It does not run.
    """
    if traced is not None and not traced.needs_graph:
        with contextlib.suppress(Exception), unchanged(model, values=True):  # it may work as a graph alone
            return _arrived(try_out(model, inputs, traced.fingerprint, in_graphs=False))
    try:
        with unchanged(model, values=True):
            return _arrived(try_out(model, inputs, None if traced is None else traced.fingerprint))
    except EstimatorError:
        raise
    except Exception as error:
        raise BlueprintError(
            f"`{model.name}` cannot be tried out",
            found=located(error),
            expected="a model that answers a batch and takes a step",
            fix="ke.Blueprint.of(model, batch=(x, y)) with a few rows of its data; or mend the line above",
        ) from error


def _arrived(trial: Trial) -> Trial:
    return Trial.from_json(trial.to_json())  # so that both trials are made of the same types


def _in_a_fresh_process(data: bytes, inputs: TrialInputs, *, in_graphs: bool) -> Trial | Difference:
    environment = os.environ | {"PYTHONHASHSEED": "1", "TF_CPP_MIN_LOG_LEVEL": "3"} | arithmetic()
    with tempfile.TemporaryDirectory() as folder:
        asked, answered = Path(folder, "asked"), Path(folder, "answered.json")
        asked.write_bytes(pickle.dumps((data, inputs, in_graphs)))
        # -P: nothing can be imported from the folder that the user's sources may be in.
        command = [sys.executable, "-P", "-m", fresh_process.__name__, str(asked), str(answered)]
        done = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, check=False)
        if done.returncode != 0:
            lines = [line for line in done.stderr.splitlines() if line.strip()]
            return Difference("build", "the model", "it works", "\n".join(lines[-3:]) or f"exit {done.returncode}")
        return Trial.from_json(json.loads(answered.read_text(encoding="utf-8")))


def differences(here: Trial, there: Trial) -> Iterator[Difference]:
    """Yield what differs between two trials."""
    yield from _of_texts("state", here.state, there.state)
    yield from _of_arrays("answers", here.answers, there.answers)
    yield from _of_arrays("train step", here.logs, there.logs)
    yield from _of_texts("train step", here.trained, there.trained)
    if here.fingerprint is not None and there.fingerprint is not None:
        for line in here.fingerprint.differences(there.fingerprint):
            yield Difference("fingerprint", line, here.fingerprint.hash, there.fingerprint.hash)


def _of_texts(check: str, here: Mapping[str, str], there: Mapping[str, str]) -> Iterator[Difference]:
    for path in sorted(here.keys() | there.keys()):
        one, other = here.get(path, "missing"), there.get(path, "missing")
        if one != other:
            yield Difference(check, path, one, other)


def _of_arrays(check: str, here: Mapping[str, Any], there: Mapping[str, Any]) -> Iterator[Difference]:
    for name in sorted(here.keys() | there.keys()):
        one, other = here.get(name), there.get(name)
        if one is None or other is None:
            yield Difference(check, name, _shape(one), _shape(other))
        elif (one.dtype, one.shape, one.tobytes()) != (other.dtype, other.shape, other.tobytes()):
            yield Difference(check, name, _shape(one), f"{_shape(other)}{_distance(one, other)}")


def _shape(array: Any) -> str:
    return "missing" if array is None else f"{array.dtype} {array.shape}"


def _distance(one: Any, other: Any) -> str:
    if one.shape != other.shape or not one.size or "S" in one.dtype.kind + other.dtype.kind:
        return ""
    largest = np.max(np.abs(one.astype("float64") - other.astype("float64")))
    return f", the largest difference is {largest:.3g}"
