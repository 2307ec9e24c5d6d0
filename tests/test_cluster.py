"""TF_CONFIG is read as tf.estimator read it, and what cannot be used is refused with what can be."""

from __future__ import annotations

import json
import shlex
from typing import Any

import pytest

from keras_estimator.cluster import Task, launch_without_cluster, read_task
from keras_estimator.errors import ConfigError

# The clusters of the original's own tests, for both names of the chief.
JOBS = {"ps": ["host1:1", "host2:2"], "worker": ["host3:3", "host4:4", "host5:5"]}
FURTHER = {"worker": ["host3:3", "host4:4", "host5:5"], "other_type": ["host3:1", "host4:2"], "ps": ["a:3", "b:4"]}
ONE = {"chief": ["host0:0"]}
chiefs = pytest.mark.parametrize("chief", ["chief", "master"])


def a_task(type_: Any, index: Any) -> dict[str, Any]:
    return {"type": type_, "index": index}


def read(tf_config: object) -> Task:
    return read_task({"TF_CONFIG": tf_config if isinstance(tf_config, str) else json.dumps(tf_config)})


def refused(tf_config: object) -> ConfigError:
    """Return the error; whatever it is, it is short enough to read, and its fix is one."""
    with pytest.raises(ConfigError) as caught:
        read(tf_config)
    error = caught.value
    assert str(error).startswith(error.problem)
    assert error.expected
    assert len(error.found) <= 200
    assert "TF_CONFIG" in error.problem
    assert "TF_CONFIG" in error.found
    if error.fix != "unset TF_CONFIG":
        export, assignment = shlex.split(error.fix)
        name, _, value = assignment.partition("=")
        assert (export, name) == ("export", "TF_CONFIG")
        read(value)
    return error


@pytest.mark.parametrize("environment", [{}, {"TF_CONFIG": ""}, {"TF_CONFIG": " \n"}, {"TF_CONFIG": "{}"}])
def test_without_it_a_process_is_a_worker_by_itself(environment: dict[str, str]):
    task = read_task(environment)
    assert task == Task()
    assert (task.type, task.index, task.jobs, task.is_chief, task.global_id_in_cluster) == ("worker", 0, (), True, 0)
    assert (task.master, task.evaluation_master, task.num_worker_replicas, task.num_ps_replicas) == ("", "", 1, 0)
    assert (task.service, task.environment, task.model_dir) == (None, None, None)


@pytest.mark.parametrize("more", [{}, {"cluster": {}}, {"job": {"any": 1}, "rpc_layer": "grpc"}])
def test_a_task_without_a_cluster_is_worker_0(more: dict[str, Any]):
    assert read({"task": a_task("worker", 0), **more}) == Task()
    assert read({"task": {}, **more}) == Task()


@pytest.mark.parametrize(
    ("type_", "index"),
    [(name, 0) for name in ("chief", "master", "evaluator", "ps", "other", "", 3, None, ["worker"])]
    + [("worker", index) for index in (1, -1, 0.0, True, None, "1", "x", [0])],
)
def test_another_task_without_a_cluster_is_refused(type_: Any, index: Any):
    error = refused({"task": a_task(type_, index)})
    assert "without a cluster there is one task, worker 0" in error.problem
    assert error.found == f'TF_CONFIG has "task": {json.dumps(a_task(type_, index))}'


@chiefs
@pytest.mark.parametrize(
    ("type_", "index", "master", "global_id"),
    [
        (None, 0, "grpc://host0:0", 0),
        ("worker", 0, "grpc://host3:3", 1),
        ("worker", 1, "grpc://host4:4", 2),
        ("worker", 2, "grpc://host5:5", 3),
        ("ps", 0, "grpc://host1:1", 4),
        ("ps", 1, "grpc://host2:2", 5),
    ],
)
def test_a_task_has_its_place_in_the_cluster(chief: str, type_: str | None, index: int, master: str, global_id: int):
    type_ = type_ or chief
    task = read({"cluster": {**JOBS, chief: ["host0:0"]}, "task": a_task(type_, index)})
    assert (task.type, task.index, task.is_chief) == (type_, index, type_ == chief)
    assert {name: list(addresses) for name, addresses in task.jobs} == {**JOBS, chief: ["host0:0"]}
    assert (task.master, task.evaluation_master, task.global_id_in_cluster) == (master, "", global_id)
    assert (task.num_worker_replicas, task.num_ps_replicas) == (4, 2)


