"""Let any keras.callbacks.Callback serve as a hook, called as `fit` calls it."""

from __future__ import annotations

import logging
import math
from typing import Any

import keras

from keras_estimator.hooks.hook import Cadence, Hook, Run

_LOG = logging.getLogger("keras_estimator")
_BATCH_MOMENTS = ("on_train_batch_begin", "on_train_batch_end", "on_batch_begin", "on_batch_end")


class KerasCallbacks(Hook):
    """Calls Keras callbacks; an epoch is one pass over the data, or what a call makes of one.

    Callbacks that ask for every batch (`on_train_batch_end` and the like) make the loop return to
    Python at every step; others cost nothing. What a callback remembers by itself, such as the
    patience of EarlyStopping, is not part of a checkpoint, as it is not with `fit`.

    Args:
        callbacks: Whatever `fit` takes: Keras callbacks, called in this order.

    Attributes:
        history: The `keras.callbacks.History` of the last call, as `fit` returns it.
    """

    follows_epochs = True

    def __init__(self, callbacks: Any) -> None:
        is_list = isinstance(callbacks, keras.callbacks.CallbackList)
        self._callbacks = keras.tree.flatten(callbacks.callbacks if is_list else callbacks)
        greedy = sorted({type(callback).__name__ for callback in self._callbacks if _wants_batches(callback)})
        if greedy:
            _LOG.info("%s: asks for every batch, so every step returns to Python", ", ".join(greedy))
        self.cadence = Cadence(every_steps=1) if greedy else Cadence()
        # The engine stops at the first such loss, so TerminateOnNaN need not look at every batch.
        self.watches_loss = any(isinstance(each, keras.callbacks.TerminateOnNaN) for each in self._callbacks)
        self.history: Any = None

    def begin(self, run: Run) -> None:
        run.model.stop_training = False
        self._is_in_epoch = False
        self._list = keras.callbacks.CallbackList(
            self._callbacks,
            add_history=True,
            model=run.model,
            verbose=0,
            epochs=_epochs(run),
            steps=run.batches_per_epoch,
        )
        self.history = run.model.history
        self._list.on_train_begin()

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
        if self._is_in_epoch:  # the call ends in the middle of a pass
            self._end_epoch(run)
        self._list.on_train_end(dict(run.metrics))
        run.saved_step = None  # EarlyStopping may have put other weights back

    def _begin_batch(self, run: Run) -> None:
        if self.cadence.every_steps is not None:
            self._list.on_train_batch_begin(run.batch)

    def _end_epoch(self, run: Run) -> None:
        self._is_in_epoch = False
        self._list.on_epoch_end(self._epoch, dict(run.metrics))

    @staticmethod
    def _heed(run: Run) -> None:
        if run.model.stop_training:
            run.stop("a Keras callback asked for it")


def _epochs(run: Run) -> int | None:
    """Return what `fit` calls `epochs`: the passes there will be in all, if that is known."""
    if run.last_step is None or not run.batches_per_epoch:
        return None
    return run.epoch + math.ceil((run.batch + run.last_step - run.step) / run.batches_per_epoch)


def _wants_batches(callback: Any) -> bool:
    savers = (keras.callbacks.ModelCheckpoint, keras.callbacks.BackupAndRestore)
    if type(callback) is keras.callbacks.TerminateOnNaN:
        return False
    if type(callback) in savers and callback.save_freq == "epoch":
        return False
    # LambdaCallback and its like set what they want on the object, the others in their class.
    given = {name: getattr(callback, name) for name in _BATCH_MOMENTS}
    base = keras.callbacks.Callback
    return any(getattr(method, "__func__", None) is not getattr(base, name) for name, method in given.items())
