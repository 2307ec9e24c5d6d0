"""The processes of a cluster that train one model together, joined by TensorFlow's collective operations.

Each process has the whole model and its own share of every batch. They meet in sums over all of them (an
all-reduce): of the gradients once in each step, and of a few numbers after each stride.
Why this way, and not `strategy.run`: docs/decisions/0014-workers-are-joined-by-collectives.md

The private parts of TensorFlow used here are those by which MultiWorkerMirroredStrategy joins a cluster:
`configure_collective_ops`, `enable_collective_ops`, `check_collective_ops_peer_health` and
`abort_collective_ops` of its context; tests/test_workers.py fails when they change.
"""

from __future__ import annotations

import contextlib
import copy
import hashlib
import itertools
import threading
import time
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import tensorflow as tf
from tensorflow.core.protobuf.tensorflow_server_pb2 import ServerDef
from tensorflow.python.eager import context as eager_context

from keras_estimator.cluster import Task
from keras_estimator.engines.tensorflow.alike import COMPUTATION
from keras_estimator.engines.tensorflow.joining import came_too_late, process_lost, wait_for_all
from keras_estimator.errors import WorkersDifferError

_GROUP, _GROUP_OF_NUMBERS = 7100, 7200  # keys by which TensorFlow tells groups apart
_KEY_OF_NUMBERS, _FORMS = 2**30, 64  # and collectives: each has one shape; those of traced steps count from 64
_keys = itertools.count(1)  # all processes trace the same steps in the same order
_LONGEST_WAIT_SECS = 900.0  # for the others within a step: one may write a checkpoint, or export, meanwhile
_LOOK_EVERY_SECS, _LOOKS_BEFORE_LOST, _LOOK_MS = 2.0, 3, 3000


def join(task: Task) -> None:
    """Let TensorFlow start as a member of the cluster of `task`; call it before the first tensor is made.

    Nothing is started yet: TensorFlow does that with its first tensor, and waits for nobody.
    """
    ours = eager_context.context()
    if _has_joined() or ours._context_handle is not None:  # noqa: SLF001 - there is no public way to ask
        return  # a strategy of the user's was here first, or it is too late, which `Workers` says
    kind, index = task.type, task.index
    leader = f"/job:{task.trainers[0][0]}/replica:0/task:0"
    ours.configure_collective_ops(collective_leader=leader, device_filters=(f"/job:{kind}/task:{index}",))
    cluster = tf.train.ClusterSpec({name: list(addresses) for name, addresses in task.jobs if name != "evaluator"})
    server = ServerDef(
        cluster=cluster.as_cluster_def(),
        job_name=kind,
        task_index=index,
        protocol="grpc",
    )
    ours.enable_collective_ops(_ServerToStart(server, leader))


class _ServerToStart:
    """What TensorFlow starts with its first tensor, with the devices that the script has set by then.

    Args:
        server: What is known of it now.
        leader: Of the group that sums.
    """

    def __init__(self, server: ServerDef, leader: str) -> None:
        self._server = server
        self._leader = leader

    def __getattr__(self, name: str) -> Any:
        return getattr(self._server, name)

    def SerializeToString(self) -> bytes:  # noqa: N802 - TensorFlow calls it so
        options = copy.deepcopy(eager_context.context().config)
        options.experimental.collective_group_leader = self._leader
        self._server.default_session_config.CopyFrom(options)
        return bytes(self._server.SerializeToString())


def _has_joined() -> bool:
    return eager_context.context()._collective_ops_server_def is not None  # noqa: SLF001 - see above