@chiefs
@pytest.mark.parametrize(
    ("type_", "index", "global_id"), [("other_type", 1, 2), ("worker", 0, 3), ("worker", 2, 5), ("ps", 1, 7)]
)
def test_other_types_are_numbered_by_name_between_the_chief_and_ps(chief: str, type_: str, index: int, global_id: int):
    task = read({"cluster": {**FURTHER, chief: ["host0:0"]}, "task": a_task(type_, index)})
    assert (task.global_id_in_cluster, task.num_worker_replicas, task.is_chief) == (global_id, 4, False)


@chiefs
def test_in_a_cluster_of_one_there_is_nobody_to_talk_to(chief: str):
    task = read({"cluster": {chief: ["host0:0"], "worker": []}, "task": a_task(chief, 0)})
    assert (task.is_chief, task.master, task.num_worker_replicas, task.num_ps_replicas) == (True, "", 1, 0)


@pytest.mark.parametrize("cluster", [{**JOBS, **ONE}, {**ONE, "evaluator": ["host9:9"]}])
def test_an_evaluator_is_outside_of_the_cluster(cluster: dict[str, Any]):
    task = read({"cluster": cluster, "task": a_task("evaluator", 12), "session_master": "m"})
    assert (task.type, task.index, task.jobs, task.is_chief) == ("evaluator", 12, (), False)
    assert (task.master, task.evaluation_master, task.global_id_in_cluster) == ("", "", None)
    assert (task.num_worker_replicas, task.num_ps_replicas) == (0, 0)


@chiefs
@pytest.mark.parametrize("jobs", [{}, {"ps": ["host1:1"]}])
def test_a_session_master_takes_the_place_of_the_address(chief: str, jobs: dict[str, Any]):
    cluster = {**jobs, chief: ["host0:0"]}
    assert read({"cluster": cluster, "task": a_task(chief, 0), "session_master": "mine"}).master == "mine"


def test_the_masters_without_a_cluster_and_of_an_evaluator():
    alone = read({"session_master": "mine", "eval_session_master": "grpc://123"})
    assert (alone.master, alone.evaluation_master) == ("mine", "grpc://123")
    both = {"cluster": ONE, "eval_session_master": "grpc://123"}
    assert read({**both, "task": a_task("evaluator", 0)}).evaluation_master == "grpc://123"
    assert read({**both, "task": a_task("chief", 0)}).evaluation_master == ""


@pytest.mark.parametrize("index", ["1", 1])
def test_an_index_may_be_written_as_a_string(index: Any):
    assert read({"cluster": {**JOBS, **ONE}, "task": a_task("worker", index)}).index == 1


def test_the_other_settings_are_kept_and_null_is_none():
    service = {"key1": [1, 2], "key2": {"a": 3, "b": 4}, "key3": 789}
    task = read({"service": service, "environment": "google", "model_dir": "runs/a"})
    assert (task.service, task.environment, task.model_dir) == (service, "google", "runs/a")
    keys = ("service", "environment", "model_dir", "session_master", "eval_session_master")
    assert read(dict.fromkeys(keys)) == Task()


def test_tasks_that_read_the_same_are_equal_and_can_be_keys():
    one, other = (
        read({"cluster": cluster, "task": a_task("chief", 0), "service": {"a": 1}})
        for cluster in ({**JOBS, **ONE}, {**ONE, **JOBS})
    )
    assert one == other
    assert len({one, other}) == 1


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        *[(text, "no JSON (") for text in ("{", "chief", "{'cluster': {}}", "{" * 300, "\udcff", "1" * 5000)],
        *[(text, "no JSON object") for text in ("[]", "3", "null", '"chief"', "true", "NaN")],
        ("[" * 100_000, "nested too deep"),
        ('{"service": ' + '{"a": ' * 400 + "1" + "}" * 401, "nested too deep"),
    ],
)
def test_what_is_no_json_object_is_refused(text: str, reason: str):
    error = refused(text)
    assert error.problem.startswith("the environment variable TF_CONFIG cannot be read")
    assert reason in error.problem
    assert error.fix == "unset TF_CONFIG"


