"""The training state of one model: in the model itself, and in the checkpoints of its model_dir.

The live model holds the newest state as long as this is the one that last trained it; then nothing is
loaded again. When training fails in the middle of a stride, or somebody else has trained the model or
written to the model_dir, the newest checkpoint counts.
"""

from __future__ import annotations

import contextlib
import logging
import weakref
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from keras_estimator.arguments import existing
from keras_estimator.checkpoint_writer import CheckpointWriter
from keras_estimator.checkpoints import Checkpoint, Checkpoints, Restored
from keras_estimator.engines.engine import Engine
from keras_estimator.errors import CheckpointError, ConfigError, CorruptCheckpointError
from keras_estimator.hooks.hook import Hook, Run
from keras_estimator.hooks.hook_states import HookStates, take_arrays
from keras_estimator.reading import Reader, Reading, is_record
from keras_estimator.run_config import RunConfig, writes
from keras_estimator.training_lock import training_in
from keras_estimator.warm_start import WarmStart, WarmStartSettings

_LOG = logging.getLogger("keras_estimator")
# Whose training state a model holds: it may be converted more than once.
_HOLDERS: weakref.WeakKeyDictionary[Any, object] = weakref.WeakKeyDictionary()


class Resident:
    """What an Estimator knows about the training of its model so far.

    Args:
        engine: Runs the model.
        config: Says where checkpoints are written and how many are kept.
        warm_start_from: What the model begins with if there is no checkpoint.

    Attributes:
        writes: Whether this process writes to the model_dir: not so the workers of a cluster, whose chief does.
        step: Updates of the weights so far.
        reader: Opens data where the last call left them.
        data_record: Where that is.
        hook_states: What hooks remember.
    """

    def __init__(
        self, engine: Engine, config: RunConfig, warm_start_from: str | Path | WarmStartSettings | None = None
    ) -> None:
        self._engine = engine
        self._writer = CheckpointWriter(
            Checkpoints(str(config.model_dir), config.keep_checkpoint_max, config.keep_checkpoint_every_n_hours)
        )
        self._folder = Path(str(config.model_dir))
        self.writes = writes(config)
        self._is_alone = not config.cluster_spec
        self._warm_start = WarmStart(warm_start_from)
        self._token = object()
        self._run_under_way: Run | None = None
        self._held: Checkpoint | None = None
        self.step = 0
        self.reader = Reader(engine)
        self.data_record: dict[str, Any] = {}
        self.hook_states = HookStates()

    def alone(self) -> contextlib.AbstractContextManager[None]:
        """Let nobody else train in the model_dir (see training_lock.py), if this process writes to it."""
        return training_in(self._folder) if self.writes else contextlib.nullcontext()

    def bring_in(self, *, trains: bool = False) -> None:
        """Bring the newest state of the model_dir into the model, unless it is there.

        Args:
            trains: Whether the training goes on from it: newer checkpoints that are damaged are set aside.
        """
        if self._held is not None:
            return
        if self._run_under_way is not None:
            self._engine.synchronize()  # the hooks of all processes ask at the same moments
        if self._run_under_way is not None:
            self.step = self._run_under_way.step  # a hook asks: what is saved is older than the model
        newest = self._checkpoints.latest()
        if newest is not None and (_HOLDERS.get(self._engine.model) is not self._token or newest.step > self.step):
            restored = self._checkpoints.newest_readable(sets_aside=trains and self.writes)
            if restored is not None:
                self._restore(restored)
        self._warm_start.give(self._engine, goes_on_from=None if newest is None else newest.path)

    @property
    def _checkpoints(self) -> Checkpoints:
        return self._writer.checkpoints

    def read(self, checkpoint_path: str | Path | None) -> Restored | None:
        """Bring the newest state in, and read another checkpoint if one is asked for.

        Raises:
            NoCheckpointError: there is no such checkpoint.
        """
        self.bring_in()
        return None if checkpoint_path is None else self._read(existing(checkpoint_path))

    def latest(self) -> Checkpoint | None:
        """Return the newest checkpoint, or the one that is held; None if there is none."""
        return self._held or self._checkpoints.latest()

    @property
    def is_saved(self) -> bool:
        """Whether there is a checkpoint of the present step."""
        newest = self.latest()
        return newest is not None and newest.step == self.step

    def nothing_left(self, hooks: Sequence[Hook]) -> bool:
        """Say whether hooks, with what they remembered, have nothing to do at the present step."""
        known = [each for each in hooks if hasattr(each, "is_done")]  # what is no hook is refused when training begins
        self.hook_states.give(known)
        return all(hook.is_done(self.step) for hook in known)

    @contextlib.contextmanager
    def at(self, restored: Restored | None) -> Iterator[None]:
        """Let the model, which is built, have the state of a checkpoint for a while."""
        if restored is None:
            yield
            return
        before = self._engine.read_state()
        try:
            self._engine.write_state(restored.state, source=str(restored.path))
            self._engine.ready_to_use()
            yield
        finally:
            self._engine.write_state(before, source="the model in memory")
            self._engine.ready_to_use()

    @contextlib.contextmanager
    def held_at(self, checkpoint_path: str | Path) -> Iterator[int]:
        """Let a checkpoint count as the newest one for a while; yield its step.

        Raises:
            NoCheckpointError: there is no such checkpoint.
            CorruptCheckpointError: its bytes are not those that were written.
        """
        restored = self._read(existing(checkpoint_path))
        _HOLDERS.pop(self._engine.model, None)  # the newest checkpoint counts again afterwards
        self._engine.write_state(restored.state, source=str(restored.path))
        before, self.step = self.step, restored.step
        self._held = Checkpoint(restored.step, restored.path)
        try:
            self._engine.ready_to_use()
            yield restored.step
        finally:
            self._held, self.step = None, before

    @contextlib.contextmanager
    def training(self, run: Run, reading: Reading, hooks: Sequence[Hook]) -> Iterator[None]:
        """Let the model be trained, with what the hooks remembered, and note how far that went."""
        if self._held is not None:
            raise ConfigError(
                "training goes on from the newest checkpoint, and another one is in use",
                found=f"train within at_checkpoint({str(self._held.path)!r})",
                expected="evaluate, predict or export_saved_model there",
                fix="call train after the with block",
            )
        self.hook_states.give(hooks)
        self._run_under_way = run
        _HOLDERS[self._engine.model] = self._token
        try:
            with self._writer.finished():
                if self.writes and run.saved_step == run.step and not reading.goes_on:
                    self._note_beginning(reading)
                yield
                self._engine.synchronize()
                self.hook_states.take(hooks)
                if self.writes and run.is_over and run.saved_step != run.step:
                    self._note_end()
        except BaseException:
            del _HOLDERS[self._engine.model]  # it may hold half a stride, or NaN: the newest checkpoint counts again
            raise
        finally:
            self._run_under_way, self.step = None, run.step
            self.data_record = reading.record(finished=run.is_over)
            self._engine.ready_to_use()

    def save(self, run: Run, reading: Reading, hooks: Sequence[Hook], *, waits: bool) -> Path:
        """Write a checkpoint; to one of the model as it is, only what hooks remember now, unless those are arrays.

        Args:
            run: What the hooks see.
            reading: The data.
            hooks: Those of the run.
            waits: Whether to wait until it is on the disk; also done where a hook wants to look at it, and in a
                cluster, as the others may read what the chief has written.

        Raises:
            CheckpointError: the last one could not be written, or this one if it was waited for.
        """
        run.save_wanted = False
        checkpoints = self._checkpoints
        self._engine.synchronize()
        self.hook_states.take(hooks)
        remembered, arrays = self.hook_states.to_checkpoint()
        arrays = {path: array.copy() for path, array in arrays.items()}  # a hook may go on writing to its own
        record = {
            "plan": self._engine.plan,
            "asked_step": run.asked_step,
            "data": reading.record(finished=run.is_over),
            "metrics": {name: value for name, value in run.metrics.items() if np.isscalar(value)},
            "hooks": remembered,
        }
        if run.saved_step == run.step and not arrays:
            return checkpoints.amend(run.step, record) if self.writes else checkpoints.path_of(run.step)
        path = checkpoints.path_of(run.step)
        if self.writes:
            kept = [each.path for each in checkpoints.list() if each.step in self.hook_states.kept_steps]
            state = self._engine.read_state() | arrays

            def if_it_fails() -> None:
                run.save_wanted = True  # to save again is to hear of it, as soon as the stride under way has ended

            self._writer.begin(run.step, state, record, protected=kept, if_it_fails=if_it_fails)
            if waits or not self._is_alone or any(map(_reads_checkpoints, hooks)):
                self._writer.wait()
        run.saved_step = run.step
        if any(hook.sees_model and _has_after_save(hook) for hook in hooks):
            self._engine.refresh()
        for hook in hooks:
            hook.after_save(run, path)
        return path

    def _note_beginning(self, reading: Reading) -> None:
        """Say in the newest checkpoint, which the call before this one has written, what the call draws."""
        self._amend_newest(lambda record: {"data": {**record.get("data", {}), "draws": dict(reading.draws)}})

    def _note_end(self) -> None:
        """Say in the newest checkpoint that nothing comes after it: what came of it is not to be saved."""
        self._amend_newest(lambda record: {"is_last": True})

    def _amend_newest(self, change: Callable[[Mapping[str, Any]], Mapping[str, Any]]) -> None:
        newest = self._checkpoints.latest()
        if newest is None:
            return
        with contextlib.suppress(CorruptCheckpointError):
            record = self._checkpoints.read_record(newest)["run"]
            self._checkpoints.amend(newest.step, {**record, **change(record)})

    def restore_weights(self, step: int) -> None:
        """Give the model the weights that it had at the step of a checkpoint; all else stays.

        Raises:
            NoCheckpointError: there is no checkpoint of that step.
        """
        self._engine.write_weights(self._read(step).state)

    def _read(self, which: int | str | Path) -> Restored:
        restored = self._checkpoints.read(which)
        take_arrays(restored.state)
        return restored

    def _restore(self, restored: Restored) -> None:
        hooks, data = restored.run.get("hooks", {}), restored.run.get("data", {})
        if not (isinstance(hooks, dict) and is_record(data)):
            raise _no_record(restored.path)
        self.hook_states.from_checkpoint(hooks, restored.state)
        self._engine.write_state(restored.state, source=str(restored.path))
        _HOLDERS[self._engine.model] = self._token
        self.step = restored.step
        self.data_record = data
        self.reader.forget()
        _LOG.info("going on from step %d (%s)", restored.step, restored.path)


def _no_record(path: Path) -> CheckpointError:
    return CheckpointError(
        f"the checkpoint {path} is none of a training",
        found='"hooks" or "data" in "run" of its run.json are not what a training records',
        expected="a checkpoint that train has written",
        fix=f"remove it to go on from an older one: rm -r {path}",
    )


def _reads_checkpoints(hook: Hook) -> bool:
    return hook.reads_checkpoints and _has_after_save(hook)


def _has_after_save(hook: Hook) -> bool:
    return getattr(hook.after_save, "__func__", None) is not Hook.after_save  # of its class, or put on it