class Workers:
    """The processes that train together, as one of them sees them.

    Args:
        task: What this process is.
        patience_secs: How long to wait for the others to start.

    Attributes:
        names: One for each, the chief first.
        index: The number of this process among them.

    Raises:
        ConfigError: TensorFlow had started before it could join the cluster.
    """

    def __init__(self, task: Task, patience_secs: float) -> None:
        if not _has_joined():
            raise came_too_late("a cluster")
        self.names = [f"{kind} {index}" if kind == "worker" else kind for kind, index in task.trainers]
        self.index = task.trainers.index((task.type, task.index))
        self._devices = [f"/job:{kind}/replica:0/task:{index}" for kind, index in task.trainers]
        self._patience_secs = patience_secs
        self._token = tf.Variable(0.0, trainable=False)  # orders the collectives of this process
        self._lost: set[str] = set()
        self._sums: dict[int, Any] = {}
        self._meets_since: float | None = None

    @property
    def _expected(self) -> str:
        return f"{self.size} processes that train: {', '.join(self.names)}"

    @property
    def size(self) -> int:
        """How many they are."""
        return len(self.names)

    def sum(self, tensors: Sequence[tf.Tensor], form: tf.Tensor | None = None) -> list[tf.Tensor]:
        """Return the sums over all processes, in the graph of a step: one message for each dtype.

        Args:
            tensors: The same in number, dtypes and shapes in every process.
            form: A number below 64 that tells shapes apart, if they change from step to step.
        """
        sums: dict[int, tf.Tensor] = {}
        for dtype in dict.fromkeys(tensor.dtype for tensor in tensors):
            places = [place for place, tensor in enumerate(tensors) if tensor.dtype == dtype]
            flat = [tf.reshape(tensors[place], [-1]) for place in places]
            key = tf.constant(next(_keys) * _FORMS) + tf.cast(0 if form is None else form, tf.int32)
            together = self._sum(tf.concat(flat, 0), _GROUP, key)
            parts = tf.split(together, [tf.size(each) for each in flat])
            for place, part in zip(places, parts, strict=True):
                sums[place] = tf.reshape(part, tf.shape(tensors[place]))
                sums[place].set_shape(tensors[place].shape)
        return [sums[place] for place in range(len(tensors))]

    def gather(self, numbers: Sequence[float]) -> np.ndarray[Any, Any]:
        """Return the numbers of all processes, one row for each; all have to call it, with as many.

        Raises:
            WorkerLostError: one of them is gone or does not answer.
        """
        rows = np.zeros((self.size, len(numbers)))
        rows[self.index] = numbers
        return self.total(rows.ravel()).reshape(rows.shape)

    def total(self, numbers: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
        """Return the sums over all processes of a vector of float64; all have to call it, with as many.

        Raises:
            WorkerLostError: one of them is gone or does not answer.
        """
        size = len(numbers)
        if size not in self._sums:
            with tf.device("/cpu:0"):
                add = tf.function(
                    lambda own: self._sum(own, _GROUP_OF_NUMBERS, _KEY_OF_NUMBERS + size), autograph=False
                )
                self._sums[size] = add.get_concrete_function(tf.TensorSpec((size,), tf.float64))
        with self.meeting():
            return np.asarray(self._sums[size](tf.constant(numbers, tf.float64)))

    def _sum(self, tensor: tf.Tensor, group: int, key: Any) -> tf.Tensor:
        return tf.raw_ops.CollectiveReduceV2(
            input=tensor,
            group_size=self.size,
            group_key=group,
            instance_key=key,
            ordering_token=[self._token.handle],
            merge_op="Add",
            final_op="Id",
            communication_hint="auto",
            timeout_seconds=0,  # with any other, two threads sleep so long for each sum; `_watch` sees to it
        )

    @contextlib.contextmanager
    def watched(self) -> Iterator[None]:
        """Wait until all are there, and then end what waits for one that is gone, within some ten seconds.

        Raises:
            WorkerLostError: one did not come in time.
        """
        wait_for_all(self._silent, self._expected, self._patience_secs)
        over = threading.Event()
        threading.Thread(target=self._watch, args=(over,), name="watch-workers", daemon=True).start()
        try:
            with self.losses_explained():
                yield
        finally:
            over.set()

    @contextlib.contextmanager
    def meeting(self) -> Iterator[None]:
        """Compute what needs all processes; none waits for the others longer than `_LONGEST_WAIT_SECS`.

        Raises:
            WorkerLostError: one of them is gone or does not answer.
        """
        self._meets_since = time.monotonic()
        try:
            with self.losses_explained():
                yield
        finally:
            self._meets_since = None

    @contextlib.contextmanager
    def losses_explained(self) -> Iterator[None]:
        """Let what TensorFlow raises about another process say which it is."""
        try:
            yield
        except (
            tf.errors.UnavailableError,
            tf.errors.DeadlineExceededError,
            tf.errors.AbortedError,
            tf.errors.CancelledError,
            tf.errors.InternalError,
            tf.errors.FailedPreconditionError,
        ) as error:
            if "ollective" not in str(error):
                raise
            gone = sorted(self._lost | self._gone())
            raise process_lost(", ".join(gone) or str(error).partition("\n")[0][:200], self._expected) from error

    def _gone(self) -> set[str]:
        """Return who is found to be silent; a process that has just ended may seem to answer for a moment."""
        for _ in range(_LOOKS_BEFORE_LOST):
            silent = self._silent()
            if silent:
                return set(silent)
            time.sleep(1)
        return set()

    def _silent(self) -> list[str]:
        """Return the names of those that do not answer now."""
        ours = eager_context.context()
        silent = []
        for name, device in zip(self.names, self._devices, strict=True):
            if name == self.names[self.index]:
                continue
            try:
                ours.check_collective_ops_peer_health(device, timeout_in_ms=_LOOK_MS)
            except tf.errors.OpError:
                silent.append(name)
        return silent

    def _watch(self, over: threading.Event) -> None:
        looks = dict.fromkeys(self.names, 0)
        while not over.wait(_LOOK_EVERY_SECS):
            silent = self._silent()
            for name in self.names:
                looks[name] = looks[name] + 1 if name in silent else 0
            self._lost = {name for name, count in looks.items() if count >= _LOOKS_BEFORE_LOST}
            text = f"{', '.join(sorted(self._lost))} does not answer" if self._lost else ""
            since = self._meets_since
            if not text and since is not None and time.monotonic() - since > _LONGEST_WAIT_SECS:
                text = f"the others did not come for {_LONGEST_WAIT_SECS:.0f} s"
            if text and not over.is_set():
                eager_context.context().abort_collective_ops(tf.errors.UNAVAILABLE, f"Collective ended: {text}")
                return

    def check_alike(self, parts: dict[str, str]) -> None:
        """Compare what has to be the same everywhere; all have to call it, with the same parts.

        Args:
            parts: What it is, and a hash or a number as text.

        Raises:
            WorkersDifferError: one process has something else than the chief.
        """
        numbers = [
            float(int.from_bytes(hashlib.sha256(value.encode()).digest()[:6], "big")) for value in parts.values()
        ]
        rows = self.gather(numbers)
        differing = {
            self.names[place]: [what for what, one, two in zip(parts, rows[0], row, strict=True) if one != two]
            for place, row in enumerate(rows)
            if (row != rows[0]).any()
        }
        if differing:
            listed = "; ".join(f"{name}: {', '.join(whats)}" for name, whats in differing.items())
            mine = ", ".join(f"{what} {value[:60]}" for what, value in parts.items() if what in listed)
            raise WorkersDifferError(
                "the processes of the cluster would not train the same model",
                found=f"other than {self.names[0]} is at {listed}. {self.names[self.index]} has: {mine}",
                expected="the same program, data, versions and model_dir for all",
                fix="give every process the same script, arguments, environment and shared model_dir",
                rule="KE410" if any(what in listed for what in COMPUTATION) else "",
            )