@pytest.mark.parametrize(
    ("key", "value", "problem"),
    [
        *[("service", value, "must be an object") for value in (789, "a", [], False)],
        *[("environment", value, "must be a string") for value in (1, {}, ["google"])],
        *[("session_master", value, "must be a string") for value in (1, {}, False)],
        *[("eval_session_master", value, "must be a string") for value in (0, [])],
        *[("model_dir", value, "must be a string") for value in (1, ["runs"])],
        *[("model_dir", value, "must be a local folder") for value in ("", "gs://bucket/run", "hdfs://" + "a" * 900)],
        *[("task", value, "must be an object") for value in (None, [], "chief", 0)],
        *[("cluster", value, "must be an object") for value in (None, [], ["chief"], "host0:0", 3)],
    ],
)
def test_a_setting_of_another_kind_is_refused_and_shown(key: str, value: object, problem: str):
    error = refused({"environment": "cloud", key: value})
    assert f"`{key}` {problem}" in error.problem
    assert error.found.startswith(f'TF_CONFIG has "{key}": {json.dumps(value)}'[:150])


@pytest.mark.parametrize("value", [1, "host0:0", {"0": "host0:0"}, None, [1], [None], [["host0:0"]], [""]])
@pytest.mark.parametrize("type_", ["chief", "worker", "x" * 300])
def test_addresses_must_be_lists_of_strings(type_: str, value: object):
    error = refused({"cluster": {"chief": ["host0:0"], type_: value}, "task": a_task("chief", 0)})
    assert "must be a list of strings" in error.problem
    assert type_[:100] in error.found


@chiefs
@pytest.mark.parametrize("addresses", [[], ["host0:0", "host6:6"], ["host0:0"] * 90])
def test_a_cluster_with_another_number_of_chiefs_is_refused(chief: str, addresses: list[str]):
    error = refused({"cluster": {chief: addresses, "worker": ["host3:3"]}, "task": a_task("worker", 0)})
    assert f"a cluster has exactly one `{chief}`" in error.problem


@pytest.mark.parametrize(("index", "mended"), [(0, a_task("chief", 0)), (1, a_task("worker", 0))])
def test_a_cluster_without_a_chief_is_refused_and_its_first_worker_made_one(index: int, mended: dict[str, Any]):
    cluster = {"worker": ["host3:3", "host4:4"], "ps": ["host1:1"]}
    error = refused({"cluster": cluster, "task": a_task("worker", index), "environment": "cloud"})
    assert "a cluster has exactly one `chief`" in error.problem
    assert json.loads(shlex.split(error.fix)[1].partition("=")[2]) == {
        "cluster": {"chief": ["host3:3"], "worker": ["host4:4"], "ps": ["host1:1"]},
        "task": mended,
        "environment": "cloud",
    }


@pytest.mark.parametrize("type_", ["ps", "chief", "master"])
def test_a_chief_beside_a_master_is_refused(type_: str):
    cluster = {"master": ["host0:0"], "chief": ["host3:3", "host4:4"], "ps": ["host1:1", "host2:2"]}
    assert "not both" in refused({"cluster": cluster, "task": a_task(type_, 0)}).problem


def test_an_evaluator_beside_a_master_is_refused():
    error = refused({"cluster": {**JOBS, "master": ["host0:0"]}, "task": a_task("evaluator", 1)})
    assert "beside a `master` there is no `evaluator`" in error.problem


@chiefs
@pytest.mark.parametrize("task", [{}, {"index": 0}, a_task("", 0), a_task("other", 0), a_task(3, 0), a_task(["ps"], 0)])
def test_a_type_that_the_cluster_does_not_have_is_refused(chief: str, task: dict[str, Any]):
    error = refused({"cluster": {chief: ["host3:3"]}, "task": task})
    assert "one of the types of the cluster" in error.problem
    assert chief in error.expected
    assert error.found == f'TF_CONFIG has "task": {json.dumps(task)}'


@pytest.mark.parametrize("more", [{}, {"task": []}, {"task": None}])
def test_a_cluster_without_a_task_is_refused(more: dict[str, Any]):
    error = refused({"cluster": {"chief": ["host3:3"]}, **more})
    assert error.found == (
        'TF_CONFIG has no "task"' if not more else f'TF_CONFIG has "task": {json.dumps(more["task"])}'
    )


