"""A call gets the hooks that its configuration asks for."""

from __future__ import annotations

import keras
import pytest

import keras_estimator as ke
from keras_estimator.hooks.defaults import evaluation_hooks, training_hooks
from keras_estimator.hooks.keras_callbacks import KerasCallbacks
from keras_estimator.hooks.stopping import NanGuard


def kinds(hooks) -> list[type]:
    return [type(hook) for hook in hooks]


class Mine(ke.Hook):
    pass


class Listener:
    pass


def test_a_call_gets_what_its_configuration_asks_for_and_saves_last() -> None:
    config = ke.RunConfig("somewhere")
    found = kinds(training_hooks(config, [Mine()], [], [keras.callbacks.Callback()]))
    assert found == [
        KerasCallbacks, Mine, NanGuard, ke.MetricsLogger, ke.SummaryWriter, ke.ProgressBar, ke.CheckpointSaver
    ]  # fmt: skip


def test_what_is_switched_off_is_not_there() -> None:
    config = ke.RunConfig(
        "somewhere", save_summary_steps=0, log_step_count_steps=None, save_checkpoints_steps=None,
        save_checkpoints_secs=None,
    )  # fmt: skip
    assert kinds(training_hooks(config, [], [], [])) == [NanGuard, ke.ProgressBar]


def test_hooks_of_the_user_take_the_place_of_ours() -> None:
    saver, guard = ke.CheckpointSaver(every_steps=7), NanGuard(fail_on_nan_loss=False)
    listener = Listener()
    found = training_hooks(ke.RunConfig("somewhere"), [saver, guard], [listener], [])
    assert found.count(guard) == 1
    assert kinds(found).count(NanGuard) == 1
    assert found[-1] is saver
    assert saver.listeners == [listener]
    training_hooks(ke.RunConfig("somewhere"), [saver, guard], [listener], [])
    assert saver.listeners == [listener]


def test_listeners_without_anything_that_saves_are_refused() -> None:
    config = ke.RunConfig("somewhere", save_checkpoints_steps=None, save_checkpoints_secs=None)
    with pytest.raises(ke.ConfigError, match="nothing is saved"):
        training_hooks(config, [], [Listener()], [])


def test_what_is_no_hook_is_refused() -> None:
    for choose in (
        lambda hooks: training_hooks(ke.RunConfig("somewhere"), hooks, [], []),
        lambda hooks: evaluation_hooks(ke.RunConfig("somewhere"), hooks),
    ):
        with pytest.raises(ke.ConfigError, match="no hook"):
            choose([keras.callbacks.Callback()])
