"""RunConfig takes what the original took, and refuses what cannot work when it is made."""

from __future__ import annotations

import copy
import dataclasses
import json
import logging
import pickle
import warnings
from pathlib import Path
from typing import Any

import pytest

from keras_estimator import run_config
from keras_estimator.errors import ConfigError, EstimatorWarning
from keras_estimator.run_config import ModeKeys, RunConfig, check_trains, strategy_of

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
    "checkpoint_save_graph_def": False,
}


@pytest.fixture(autouse=True)
def nothing_said_and_no_cluster(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(run_config, "_said", set())
    for name in ("TF_CONFIG", "SLURM_PROCID", "JOB_COMPLETION_INDEX"):
        monkeypatch.delenv(name, raising=False)


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
@pytest.mark.parametrize("strategy", [object(), "mirrors"])
def test_a_strategy_that_is_not_there_is_refused(name: str, strategy: object):
    with pytest.raises(ConfigError, match="cannot distribute like this") as caught:
        RunConfig(**{name: strategy})
    assert name in caught.value.fix
    assert name in caught.value.found


@pytest.mark.parametrize("name", ["train_distribute", "eval_distribute"])
def test_strategies_are_taken_by_name_and_as_they_are(name: str):
    for kind in ("mirrored", "multi_worker_mirrored", "parameter_server", "central_storage", "one_device"):
        assert strategy_of(getattr(RunConfig(**{name: kind}), name)) == (kind, None)
    distribute = pytest.importorskip("tensorflow").distribute
    for kind, strategy in (
        ("mirrored", distribute.MirroredStrategy(["/cpu:0"])),
        ("one_device", distribute.OneDeviceStrategy("/cpu:0")),
        ("central_storage", distribute.experimental.CentralStorageStrategy(["/cpu:0"])),
    ):
        assert strategy_of(getattr(RunConfig(**{name: strategy}), name)) == (kind, strategy)


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


def set_tf_config(monkeypatch: pytest.MonkeyPatch, **tf_config: Any) -> None:
    monkeypatch.setenv("TF_CONFIG", json.dumps(tf_config))


CLUSTER = {"chief": ["a:1"], "ps": ["d:1"], "worker": ["b:1", "c:1"]}
ONE = {"chief": ["a:1"]}


def test_there_is_one_worker_that_is_the_chief():
    config = RunConfig()
    assert (config.is_chief, config.task_type, config.task_id, config.master) == (True, "worker", 0, "")
    assert (config.num_worker_replicas, config.num_ps_replicas) == (1, 0)
    assert (config.cluster_spec, config.global_id_in_cluster) == ({}, 0)
    assert (config.evaluation_master, config.service) == ("", None)
    check_trains(config)


def test_a_cluster_is_read_from_tf_config(monkeypatch: pytest.MonkeyPatch):
    set_tf_config(monkeypatch, cluster=CLUSTER, task={"type": "worker", "index": 1}, service={"a": [1]})
    config = RunConfig()
    assert config.cluster_spec == CLUSTER
    assert (config.is_chief, config.task_type, config.task_id, config.master) == (False, "worker", 1, "grpc://c:1")
    assert (config.num_worker_replicas, config.num_ps_replicas, config.global_id_in_cluster) == (3, 1, 2)
    assert (config.evaluation_master, config.service) == ("", {"a": [1]})


def test_an_evaluator_is_read_from_tf_config(monkeypatch: pytest.MonkeyPatch):
    set_tf_config(monkeypatch, cluster=CLUSTER, task={"type": "evaluator", "index": 0}, eval_session_master="m")
    config = RunConfig()
    assert (config.is_chief, config.task_type, config.task_id, config.master) == (False, "evaluator", 0, "")
    assert (config.num_worker_replicas, config.num_ps_replicas, config.global_id_in_cluster) == (0, 0, None)
    assert (config.cluster_spec, config.evaluation_master) == ({}, "m")


@pytest.mark.parametrize("later", [None, "{", '{"model_dir": "elsewhere"}'])
def test_what_was_read_stays_and_goes_into_copies(monkeypatch: pytest.MonkeyPatch, later: str | None):
    set_tf_config(monkeypatch, cluster=CLUSTER, task={"type": "worker", "index": 1}, model_dir="runs/a")
    config = RunConfig()
    if later is None:
        monkeypatch.delenv("TF_CONFIG")
    else:
        monkeypatch.setenv("TF_CONFIG", later)
    assert config.task_id == 1
    replaced = config.replace(model_dir="runs/b", tf_random_seed=1)
    assert (replaced.task_id, replaced.cluster_spec, replaced.model_dir) == (1, CLUSTER, "runs/b")
    for other in (config.replace(), dataclasses.replace(config), copy.deepcopy(config)):
        assert other == config
    assert pickle.loads(pickle.dumps(config)) == config


def test_what_is_handed_out_is_a_copy(monkeypatch: pytest.MonkeyPatch):
    set_tf_config(monkeypatch, cluster=CLUSTER, task={"type": "ps", "index": 0}, service={"a": [1]})
    config = RunConfig()
    config.cluster_spec["worker"].clear()
    assert config.service is not None
    config.service["a"].clear()
    assert (config.cluster_spec, config.service) == (CLUSTER, {"a": [1]})


def test_two_processes_have_two_configs_and_both_can_be_keys(monkeypatch: pytest.MonkeyPatch):
    alone = RunConfig()
    set_tf_config(monkeypatch, cluster=CLUSTER, task={"type": "chief", "index": 0})
    assert len({alone, RunConfig(), RunConfig()}) == 2


def test_what_it_is_in_the_cluster_cannot_be_replaced():
    for name in ("master", "task_type", "_task"):
        with pytest.raises(ConfigError, match=f"no argument `{name}`") as caught:
            RunConfig().replace(**{name: None})
        assert "_task" not in caught.value.expected


@pytest.mark.parametrize("given", [None, "runs/a", Path("runs/a"), "runs/a/"])
def test_the_folder_may_be_named_by_tf_config(monkeypatch: pytest.MonkeyPatch, given: Any):
    set_tf_config(monkeypatch, model_dir="runs/a")
    assert Path(str(RunConfig(given).model_dir)) == Path("runs/a")


def test_two_folders_are_refused(monkeypatch: pytest.MonkeyPatch):
    set_tf_config(monkeypatch, model_dir="runs/a")
    with pytest.raises(ConfigError, match="two folders for one run") as caught:
        RunConfig("runs/b")
    assert eval(caught.value.fix, {"RunConfig": RunConfig}).model_dir == "runs/a"


def test_what_cannot_be_read_is_refused_when_it_is_made(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("TF_CONFIG", "[]")
    with pytest.raises(ConfigError, match="TF_CONFIG cannot be read"):
        RunConfig()


@pytest.mark.parametrize(
    "cluster",
    [{}, ONE, {"master": ["a:1"]}, {**ONE, "worker": [], "ps": []}, {**ONE, "evaluator": ["e:1"]}],
)
def test_who_has_no_company_but_evaluators_trains(monkeypatch: pytest.MonkeyPatch, cluster: dict[str, Any]):
    kind = next(iter(cluster), "worker")
    set_tf_config(monkeypatch, cluster=cluster, task={"type": kind, "index": 0})
    check_trains(RunConfig())


@pytest.mark.parametrize("kind", ["chief", "worker"])
def test_a_chief_and_its_workers_train(monkeypatch: pytest.MonkeyPatch, kind: str):
    set_tf_config(monkeypatch, cluster={**ONE, "worker": ["b:1"]}, task={"type": kind, "index": 0})
    check_trains(RunConfig())
    assert run_config.task_of(RunConfig()).trainers == [("chief", 0), ("worker", 0)]


@pytest.mark.parametrize("kind", ["chief", "worker", "ps"])
@pytest.mark.parametrize("strategy", [None, "parameter_server"])
def test_parameter_servers_take_part(monkeypatch: pytest.MonkeyPatch, kind: str, strategy: str | None):
    set_tf_config(monkeypatch, cluster=CLUSTER, task={"type": kind, "index": 0})
    config = RunConfig(train_distribute=strategy)
    check_trains(config)
    assert run_config.writes(config) == (kind == "chief")


@pytest.mark.parametrize(
    ("cluster", "strategy"), [(CLUSTER, "multi_worker_mirrored"), (ONE, "parameter_server"), ({}, "parameter_server")]
)
def test_a_strategy_for_another_cluster_is_refused(
    monkeypatch: pytest.MonkeyPatch, cluster: dict[str, Any], strategy: str
):
    set_tf_config(monkeypatch, cluster=cluster, task={"type": "chief" if cluster else "worker", "index": 0})
    config = RunConfig(train_distribute=strategy)
    with pytest.raises(ConfigError, match="the strategy is not one for this cluster") as caught:
        check_trains(config)
    assert strategy in caught.value.found


def test_an_evaluator_does_not_train(monkeypatch: pytest.MonkeyPatch):
    set_tf_config(monkeypatch, cluster=ONE, task={"type": "evaluator", "index": 0})
    config = RunConfig()
    with pytest.raises(ConfigError, match="an evaluator does not train") as caught:
        check_trains(config)
    assert "train_and_evaluate(" in caught.value.fix


def test_one_of_several_processes_of_slurm_warns_once_with_the_callers_line(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("SLURM_PROCID", "3")
    monkeypatch.setenv("SLURM_STEP_NUM_TASKS", "8")
    with pytest.warns(EstimatorWarning, match="Slurm task 3 of 8") as caught:
        config = RunConfig()
    assert [warning.filename for warning in caught] == [__file__]
    RunConfig()  # a second warning would be an error here
    config.replace(model_dir="elsewhere")


def test_the_first_pod_of_a_job_is_noted_once(monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture):
    monkeypatch.setattr(logging.getLogger("keras_estimator"), "propagate", True)
    caplog.set_level(logging.INFO, "keras_estimator")
    monkeypatch.setenv("JOB_COMPLETION_INDEX", "0")
    RunConfig()
    RunConfig()
    assert [record.getMessage()[:25] for record in caplog.records] == ["pod 0 of a Kubernetes Job"]


def test_the_modes_equal_the_strings_of_the_original():
    assert (ModeKeys.TRAIN, ModeKeys.EVAL, ModeKeys.PREDICT) == ("train", "eval", "infer")
    assert f"{ModeKeys.PREDICT}" == "infer"
