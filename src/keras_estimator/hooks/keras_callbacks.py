"""Let any keras.callbacks.Callback serve as a hook, called as `fit` calls it."""

from __future__ import annotations

import contextlib
import logging
import math
import warnings
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import keras

from keras_estimator.errors import EstimatorWarning
from keras_estimator.hooks.callback_memory import Memory, found_again, goes_on_with_file, is_record
from keras_estimator.hooks.hook import Cadence, Hook, Run
from keras_estimator.hooks.hook_states import not_taken_back

_LOG = logging.getLogger("keras_estimator")
_WRITERS = (
    keras.callbacks.ModelCheckpoint,
    keras.callbacks.TensorBoard,
    keras.callbacks.CSVLogger,
    keras.callbacks.RemoteMonitor,
)
_BATCH_MOMENTS = ("on_train_batch_begin", "on_train_batch_end", "on_batch_begin", "on_batch_end")


class KerasCallbacks(Hook):
    """Calls Keras callbacks; an epoch is one pass over the data, or what a call makes of one.

    Callbacks that ask for every batch (`on_train_batch_end` and the like) make the loop return to
    Python at every step; others cost nothing.

    What callbacks remember is part of the checkpoints: those of their attributes that have changed since their
    `on_train_begin`, as far as they are numbers, texts, arrays, tensors, lists, tuples and dicts of those, or things
    of Keras with variables (a metric, a copy of the model). The call that completes one that was cut short gives them
    back: EarlyStopping, ReduceLROnPlateau, ModelCheckpoint and the History go on, with the settings that they are
    given now. The log names what changed and cannot be carried; what a callback changes inside of an object of
    another kind, it has to keep itself. A new call begins afresh, as with `fit`.

    If a signal cuts the call short, callbacks are told no end, as with `fit`; it is yet to come. `on_epoch_begin` is
    called again for the pass under way. CSVLogger goes on with its file, without the rows of passes that are repeated.
    BackupAndRestore is not called: it would load its older weights over those of our checkpoints.

    Args:
        callbacks: Whatever `fit` takes: Keras callbacks, called in this order.

    Attributes:
        history: The `keras.callbacks.History` of the last call, as `fit` returns it.
    """

    follows_epochs = True

    def __init__(self, callbacks: Any) -> None:
        is_list = isinstance(callbacks, keras.callbacks.CallbackList)
        self._callbacks = _without_backups(keras.tree.flatten(callbacks.callbacks if is_list else callbacks))
        greedy = sorted({type(callback).__name__ for callback in self._callbacks if _wants_batches(callback)})
        if greedy:
            _LOG.info("%s: asks for every batch, so every step returns to Python", ", ".join(greedy))
        self.cadence = Cadence(every_steps=1) if greedy else Cadence()
        # The engine stops at the first such loss, so TerminateOnNaN need not look at every batch.
        self.watches_loss = any(isinstance(each, keras.callbacks.TerminateOnNaN) for each in self._callbacks)
        self.history: Any = None
        self._restored: dict[str, Any] = {}
        self._memories: list[Memory] = []
        self._is_in_epoch = False
        self._has_ended = False

    def begin(self, run: Run) -> None:
        run.model.stop_training = False
        self._run, self._memories, self._is_in_epoch, self._has_ended = run, [], False, False
        self._list = keras.callbacks.CallbackList(
            self._callbacks,
            add_history=True,
            model=run.model,
            verbose=0,
            epochs=_epochs(run),
            steps=run.batches_per_epoch,
        )
        self.history = run.model.history
        if self._restored and not run.goes_on:
            _LOG.info("Keras callbacks begin afresh: this call does not complete the one that was cut short")
        self._begin_callbacks(run, self._restored if run.goes_on else {})

    def before_epoch(self, run: Run) -> None:
        self._is_in_epoch, self._epoch = True, run.epoch
        self._list.on_epoch_begin(run.epoch)
        self._begin_batch(run)
        self._heed(run)

    def after_steps(self, run: Run) -> None:
        self._list.on_train_batch_end(run.batch - 1, dict(run.metrics))
        self._heed(run)
        if run.stop_reason is None and run.batch != run.batches_per_epoch and run.step != run.last_step:
            self._begin_batch(run)

    def after_epoch(self, run: Run) -> None:
        self._end_epoch(run)
        self._heed(run)

    def end(self, run: Run) -> None:
        if run.received_signal is not None and not run.is_over:
            return  # another call completes this one
        if self._is_in_epoch:  # the call ends in the middle of a pass
            self._end_epoch(run)
        self._list.on_train_end(dict(run.metrics))
        self._has_ended = True
        run.saved_step = None  # EarlyStopping may have put other weights back

    def close(self) -> None:
        for memory in self._memories:
            memory.leave(closes_files=not self._has_ended)

    def state(self) -> dict[str, Any]:
        if self._has_ended:
            return {}  # the next call is a new one
        if not self._memories:
            return self._restored  # a hook before this one saves at its begin
        return {
            "callbacks": [memory.record() for memory in self._memories],
            "epoch": self._epoch if self._is_in_epoch else None,
            "logs": {name: value for name, value in self._run.metrics.items() if type(value) in (int, float)},
            "stopped": bool(self._run.model.stop_training),
        }

    def restore(self, state: dict[str, Any]) -> None:
        records, logs, epoch = state.get("callbacks", []), state.get("logs", {}), state.get("epoch")
        are_numbers = all(type(value) in (int, float) for value in logs.values())
        if not (are_numbers and all(map(is_record, records)) and (epoch is None or type(epoch) is int)):
            raise not_taken_back("the hook of Keras callbacks", "a record that is none of callbacks")
        self._restored = state

    def _begin_callbacks(self, run: Run, before: Mapping[str, Any]) -> None:
        callbacks, records = self._list.callbacks, before.get("callbacks", [])
        found = found_again(callbacks, records)
        run.metrics = run.metrics or before.get("logs", {})
        first_epoch = run.epoch if before.get("epoch") is None else before["epoch"]
        with contextlib.ExitStack() as files:
            for place, number in found.items():
                files.enter_context(goes_on_with_file(callbacks[place], records[number], first_epoch))
            self._list.on_train_begin()
        self._memories = [Memory(callback, run.model) for callback in callbacks]
        for place, number in found.items():
            self._memories[place].put_back(records[number]["attributes"])
        if records and (found != {number: number for number in range(len(records))} or len(callbacks) > len(records)):
            run.saved_step = None  # the arrays in the checkpoint are not those of these callbacks
        if first_epoch < run.epoch:  # the checkpoint was written when the pass was over, and the callbacks not told
            self._epoch = first_epoch
            self._end_epoch(run)
        run.model.stop_training = bool(run.model.stop_training or before.get("stopped"))
        self._heed(run)

    def _begin_batch(self, run: Run) -> None:
        if self.cadence.every_steps is not None:
            self._list.on_train_batch_begin(run.batch)

    def _end_epoch(self, run: Run) -> None:
        self._is_in_epoch = False
        self._list.on_epoch_end(self._epoch, dict(run.metrics))
        run.saved_step = None  # ReduceLROnPlateau and its like change the model

    @staticmethod
    def _heed(run: Run) -> None:
        if run.model.stop_training:
            run.stop("a Keras callback asked for it")


