"""RunConfig takes what the original took, and refuses what cannot work when it is made."""

from __future__ import annotations

import dataclasses
import json
import pickle
import warnings
from pathlib import Path
from typing import Any

import pytest

from keras_estimator import run_config
from keras_estimator.errors import ConfigError, EstimatorWarning
from keras_estimator.run_config import ModeKeys, RunConfig

# tensorflow_estimator 2.15, in this order; the two clocks had a default that stands for "every 600 s".
ARGUMENTS_OF_THE_ORIGINAL = {
    "model_dir": None,
    "tf_random_seed": None,
    "save_summary_steps": 100,
    "save_checkpoints_steps": None,
    "save_checkpoints_secs": 600,
    "session_config": None,
    "keep_checkpoint_max": 5,
    "keep_checkpoint_every_n_hours": 10000,
    "log_step_count_steps": 100,
    "train_distribute": None,
    "device_fn": None,
    "protocol": None,
    "eval_distribute": None,
    "experimental_distribute": None,
    "experimental_max_worker_delay_secs": None,
    "session_creation_timeout_secs": 7200,
    "checkpoint_save_graph_def": True,
}
WITHOUT_MEANING = {
    "session_config": object(),
    "device_fn": print,
    "protocol": "grpc",
    "experimental_max_worker_delay_secs": 5,
    "session_creation_timeout_secs": 60,
    "checkpoint_save_graph_def": False,
}


