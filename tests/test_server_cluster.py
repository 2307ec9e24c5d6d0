"""The chief's view of a cluster: its names, who answers, how long it waits, and what of TensorFlow it uses."""

from __future__ import annotations

import contextlib
import inspect
import socket
import threading
import time
from typing import Any

import pytest
import tensorflow as tf
from tensorflow.python.distribute.coordinator import cluster_coordinator, remote_value
from tensorflow.python.eager import context as eager_context

import keras_estimator as ke
from keras_estimator.cluster import Task
from keras_estimator.engines.tensorflow import server_cluster
from keras_estimator.engines.tensorflow.server_cluster import Servers, check_joined, cluster_of, connect, reach

NOBODY = "127.0.0.1:1"


def task(**jobs: str) -> Task:
    given = {"chief": NOBODY, "worker": NOBODY, "ps": NOBODY, **jobs}
    return Task("chief", 0, tuple((name, (address,)) for name, address in given.items()))


def test_a_master_is_a_chief_and_others_are_left_out():
    jobs = (("master", ("a:1",)), ("other", ("o:1",)), ("ps", ("p:1", "p:2")), ("worker", ()))
    assert cluster_of(Task("master", 0, jobs)) == {"chief": ["a:1"], "ps": ["p:1", "p:2"]}


def test_who_listens_is_there():
    with socket.socket() as listening:
        listening.bind(("127.0.0.1", 0))
        listening.listen()
        address = f"127.0.0.1:{listening.getsockname()[1]}"
        assert reach(address) == "there"
    assert reach(address) == "refused"
    assert reach("no such host.invalid:1") == "silent"
    assert reach("no port") == "silent"


def test_who_does_not_come_is_named_in_time():
    began = time.monotonic()
    with pytest.raises(ke.WorkerLostError, match="the cluster is not whole") as caught:
        connect(task(), 0.3)
    assert "no answer from worker 0, ps 0" in caught.value.found
    assert time.monotonic() - began < 3


def test_a_process_that_has_not_joined_is_told_why():
    with pytest.raises(ke.ConfigError, match="before it could join the cluster") as caught:
        check_joined()
    assert "import keras_estimator" in caught.value.fix


@pytest.fixture
def servers(monkeypatch: pytest.MonkeyPatch) -> Any:
    """Some whose processes are not there; no coordinator is behind them."""
    monkeypatch.setattr(server_cluster, "_ALONE_SECS", 0.1)
    ours = Servers.__new__(Servers)
    ours._ps, ours._workers = {"ps 0": NOBODY}, {"worker 0": NOBODY}  # noqa: SLF001 - its parts, without TensorFlow's
    ours._looks, ours._alone_since = {"ps 0": 0, "worker 0": 0}, None  # noqa: SLF001 - the same
    return ours


def test_a_parameter_server_that_is_silent_three_times_is_lost(servers: Any):
    servers._look()  # noqa: SLF001 - what is tested
    servers._look()  # noqa: SLF001 - the same
    with pytest.raises(ke.WorkerLostError) as caught:
        servers._look()  # noqa: SLF001 - the same
    assert caught.value.found == "ps 0"


def test_without_any_worker_the_run_ends(servers: Any, caplog: pytest.LogCaptureFixture):
    servers._ps = {}  # noqa: SLF001 - of this test
    for _ in range(3):
        servers._look()  # noqa: SLF001 - what is tested
    assert "worker 0 does not answer" in caplog.text
    time.sleep(0.2)
    with pytest.raises(ke.WorkerLostError) as caught:
        servers._look()  # noqa: SLF001 - what is tested
    assert caught.value.found == "worker 0"


class Waiting:
    """The value of a call that is never done."""

    def __init__(self) -> None:
        self._status_available_event = threading.Event()


