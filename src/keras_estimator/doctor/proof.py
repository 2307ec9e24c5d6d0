"""Prove that fixes leave a model as it was: the same answers and the same train step, each in a fresh process."""

from __future__ import annotations

import dataclasses
import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

_TOLERANCE = 1e-5  # keras.ops and NumPy may round otherwise


@dataclasses.dataclass(frozen=True)
class Proof:
    """What came of a model before and after fixes.

    Attributes:
        differences: What it answers or learns otherwise after them; empty if nothing.
        compared: What was compared, in words.
        saved_before: What Keras's own save and load made of it: empty if nothing was lost; None if it did not run.
        saved_after: The same after the fixes.
        failure_before: Why it did not run in plain Keras, before.
        failure_after: The same after the fixes.
    """

    differences: tuple[str, ...]
    compared: tuple[str, ...]
    saved_before: str | None
    saved_after: str | None
    failure_before: str
    failure_after: str

    @property
    def holds(self) -> bool:
        """Whether the model is the same, or runs only now."""
        return not self.differences and not self.failure_after

    def __str__(self) -> str:
        lines = [f"differs: {one}" for one in self.differences]
        if self.compared and not self.differences:
            lines.append(f"the same before and after: {', '.join(self.compared)}")
        if self.failure_after:
            lines.append(f"it does not run after them: {self.failure_after}")
        elif self.failure_before:
            lines.append(f"it runs in plain Keras now; before: {self.failure_before}")
        if self.saved_after is not None and self.saved_after != self.saved_before:
            before = "it was not" if self.saved_before is None else self.saved_before or "as it was"
            lines.append(f"saved and loaded by Keras: now {self.saved_after or 'nothing is lost'}; before: {before}")
        elif self.saved_after is not None:
            lines.append(f"saved and loaded by Keras: {self.saved_after or 'nothing is lost'}, as before")
        return "\n".join(lines)


def prove(target: str, data: str | None, replaced: Mapping[str, str]) -> Proof:
    """Make the model of a target twice, from the files as they are and as they would be, and compare.

    Args:
        target: `module:factory` or `file.py:name`.
        data: What `--data` names; None if nothing.
        replaced: The texts after the fixes, by the paths of their files.
    """
    before, after = (_in_a_fresh_process(target, data, texts) for texts in ({}, dict(replaced)))
    compared, differences = [], []
    if before["trial"] and after["trial"]:
        for part, what in (("answers", "its answers"), ("logs", "its train step")):
            one, other = before["trial"][part], after["trial"][part]
            if one and other:
                compared.append(what)
            differences += [f"{what}, {said}" for said in _unequal(one, other)]
    return Proof(
        tuple(differences),
        tuple(compared),
        before["saved"],
        after["saved"],
        before["failure"],
        after["failure"],
    )


def _unequal(one: Mapping[str, Any], other: Mapping[str, Any]) -> list[str]:
    from keras_estimator.model.computation.trial import decoded  # noqa: PLC0415 - it starts TensorFlow

    said = []
    for name in sorted(one.keys() | other.keys()):
        if name not in one or name not in other:
            said.append(f"{name}: {'missing' if name not in other else 'new'}")
            continue
        here, there = decoded(one[name]), decoded(other[name])
        if here.shape != there.shape:
            said.append(f"{name}: shape {here.shape} and then {there.shape}")
        elif here.dtype.kind not in "fc" and not np.array_equal(here, there):
            said.append(f"{name}: other values")
        elif here.dtype.kind in "fc" and not np.allclose(here, there, _TOLERANCE, _TOLERANCE, equal_nan=True):
            said.append(f"{name}: {np.max(np.abs(here - there)):.3g} apart")
    return said


def _in_a_fresh_process(target: str, data: str | None, replaced: Mapping[str, str]) -> dict[str, Any]:
    environment = os.environ | {"TF_CPP_MIN_LOG_LEVEL": "3", "PYTHONDONTWRITEBYTECODE": "1"}
    with tempfile.TemporaryDirectory() as folder:
        asked, answered = Path(folder, "asked.json"), Path(folder, "answered.json")
        asked.write_text(json.dumps({"target": target, "data": data, "replaced": replaced}), encoding="utf-8")
        command = [sys.executable, "-m", "keras_estimator.doctor.trial_process", str(asked), str(answered)]
        done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
        if done.returncode != 0:
            last = [line for line in done.stderr.splitlines() if line.strip()][-1:]
            return {"trial": None, "failure": last[0] if last else f"exit {done.returncode}", "saved": None}
        found: dict[str, Any] = json.loads(answered.read_text(encoding="utf-8"))
        return found
