"""A cluster with parameter servers as its chief sees it: join, wait, let the workers compute, notice who is gone.

TensorFlow loses every older tensor when it joins a cluster, but not when a cluster that it is in grows. So
`import keras_estimator` makes the chief a cluster of its own, before its first tensor, and `connect` adds
the others as soon as they are wanted.

The private parts of TensorFlow used here are `get_server_def`, `set_server_def` and `update_server_def` of its
context, by which ParameterServerStrategy connects, too; of its ClusterCoordinator, the event by which the value of a
scheduled function tells that it is there, and the one by which the handler of failures takes up lost workers.
tests/test_server_cluster.py fails when they change.
"""

from __future__ import annotations

import collections
import contextlib
import logging
import re
import socket
import threading
import time
from collections.abc import Iterable, Iterator
from typing import Any

import tensorflow as tf
from tensorflow.core.protobuf.tensorflow_server_pb2 import ServerDef
from tensorflow.python.eager import context as eager_context

from keras_estimator.cluster import Task
from keras_estimator.engines.tensorflow.joining import came_too_late, process_lost, wait_for_all
from keras_estimator.errors import WorkerLostError

_LOG = logging.getLogger("keras_estimator")
_PROBE_SECS = 1.0
_LOOK_EVERY_SECS, _LOOKS_BEFORE_LOST = 2.0, 3
_ALONE_SECS = 20.0  # without any worker: one that was started again may come back meanwhile
_LONGEST_CALL_SECS = 900.0  # of a second's work: a worker that was stopped still seems to be there
_UNDER_WAY_PER_WORKER = 3  # one that is computed, one on its way there, one on its way back
_PS_IN_ERROR = re.compile(r"/job:ps/replica:\d+/task:(\d+)")
_connected: dict[tuple[Any, ...], Servers] = {}


def cluster_of(task: Task) -> dict[str, list[str]]:
    """Return the addresses of those who train by type, in the names that TensorFlow's coordinator has for them."""
    jobs = {("chief" if name == "master" else name): list(addresses) for name, addresses in task.jobs}
    return {name: addresses for name, addresses in jobs.items() if name in ("chief", "worker", "ps") and addresses}


def join(task: Task) -> None:
    """Make this process, a chief, a cluster of its own that can grow; call it before the first tensor is made."""
    ours = eager_context.context()
    if ours.get_server_def() is not None or ours._context_handle is not None:  # noqa: SLF001 - no public way to ask
        return  # a strategy of the user's was here first, or it is too late, which `check_joined` says
    alone = tf.train.ClusterSpec({"chief": cluster_of(task)["chief"]})
    options = {"protocol": "grpc", "default_session_config": ours.config}
    ours.set_server_def(ServerDef(cluster=alone.as_cluster_def(), job_name="chief", task_index=0, **options))


def check_joined() -> None:
    """Check that this process has joined a cluster before its first tensor.

    Raises:
        ConfigError: it was too late for that.
    """
    if eager_context.context().get_server_def() is None:
        raise came_too_late("parameter servers")


def reach(address: str) -> str:
    """Return whether somebody listens at an address: "there", "refused" (the machine says no), or "silent"."""
    host, _, port = address.rpartition(":")
    try:
        with socket.create_connection((host.strip("[]"), int(port)), timeout=_PROBE_SECS):
            return "there"
    except ConnectionRefusedError:
        return "refused"
    except (OSError, ValueError):
        return "silent"


def connect(task: Task, patience_secs: float) -> Servers:
    """Wait until all workers and parameter servers are there, and return them; of one process always the same.

    Raises:
        WorkerLostError: one of them did not come in time.
    """
    key = tuple(sorted((name, *addresses) for name, addresses in cluster_of(task).items()))
    if key not in _connected:
        cluster = cluster_of(task)
        _wait_for(cluster, patience_secs)
        _connected[key] = Servers(cluster)
    return _connected[key]


def _named(cluster: dict[str, list[str]], *types: str) -> dict[str, str]:
    return {f"{name} {index}": each for name in types for index, each in enumerate(cluster[name])}


def _wait_for(cluster: dict[str, list[str]], patience_secs: float) -> None:
    waited_for = _named(cluster, "worker", "ps")

    def find_missing() -> list[str]:
        return [name for name, address in waited_for.items() if reach(address) != "there"]

    wait_for_all(find_missing, f"a chief, and: {', '.join(waited_for)}", patience_secs)


class _Recovery:
    """The event by which the coordinator takes up workers that were started again; not set before all are there.

    Otherwise it would wait for them within TensorFlow, and the chief could not end while it does.

    Args:
        handler: The coordinator's handler of failures, whose event this replaces.
        addresses: Those of all workers and parameter servers.
    """

    def __init__(self, handler: Any, addresses: list[str]) -> None:
        self._handler, self._addresses = handler, addresses
        self._event = handler._cluster_due_for_update_or_finish  # noqa: SLF001 - there is no other way to hold it back
        self._awaited: threading.Thread | None = None

    def wait(self) -> None:
        """Wait until it is set."""
        self._event.wait()

    def clear(self) -> None:
        """Start anew."""
        self._event.clear()

    def set(self) -> None:
        """Set it as soon as all processes are there; at once if the coordinator ends."""
        if not self._is_running:
            self._event.set()
        elif self._awaited is None or not self._awaited.is_alive():
            self._awaited = threading.Thread(target=self._set_when_there, name="await-workers", daemon=True)
            self._awaited.start()

    @property
    def _is_running(self) -> bool:
        return bool(self._handler._should_preemption_thread_run)  # noqa: SLF001 - see above

    def _set_when_there(self) -> None:
        while self._is_running and not all(reach(address) == "there" for address in self._addresses):
            time.sleep(_LOOK_EVERY_SECS)
        self._event.set()