@pytest.fixture(autouse=True)
def nothing_said_and_no_cluster(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(run_config, "_said", set())
    monkeypatch.delenv("TF_CONFIG", raising=False)


def test_the_arguments_of_the_original_keep_their_order_and_defaults():
    config = RunConfig()
    names = [field.name for field in dataclasses.fields(RunConfig) if not field.kw_only]
    assert names == list(ARGUMENTS_OF_THE_ORIGINAL)
    assert {name: getattr(config, name) for name in names} == ARGUMENTS_OF_THE_ORIGINAL


def test_they_can_be_given_by_position_and_ours_only_by_name():
    config = RunConfig("runs/a", 7, 10, 20, None, None, 3, 24, 50, plan="graph")
    assert (config.model_dir, config.tf_random_seed, config.save_checkpoints_steps) == ("runs/a", 7, 20)
    assert (config.keep_checkpoint_max, config.log_step_count_steps, config.plan) == (3, 50, "graph")
    with pytest.raises(TypeError):
        RunConfig(*ARGUMENTS_OF_THE_ORIGINAL.values(), "graph")  # type: ignore[call-arg, misc]  # that is the test


def test_a_path_object_becomes_a_str(tmp_path: Path):
    assert RunConfig(tmp_path).model_dir == str(tmp_path)


@pytest.mark.parametrize(
    ("given", "steps", "secs"),
    [
        ({}, None, 600),
        ({"save_checkpoints_steps": 5}, 5, None),
        ({"save_checkpoints_secs": 1.5}, None, 1.5),
        ({"save_checkpoints_steps": None}, None, None),
        ({"save_checkpoints_secs": None}, None, None),
        ({"save_checkpoints_steps": None, "save_checkpoints_secs": None}, None, None),
    ],
)
def test_there_is_at_most_one_clock_for_checkpoints(given: dict[str, Any], steps: int | None, secs: float | None):
    config = RunConfig(**given)
    assert (config.save_checkpoints_steps, config.save_checkpoints_secs) == (steps, secs)


def test_two_clocks_are_refused_with_the_call_that_mends_it():
    with pytest.raises(ConfigError, match="two clocks") as caught:
        RunConfig(save_checkpoints_steps=100, save_checkpoints_secs=60)
    assert caught.value.found == "save_checkpoints_steps=100, save_checkpoints_secs=60"
    assert caught.value.fix == "pass save_checkpoints_secs=None to save every 100 steps"


@pytest.mark.parametrize(
    ("name", "value"),
    [
        *[("model_dir", value) for value in ("", 3, b"runs", "gs://bucket/run", Path)],
        *[("tf_random_seed", value) for value in (-1, 2**32, 1.5, "1", True)],
        *[("save_summary_steps", value) for value in (-1, 2.5, "100", True)],
        *[("save_checkpoints_steps", value) for value in (-1, 0.5, "all")],
        *[("save_checkpoints_secs", value) for value in (-0.1, float("nan"), float("inf"), "60", False)],
        *[("keep_checkpoint_max", value) for value in (-1, 2.0, "5")],
        *[("keep_checkpoint_every_n_hours", value) for value in (0, -1, "1")],
        *[("log_step_count_steps", value) for value in (0, -1, 1.0)],
        *[("plan", value) for value in ("fast", None, 1)],
        *[("data_position", value) for value in ("back", None)],
        *[("progress", value) for value in ("none", True, ["bar"])],
    ],
)
def test_a_value_that_cannot_be_used_is_refused_with_one_that_can(name: str, value: object):
    with pytest.raises(ConfigError) as caught:
        RunConfig(**{name: value})
    assert f"{name}={value!r}" == caught.value.found
    call = caught.value.fix
    assert isinstance(eval(call, {"RunConfig": RunConfig}), RunConfig)


@pytest.mark.parametrize("name", ["train_distribute", "eval_distribute", "experimental_distribute"])
def test_a_strategy_is_refused(name: str):
    with pytest.raises(ConfigError, match="distribution is not part of this version") as caught:
        RunConfig(**{name: object()})
    assert name in caught.value.fix


@pytest.mark.parametrize(("name", "value"), WITHOUT_MEANING.items())
def test_an_argument_without_meaning_says_so_once_with_the_callers_line(name: str, value: object):
    with pytest.warns(EstimatorWarning, match=rf"RunConfig\({name}=\.\.\.\) has no meaning today") as caught:
        config = RunConfig(**{name: value})
    assert [warning.filename for warning in caught] == [__file__]
    assert getattr(config, name) is value
    RunConfig(**{name: value})  # a second warning would be an error here
    config.replace(model_dir="elsewhere")


def test_replace_says_it_with_the_callers_line_too():
    with pytest.warns(EstimatorWarning, match="protocol") as caught:
        RunConfig().replace(protocol="grpc")
    assert caught[0].filename == __file__


def test_the_defaults_say_nothing():
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        RunConfig(**ARGUMENTS_OF_THE_ORIGINAL)


def test_replace_returns_a_changed_copy_and_leaves_the_first_alone():
    config = RunConfig(model_dir="a", save_checkpoints_steps=10)
    other = config.replace(model_dir="b", keep_checkpoint_max=1)
    assert (other.model_dir, other.keep_checkpoint_max, other.save_checkpoints_steps) == ("b", 1, 10)
    assert config.model_dir == "a"


def test_replacing_one_clock_switches_the_other_one_off():
    by_steps = RunConfig().replace(save_checkpoints_steps=5)
    assert (by_steps.save_checkpoints_steps, by_steps.save_checkpoints_secs) == (5, None)
    by_secs = by_steps.replace(save_checkpoints_secs=1)
    assert (by_secs.save_checkpoints_steps, by_secs.save_checkpoints_secs) == (None, 1)
    with pytest.raises(ConfigError, match="two clocks"):
        by_secs.replace(save_checkpoints_steps=5, save_checkpoints_secs=1)


def test_replacing_what_is_not_there_is_refused():
    with pytest.raises(ConfigError, match="no argument `learning_rate`"):
        RunConfig().replace(learning_rate=0.1)


def test_it_cannot_be_changed_in_place_and_crosses_processes():
    config = RunConfig(model_dir="a", progress="off")
    with pytest.raises(dataclasses.FrozenInstanceError):
        config.model_dir = "b"  # type: ignore[misc]  # that is the test
    assert pickle.loads(pickle.dumps(config)) == config


def test_there_is_one_worker_that_is_the_chief():
    config = RunConfig()
    assert (config.is_chief, config.task_type, config.task_id, config.master) == (True, "worker", 0, "")
    assert (config.num_worker_replicas, config.num_ps_replicas) == (1, 0)


@pytest.mark.parametrize(
    "tf_config", [{}, {"cluster": {}}, {"cluster": {"chief": ["localhost:1"]}, "task": {"type": "chief", "index": 0}}]
)
def test_a_cluster_of_one_task_is_no_cluster(monkeypatch: pytest.MonkeyPatch, tf_config: dict[str, Any]):
    monkeypatch.setenv("TF_CONFIG", json.dumps(tf_config))
    assert RunConfig().is_chief


def test_a_cluster_of_several_tasks_is_refused(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("TF_CONFIG", json.dumps({"cluster": {"chief": ["a:1"], "worker": ["b:1", "c:1"]}}))
    with pytest.raises(ConfigError) as caught:
        RunConfig()
    assert caught.value.found == "TF_CONFIG names a cluster of 3 tasks"


@pytest.mark.parametrize("text", ["{", "[]", "3", '{"cluster": 3}', '{"cluster": {"chief": 1}}', "[" * 100_000])
def test_an_unreadable_cluster_is_refused(monkeypatch: pytest.MonkeyPatch, text: str):
    monkeypatch.setenv("TF_CONFIG", text)
    with pytest.raises(ConfigError, match="TF_CONFIG cannot be read"):
        RunConfig()


def test_the_modes_equal_the_strings_of_the_original():
    assert (ModeKeys.TRAIN, ModeKeys.EVAL, ModeKeys.PREDICT) == ("train", "eval", "infer")
    assert f"{ModeKeys.PREDICT}" == "infer"