def without_writers(callbacks: Sequence[Any]) -> list[Any]:
    """Return the callbacks that a worker of a cluster calls: Keras's own that write files are the chief's."""
    given = keras.tree.flatten(getattr(callbacks, "callbacks", callbacks))
    return [each for each in given if not isinstance(each, _WRITERS)]


def _without_backups(callbacks: Sequence[Any]) -> list[Any]:
    backups = [each for each in callbacks if isinstance(each, keras.callbacks.BackupAndRestore)]
    for each in backups:
        weights = str(Path(each.backup_dir, "latest.weights.h5"))
        text = (
            f"{type(each).__name__} is not called: the checkpoints in model_dir do what it does, and it would load the "
            f"older weights of {each.backup_dir} over theirs. Way out: leave it out; to begin with its weights, call "
            f"model.load_weights({weights!r}) before the first train"
        )
        warnings.warn(text, EstimatorWarning, stacklevel=3)
    return [each for each in callbacks if each not in backups]


def _epochs(run: Run) -> int | None:
    """Return what `fit` calls `epochs`: the passes there will be in all, if that is known."""
    if run.last_step is None or not run.batches_per_epoch:
        return None
    return run.epoch + math.ceil((run.batch + run.last_step - run.step) / run.batches_per_epoch)


def _wants_batches(callback: Any) -> bool:
    if type(callback) is keras.callbacks.TerminateOnNaN:
        return False
    if type(callback) is keras.callbacks.ModelCheckpoint and callback.save_freq == "epoch":
        return False
    # LambdaCallback and its like set what they want on the object, the others in their class.
    given = {name: getattr(callback, name) for name in _BATCH_MOMENTS}
    base = keras.callbacks.Callback
    return any(getattr(method, "__func__", None) is not getattr(base, name) for name, method in given.items())
