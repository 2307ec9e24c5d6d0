"""A cluster tells each member its part, and a crash is worth another start only so often."""

from __future__ import annotations

import json
import signal

import pytest

from keras_estimator.cluster import read_task
from keras_estimator.errors import ConfigError
from keras_estimator.launcher import Cluster, Ending, Member, Restarts, signal_name


def test_each_member_reads_its_part_out_of_its_tf_config():
    cluster = Cluster(num_workers=3, num_ps=2, has_evaluator=True)
    addresses = [f"127.0.0.1:{port}" for port in range(1, 6)]
    tasks = [read_task({"TF_CONFIG": cluster.tf_config(member, addresses)}) for member in cluster.group]
    assert [Member(task.type, task.index) for task in tasks] == list(cluster.group)
    assert [f"{member}" for member in cluster.group] == ["chief", "worker 0", "worker 1", "ps 0", "ps 1"]
    assert [task.is_chief for task in tasks] == [True, False, False, False, False]
    assert [task.master for task in tasks] == [f"grpc://{address}" for address in addresses]
    assert {(task.num_worker_replicas, task.num_ps_replicas) for task in tasks} == {(3, 2)}


def test_an_evaluator_knows_the_cluster_and_is_not_in_it():
    text = Cluster(num_workers=1, has_evaluator=True).tf_config(Member("evaluator"), ["127.0.0.1:1"])
    assert json.loads(text) == {"cluster": {"chief": ["127.0.0.1:1"]}, "task": {"type": "evaluator", "index": 0}}
    assert read_task({"TF_CONFIG": text}).type == "evaluator"


@pytest.mark.parametrize(
    ("cluster", "text"),
    [
        (Cluster(1), "chief, no evaluator"),
        (Cluster(2, 1), "chief, 1 worker, 1 ps, no evaluator"),
        (Cluster(3, has_evaluator=True), "chief, 2 workers, evaluator"),
    ],
)
def test_it_says_who_takes_part(cluster: Cluster, text: str):
    assert str(cluster) == text


@pytest.mark.parametrize("numbers", [(0, 0), (-1, 0), (1, -1)])
def test_a_cluster_needs_somebody_who_trains(numbers: tuple[int, int]):
    with pytest.raises(ConfigError, match="there is no such cluster"):
        Cluster(*numbers)


CHIEF, WORKER = Member("chief"), Member("worker", 1)


@pytest.mark.parametrize(
    ("crashes", "last_line"),
    [
        ([(CHIEF, 1, 40.0)] * 4, "chief ended with status 1: no restart, as 3 of 3 restarts are used"),
        ([(CHIEF, -9, 1.0)] * 4, "chief was killed by SIGKILL: no restart, as 3 of 3 restarts are used"),
        ([(WORKER, 1, 1.0)] * 2, "worker 1 ended with status 1: no restart, as the same came before, both within 30 s"),
        ([(CHIEF, 1, 1.0), (WORKER, 1, 1.0), (CHIEF, 1, 1.0)], "chief ended with status 1: restart 3 of 3"),
        ([(CHIEF, 1, 1.0), (CHIEF, 1, 40.0), (CHIEF, 1, 1.0)], "chief ended with status 1: restart 3 of 3"),
        ([(CHIEF, 2, 40.0)], "chief ended with status 2: no restart, as the command line is wrong"),
        ([(CHIEF, 75, 1.0)] * 3, "chief ended with status 75 (it lost another process): restart 3 of 3"),
    ],
    ids=["used", "signals", "same-error", "other-process", "lived-between", "misuse", "lost"],
)
def test_a_restart_is_given_while_it_may_help(crashes: list[tuple[Member, int, float]], last_line: str):
    restarts = Restarts(3, soon_secs=30)
    verdicts = [restarts.verdict(Ending(*crash)) for crash in crashes]
    assert verdicts[-1][1].startswith(last_line)
    assert [goes_on for goes_on, _ in verdicts] == [True] * (len(crashes) - 1) + ["no restart" not in last_line]


def test_an_ending_counts_as_in_a_shell():
    assert [Ending(CHIEF, status, 1.0).exit_status for status in (0, 3, -signal.SIGTERM)] == [0, 3, 143]
    assert signal_name(signal.SIGTERM) == "SIGTERM"
    assert signal_name(250) == "signal 250"