class Servers:
    """The parameter servers and workers of one cluster, as its chief sees them.

    Args:
        cluster: Addresses by type; all have to be there.

    Attributes:
        devices: Those of the parameter servers.
        num_workers: How many compute.
    """

    def __init__(self, cluster: dict[str, list[str]]) -> None:
        spec = tf.train.ClusterSpec(cluster)
        ours = eager_context.context()
        grown = ServerDef()
        grown.CopyFrom(ours.get_server_def())
        grown.cluster.CopyFrom(spec.as_cluster_def())
        ours.update_server_def(grown)  # what the strategy finds to be so already does not start anew
        resolver = tf.distribute.cluster_resolver.SimpleClusterResolver(
            spec, task_type="chief", task_id=0, rpc_layer="grpc"
        )
        self._coordinator = tf.distribute.coordinator.ClusterCoordinator(
            tf.distribute.ParameterServerStrategy(resolver)
        )
        handler = self._coordinator._cluster.failure_handler  # noqa: SLF001 - see `_Recovery`
        recovery = _Recovery(handler, list(_named(cluster, "worker", "ps").values()))
        handler._cluster_due_for_update_or_finish = recovery  # noqa: SLF001 - the same
        self._ps, self._workers = _named(cluster, "ps"), _named(cluster, "worker")
        self.devices = [f"/job:ps/replica:0/task:{index}/device:CPU:0" for index in range(len(self._ps))]
        self.num_workers = len(self._workers)
        self._looks = dict.fromkeys([*self._ps, *self._workers], 0)
        self._alone_since: float | None = None

    def run(self, function: Any, calls: Iterable[tuple[Any, ...]]) -> Iterator[Any]:
        """Let the workers compute a function, some calls of it at once, and yield what comes of each, in order.

        A call whose worker is lost is made again by another; a worker that comes back takes part again.

        Args:
            function: A concrete function.
            calls: Its arguments; drawn as calls can be taken on.

        Raises:
            WorkerLostError: a parameter server is gone, or all workers are, or a call is never done.
        """
        under_way: collections.deque[Any] = collections.deque()
        for arguments in calls:
            under_way.append(self._coordinator.schedule(function, args=arguments))
            if len(under_way) >= _UNDER_WAY_PER_WORKER * self.num_workers:
                yield self._result(under_way.popleft())
        while under_way:
            yield self._result(under_way.popleft())

    def _result(self, value: Any) -> Any:
        with self.losses_explained():
            began = time.monotonic()
            while not value._status_available_event.wait(_LOOK_EVERY_SECS):  # noqa: SLF001 - else nobody would look
                self._look()
                if time.monotonic() - began > _LONGEST_CALL_SECS:
                    who = ", ".join([*self._workers, *self._ps])
                    raise self._error([f"one of {who}: no answer for {_LONGEST_CALL_SECS:g} s"])
            try:
                return value.fetch()
            except tf.errors.CancelledError:
                self._coordinator.join()  # raises what the others were cancelled for
                raise

    def _look(self) -> None:
        """Raise an error if what is waited for can never come, as its processes are gone."""
        for name, address in {**self._ps, **self._workers}.items():
            count = 0 if reach(address) == "there" else self._looks[name] + 1
            if count == _LOOKS_BEFORE_LOST and name in self._workers:
                _LOG.warning("%s does not answer; the others do its work until it is started again", name)
            self._looks[name] = count
        lost = [name for name in self._ps if self._looks[name] >= _LOOKS_BEFORE_LOST]
        if lost:
            raise self._error(lost)
        now = time.monotonic()
        if any(self._looks[name] < _LOOKS_BEFORE_LOST for name in self._workers):
            self._alone_since = None
        elif self._alone_since is None:
            self._alone_since = now
        elif now - self._alone_since > _ALONE_SECS:
            raise self._error(list(self._workers))

    @contextlib.contextmanager
    def losses_explained(self) -> Iterator[None]:
        """Let what TensorFlow raises about another process say which it is."""
        try:
            yield
        except (
            tf.errors.UnavailableError,
            tf.errors.AbortedError,
            tf.errors.CancelledError,
            tf.errors.DeadlineExceededError,
            tf.errors.FailedPreconditionError,
            tf.errors.InternalError,
            tf.errors.NotFoundError,
        ) as error:
            lost = [name for name, address in self._ps.items() if reach(address) != "there"]
            if not lost and isinstance(error, tf.errors.UnavailableError | tf.errors.AbortedError):
                named = sorted({f"ps {number}" for number in _PS_IN_ERROR.findall(str(error))})
                lost = [name for name in named if name in self._ps]  # it was started again, and knows nothing
            if not lost:
                raise
            raise self._error(lost) from error

    def _error(self, lost: list[str]) -> WorkerLostError:
        return process_lost(
            ", ".join(lost),
            f"the parameter servers, which hold the weights ({', '.join(self._ps)}), and a worker at least "
            f"({', '.join(self._workers)})",
        )