@chiefs
@pytest.mark.parametrize("task", [{}, *[{"index": index} for index in (1, -1, None, 0.5, True, "-1", "", [], 10**9)]])
def test_an_index_that_is_no_number_of_a_task_is_refused(chief: str, task: dict[str, Any]):
    error = refused({"cluster": {chief: ["host3:3"]}, "task": {"type": chief, **task}})
    assert f"the index of a `{chief}`" in error.problem
    assert error.expected.startswith('a whole "index" >= 0, < 1')


@pytest.mark.parametrize("index", [-1, None, 1.0])
def test_an_evaluator_needs_a_number_too(index: Any):
    assert "the index of a `evaluator`" in refused({"cluster": ONE, "task": a_task("evaluator", index)}).problem


def test_a_type_without_addresses_has_no_task():
    assert "the index of a `ps`" in refused({"cluster": {**ONE, "ps": []}, "task": a_task("ps", 0)}).problem


def test_a_cluster_too_long_to_paste_is_mended_by_an_example():
    error = refused({"cluster": {"worker": [f"host{number}:1" for number in range(99)]}, "task": a_task("worker", 0)})
    assert "localhost:2222" in error.fix


def test_the_folder_of_the_argument_and_of_tf_config_is_one():
    named, silent = read({"model_dir": "runs/a"}), Task()
    assert (silent.agreed_folder(None), silent.agreed_folder("runs/b")) == (None, "runs/b")
    assert (named.agreed_folder(None), named.agreed_folder("runs/a")) == ("runs/a", "runs/a")
    with pytest.raises(ConfigError, match="two folders") as caught:
        named.agreed_folder("runs/b")
    assert caught.value.found == 'TF_CONFIG has "model_dir": "runs/a"; RunConfig has model_dir=\'runs/b\''
    assert caught.value.fix == "RunConfig(model_dir='runs/a')"


SLURM = {"SLURM_JOB_ID": "1234", "SLURM_NTASKS": "8", "SLURM_JOB_NODELIST": "node[1-4]"}


@pytest.mark.parametrize(
    ("environment", "who", "is_one_of_several"),
    [
        ({**SLURM, "SLURM_PROCID": "3", "SLURM_STEP_NUM_TASKS": "8"}, "Slurm task 3 of 8 (job 1234)", True),
        ({**SLURM, "SLURM_PROCID": "3"}, "Slurm task 3 of 8 (job 1234)", True),
        ({**SLURM, "SLURM_PROCID": "0", "SLURM_STEP_NUM_TASKS": "8"}, "Slurm task 0 of 8 (job 1234)", True),
        ({**SLURM, "SLURM_PROCID": "0", "SLURM_STEP_NUM_TASKS": "1"}, "Slurm task 0 of 1 (job 1234)", False),
        # The script that sbatch starts: it runs once, however many tasks the job asked for.
        ({**SLURM, "SLURM_PROCID": "0"}, "Slurm task 0 (job 1234)", False),
        ({"SLURM_PROCID": "2", "SLURM_NTASKS": "many"}, "Slurm task 2 (job ?)", True),
        ({"JOB_COMPLETION_INDEX": "0"}, "pod 0 of a Kubernetes Job", False),
        ({"JOB_COMPLETION_INDEX": "5", "TF_CONFIG": " "}, "pod 5 of a Kubernetes Job", True),
    ],
)
def test_what_slurm_or_kubernetes_started_is_recognised(environment: dict[str, str], who: str, is_one_of_several: bool):
    launch = launch_without_cluster(environment)
    assert launch is not None
    assert launch.text.startswith(f"{who}: TF_CONFIG is not set, so this process trains by itself")
    assert "\n" not in launch.text
    assert launch.is_one_of_several == is_one_of_several
    assert ("a folder of its own" in launch.text) == is_one_of_several


@pytest.mark.parametrize(
    "environment",
    [
        {},
        SLURM,  # a terminal of salloc, say
        {"SLURM_PROCID": "x"},
        {"JOB_COMPLETION_INDEX": ""},
        {**SLURM, "SLURM_PROCID": "3", "TF_CONFIG": "{}"},
        {"JOB_COMPLETION_INDEX": "5", "TF_CONFIG": '{"cluster": {}}'},
    ],
)
def test_nothing_is_said_where_nothing_is_known_or_tf_config_is_set(environment: dict[str, str]):
    assert launch_without_cluster(environment) is None