def test_a_process_that_is_there_and_does_nothing_is_not_waited_for_for_ever(
    servers: Any, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(server_cluster, "_LOOK_EVERY_SECS", 0.02)
    monkeypatch.setattr(server_cluster, "_LONGEST_CALL_SECS", 0.1)
    with socket.socket() as listening:  # as of one that was stopped: its machine takes connections on
        listening.bind(("127.0.0.1", 0))
        listening.listen()
        address = f"127.0.0.1:{listening.getsockname()[1]}"
        servers._ps, servers._workers = {"ps 0": address}, {"worker 0": address}  # noqa: SLF001 - of this test
        with pytest.raises(ke.WorkerLostError) as caught:
            servers._result(Waiting())  # noqa: SLF001 - what is tested
    assert caught.value.found == "one of worker 0, ps 0: no answer for 0.1 s"


@pytest.mark.parametrize(
    ("error", "lost"),
    [
        (tf.errors.UnavailableError(None, None, "from /job:ps/replica:0/task:0 comes nothing"), "ps 0"),
        (tf.errors.CancelledError(None, None, "was cancelled"), "ps 0"),
        (tf.errors.InvalidArgumentError(None, None, "a bug of the user's"), None),
    ],
)
def test_an_error_of_tensorflow_says_who_is_gone(servers: Any, error: Exception, lost: str | None):
    with pytest.raises(ke.WorkerLostError if lost else type(error)) as caught, servers.losses_explained():
        raise error
    assert lost is None or caught.value.found == lost


def test_one_that_was_started_again_knows_nothing(servers: Any):
    with socket.socket() as listening:
        listening.bind(("127.0.0.1", 0))
        listening.listen()
        servers._ps = {"ps 0": f"127.0.0.1:{listening.getsockname()[1]}"}  # noqa: SLF001 - of this test
        error = tf.errors.AbortedError(None, None, "/job:ps/replica:0/task:0 has another incarnation")
        with pytest.raises(ke.WorkerLostError) as caught, servers.losses_explained():
            raise error
        assert caught.value.found == "ps 0"
        with pytest.raises(tf.errors.CancelledError), servers.losses_explained():
            raise tf.errors.CancelledError(None, None, "something else")


class Handler:
    def __init__(self) -> None:
        self._should_preemption_thread_run = True
        self._cluster_due_for_update_or_finish = threading.Event()


def test_lost_workers_are_taken_up_when_all_are_there(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(server_cluster, "_LOOK_EVERY_SECS", 0.02)
    handler = Handler()
    event = handler._cluster_due_for_update_or_finish  # noqa: SLF001 - the name is TensorFlow's
    with socket.socket() as listening:
        listening.bind(("127.0.0.1", 0))
        recovery = server_cluster._Recovery(handler, [f"127.0.0.1:{listening.getsockname()[1]}"])  # noqa: SLF001 - what is tested
        recovery.set()
        time.sleep(0.2)
        assert not event.is_set()
        listening.listen()
        recovery.wait()
        recovery.clear()
        assert not event.is_set()
    recovery.set()
    handler._should_preemption_thread_run = False  # noqa: SLF001 - as if the coordinator ended
    recovery.set()
    assert event.is_set()


def test_tensorflow_has_what_is_used_of_it():
    for name in ("get_server_def", "set_server_def", "update_server_def", "_context_handle"):
        assert hasattr(eager_context.context(), name)
    assert "_status_available_event" in vars(remote_value_of_nothing())
    source = inspect.getsource(cluster_coordinator.WorkerPreemptionHandler)
    used = ("self._cluster_due_for_update_or_finish.wait()", "self._cluster_due_for_update_or_finish.set()")
    assert all(part in source for part in (*used, "self._cluster_due_for_update_or_finish.clear()"))
    assert "_should_preemption_thread_run" in source
    assert "self._cluster = Cluster(" in inspect.getsource(cluster_coordinator.ClusterCoordinator)
    assert "self.failure_handler = " in inspect.getsource(cluster_coordinator.Cluster)


def remote_value_of_nothing() -> Any:
    with contextlib.suppress(AttributeError):
        return cluster_coordinator.RemoteValueImpl(None, None)
    return remote_value.RemoteValueImpl(None, None)
