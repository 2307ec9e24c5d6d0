"""Evaluations that another process makes: what an evaluator writes down, and how the training hears of it.

An evaluator never writes to a checkpoint. What it has measured, and what its exporters remember, is in one file
of its own, `evaluator.json` in the folder of the evaluation. The process that trains reads that file to tell its
hooks, and to keep the checkpoints that the exporters want to stay.
"""

from __future__ import annotations

import dataclasses
import json
import logging
import warnings
from pathlib import Path
from typing import Any

from keras_estimator.errors import CheckpointError, EstimatorWarning
from keras_estimator.hooks.hook import Cadence, Evaluation, Hook, Run
from keras_estimator.plain_files import read_plain_file
from keras_estimator.specs import EvalSpec
from keras_estimator.state_files import replace_file

_LOG = logging.getLogger("keras_estimator")
FILE = "evaluator.json"
_FORMAT = 1
_MAX_BYTES = 64 * 2**20
_LOOK_EVERY_SECS = 1.0


@dataclasses.dataclass
class Notes:
    """What an evaluator knows of one evaluation.

    Attributes:
        digests: Step of each checkpoint that was evaluated to the SHA-256 of its state.
        metrics: Step to what was measured: Python numbers by name.
        memory: What the hook that evaluates, and its exporters, remember.
        kept_steps: The steps whose checkpoints have to stay.
    """

    digests: dict[int, str] = dataclasses.field(default_factory=dict)
    metrics: dict[int, dict[str, float]] = dataclasses.field(default_factory=dict)
    memory: dict[str, Any] = dataclasses.field(default_factory=dict)
    kept_steps: list[int] = dataclasses.field(default_factory=list)

    def write(self, folder: Path) -> None:
        """Write them down; a kill leaves the old ones or the new ones.

        Raises:
            CheckpointError: the disk does not take it.
        """
        contents = {
            "format": _FORMAT,
            "evaluations": [
                {"step": step, "state": digest, "metrics": self.metrics[step]} for step, digest in self.digests.items()
            ],
            "memory": self.memory,
            "kept_steps": self.kept_steps,
        }
        try:
            folder.mkdir(parents=True, exist_ok=True)
            replace_file(folder / FILE, json.dumps(contents, indent=1).encode() + b"\n")
        except OSError as error:
            raise CheckpointError(
                f"{folder / FILE} cannot be written",
                found=f"{type(error).__name__}: {error}",
                expected=f"room on the disk, and the right to write in {folder}",
                fix=f"df -h {folder}; then start the evaluator again: it goes on from what it wrote last",
            ) from error

    @classmethod
    def read(cls, folder: Path) -> Notes:
        """Return what was written; nothing is known if there is no file.

        Raises:
            CheckpointError: the file is not one that an evaluator wrote.
        """
        try:
            return cls._of(json.loads(read_plain_file(folder / FILE, _MAX_BYTES)))
        except FileNotFoundError:
            return cls()
        except (OSError, ValueError, LookupError, TypeError, AttributeError, RecursionError, MemoryError) as error:
            raise CheckpointError(
                f"{folder / FILE} is not what an evaluator wrote",
                found=f"{type(error).__name__}: {error}",
                expected=f"JSON of format {_FORMAT}",
                fix=f"put it back from a backup, or evaluate anew: rm {folder / FILE}",
            ) from error

    @classmethod
    def _of(cls, contents: Any) -> Notes:
        if contents["format"] != _FORMAT:
            raise ValueError(f"format {str(contents['format'])[:40]!r}")
        memory: Any = contents["memory"]
        notes = cls(memory=memory, kept_steps=contents["kept_steps"])
        for each in contents["evaluations"]:
            notes.digests[each["step"]] = each["state"]
            notes.metrics[each["step"]] = each["metrics"]
        steps = [*notes.digests, *notes.kept_steps]
        are_texts = all(type(digest) is str for digest in notes.digests.values())
        are_kinds = isinstance(memory, dict) and isinstance(notes.kept_steps, list)
        if not (are_texts and are_kinds and all(type(step) is int for step in steps)):
            raise TypeError("a value of another type")
        if not all(isinstance(value, int | float) for found in notes.metrics.values() for value in found.values()):
            raise TypeError("a metric that is no number")
        return notes


class RemoteEvaluationHook(Hook):
    """Tells the hooks of a training what an evaluator in another process has measured.

    It also keeps the checkpoints that the evaluator's exporters want to stay, from when it hears of them.

    Args:
        spec: The evaluation.
        folder: Where its results are written.

    Attributes:
        metrics: What was measured of the newest model that was evaluated; None if none was.
        exported: The folders that the exporters gave then; None where they did not export.
    """

    reads_checkpoints = False
    sees_model = False
    cadence = Cadence(every_secs=_LOOK_EVERY_SECS)

    def __init__(self, spec: EvalSpec, folder: str) -> None:
        self._spec = spec
        self._folder = Path(folder)
        self._seen_at: int | None = None
        self._told_step = -1
        self._kept: set[int] = set()
        self.key = f"{type(self).__qualname__}:{spec.name or ''}"
        self.metrics: dict[str, Any] | None = None
        self.exported: list[str | None] = []

    def begin(self, run: Run) -> None:
        _LOG.info(
            "%s is evaluated by an evaluator: the same program with TF_CONFIG's task type `evaluator`. To evaluate in "
            "this process, give its EvalSpec a clock, such as every_steps=1000",
            self._spec.shown_name,
        )

    def after_steps(self, run: Run) -> None:
        self._look(run)

    def after_save(self, run: Run, checkpoint: Path) -> None:
        self._look(run)

    def end(self, run: Run) -> None:
        self._look(run)
        if self._seen_at is None:
            warnings.warn(
                f"no evaluator has evaluated {self._spec.shown_name} so far ({self._folder / FILE} is not there). "
                "Start one, with TF_CONFIG's task type `evaluator` and the same model_dir: it takes the checkpoints "
                "that are there.",
                EstimatorWarning,
                stacklevel=2,
            )

    def state(self) -> dict[str, Any]:
        return {"told_step": self._told_step} if self._told_step >= 0 else {}

    def restore(self, state: dict[str, Any]) -> None:
        self._told_step = int(state["told_step"])

    def kept_steps(self) -> set[int]:
        return self._kept

    def _look(self, run: Run) -> None:
        """Read the file if it was written again; tell what is new of models that this run has been at."""
        try:
            written_at = (self._folder / FILE).stat().st_mtime_ns
        except OSError:
            return
        if written_at == self._seen_at:
            return
        self._seen_at = written_at
        try:
            notes = Notes.read(self._folder)
        except CheckpointError as error:  # no reason to end a training
            warnings.warn(f"the training does not hear of evaluations: {error}", EstimatorWarning, stacklevel=2)
            return
        self._kept = set(notes.kept_steps)
        for step in sorted(notes.metrics):
            if self._told_step < step <= run.step:
                self._told_step, self.metrics = step, notes.metrics[step]
                run.tell(Evaluation(step, self._spec.name or "", notes.metrics[step]))
        last = notes.memory.get("last")
        exported = last.get("exported") if isinstance(last, dict) else None
        self.exported = exported if isinstance(exported, list) else []
