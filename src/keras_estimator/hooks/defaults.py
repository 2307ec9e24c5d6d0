"""Which hooks a call gets: those of the user, and those that its RunConfig asks for."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from keras_estimator.errors import ConfigError
from keras_estimator.hooks.hook import Hook
from keras_estimator.hooks.keras_callbacks import KerasCallbacks, without_writers
from keras_estimator.hooks.progress import ProgressBar
from keras_estimator.hooks.reporting import MetricsLogger, SummaryWriter
from keras_estimator.hooks.saving import CheckpointSaver
from keras_estimator.hooks.stopping import NanGuard
from keras_estimator.run_config import RunConfig, writes


def training_hooks(
    config: RunConfig, hooks: Sequence[Hook], listeners: Sequence[Any], callbacks: Sequence[Any]
) -> list[Hook]:
    """Return the hooks of a call of `train`, in the order in which they are called.

    Args:
        config: Decides about logging, summaries, checkpoints and progress.
        hooks: The user's own; a `CheckpointSaver` or `NanGuard` among them takes the place of ours.
        listeners: Told about each checkpoint.
        callbacks: `keras.callbacks.Callback`s.

    Raises:
        ConfigError: one of `hooks` is no hook, or there are listeners and nothing saves.
    """
    _check(hooks)
    is_writer = writes(config)
    chosen: list[Hook] = [KerasCallbacks(callbacks if is_writer else without_writers(callbacks))] if callbacks else []
    chosen += hooks
    if not any(isinstance(hook, NanGuard) for hook in hooks):
        chosen.append(NanGuard())  # after those who may have stopped the run for that reason by then
    # All processes of a cluster have as many hooks, so that they can agree on which are due.
    if config.log_step_count_steps:
        chosen.append(MetricsLogger(config.log_step_count_steps) if is_writer else Hook())
    if config.save_summary_steps:
        folder = Path(str(config.model_dir)) / "train"
        chosen.append(SummaryWriter(folder, config.save_summary_steps) if is_writer else Hook())
    chosen.append(ProgressBar(config.progress) if is_writer else Hook())
    saver = next((hook for hook in hooks if isinstance(hook, CheckpointSaver)), None)
    listeners = listeners if is_writer else ()
    if saver is not None:
        saver.listeners.extend(listener for listener in listeners if listener not in saver.listeners)
        chosen.remove(saver)
    elif config.save_checkpoints_steps or config.save_checkpoints_secs:
        saver = CheckpointSaver(
            config.save_checkpoints_steps or None, config.save_checkpoints_secs or None, listeners=listeners
        )
    elif listeners:
        raise ConfigError(
            "there are saving listeners, but nothing is saved",
            found="save_checkpoints_steps=None, save_checkpoints_secs=None",
            expected="a cadence for checkpoints",
            fix="pass RunConfig(save_checkpoints_steps=1000), or drop saving_listeners=",
        )
    return chosen if saver is None else [*chosen, saver]  # what the others change is then saved


def evaluation_hooks(config: RunConfig, hooks: Sequence[Hook]) -> list[Hook]:
    """Return the hooks of a call of `evaluate`, in the order in which they are called.

    Raises:
        ConfigError: one of `hooks` is no hook.
    """
    del config
    _check(hooks)
    return list(hooks)


def _check(hooks: Sequence[Hook]) -> None:
    for hook in hooks:
        if not isinstance(hook, Hook):
            raise ConfigError(
                "this is no hook",
                found=f"{type(hook).__module__}.{type(hook).__qualname__}",
                expected="a keras_estimator.Hook; Keras callbacks go to callbacks=",
                fix="class MyHook(keras_estimator.Hook): def after_steps(self, run): ...",
            )
