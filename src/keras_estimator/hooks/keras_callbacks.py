"""Let any keras.callbacks.Callback serve as a hook, called as `fit` calls it."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from typing import Any

import keras

from keras_estimator.hooks.hook import Cadence, Hook, Run

_LOG = logging.getLogger("keras_estimator")
_BATCH_MOMENTS = ("on_train_batch_begin", "on_train_batch_end", "on_batch_begin", "on_batch_end")


class KerasCallbacks(Hook):
    """Calls Keras callbacks; an epoch is one pass over the data, or the rest of the call.

    Callbacks that ask for every batch (`on_train_batch_end` and the like) make the loop return to Python
    at every step; others cost nothing.

    Args:
        callbacks: Keras callbacks, called in this order.

    Attributes:
        history: The `keras.callbacks.History` of the last call, as `fit` returns it.
    """

    follows_epochs = True

    def __init__(self, callbacks: Sequence[Any]) -> None:
        self._callbacks = list(callbacks)
        greedy = [callback for callback in self._callbacks if _wants_batches(callback)]
        self.cadence = Cadence(every_steps=1) if greedy else Cadence()
        self._has_batches = bool(greedy)
        self._is_in_epoch = False
        self.history: Any = None
        if greedy:
            names = ", ".join(sorted({type(callback).__name__ for callback in greedy}))
            _LOG.info("%s asks for every batch, so every step returns to Python", names)

    def begin(self, run: Run) -> None:
        run.model.stop_training = False
        self._list = keras.callbacks.CallbackList(
            self._callbacks, add_history=True, model=run.model, epochs=None, steps=run.batches_per_epoch, verbose=0
        )
        self.history = run.model.history
        self._list.on_train_begin()

    def before_epoch(self, run: Run) -> None:
        self._list.on_epoch_begin(run.epoch)
        self._is_in_epoch, self._epoch = True, run.epoch
        if self._has_batches:
            self._list.on_train_batch_begin(run.batch)
        self._heed(run)

    def after_steps(self, run: Run) -> None:
        self._list.on_train_batch_end(run.batch - 1, dict(run.metrics))
        if run.batch != run.batches_per_epoch and run.step != run.last_step:
            self._list.on_train_batch_begin(run.batch)
        self._heed(run)

    def after_epoch(self, run: Run) -> None:
        self._end_epoch(run)
        self._heed(run)

    def end(self, run: Run) -> None:
        if self._is_in_epoch:  # the call ends in the middle of a pass
            self._end_epoch(run)
        self._list.on_train_end(dict(run.metrics))
        run.saved_step = None  # EarlyStopping may have put other weights back

    def _end_epoch(self, run: Run) -> None:
        self._is_in_epoch = False
        self._list.on_epoch_end(self._epoch, dict(run.metrics))

    @staticmethod
    def _heed(run: Run) -> None:
        if run.model.stop_training:
            run.stop("a Keras callback asked for it")


def _wants_batches(callback: Any) -> bool:
    base = keras.callbacks.Callback
    if isinstance(callback, keras.callbacks.LambdaCallback):
        return any(name in vars(callback) for name in _BATCH_MOMENTS)
    return any(getattr(type(callback), name) is not getattr(base, name) for name in _BATCH_MOMENTS)
