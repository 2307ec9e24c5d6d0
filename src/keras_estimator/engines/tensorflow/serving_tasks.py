"""What a worker or a parameter server does in a cluster that has some: serve the chief until it is gone.

Both run the same script as the chief. Where that trains, they start a server of TensorFlow for their task; what it
computes or keeps, the chief tells it. They end when the chief's process does. A signal that asks them to end waits
until the chief has saved, as it needs them for that.
"""

from __future__ import annotations

import contextlib
import logging
import signal
import threading
import time
from collections.abc import Callable, Iterator
from typing import Any

import tensorflow as tf

from keras_estimator.cluster import Task
from keras_estimator.engines.tensorflow.server_cluster import cluster_of, reach
from keras_estimator.errors import WorkerLostError

_LOG = logging.getLogger("keras_estimator")
_LOOK_EVERY_SECS = 0.3
_REFUSED_SECS = 1.0  # its machine is there and says that the process is not
_SILENT_SECS = 15.0  # or is only the network down?
_GRACE_SECS = 20.0  # for the chief to save after a signal that all have got
_SAY_EVERY_SECS = 10.0
_servers: dict[tuple[str, int], Any] = {}
_ended: set[str] = set()  # chiefs that were there and are gone


def serve(task: Task, patience_secs: float) -> None:
    """Serve the chief of the cluster until it is gone.

    Args:
        task: What this process is: a worker or a parameter server.
        patience_secs: How long to wait for the chief to start.

    Raises:
        WorkerLostError: it did not come in time.
        KeyboardInterrupt: Ctrl-C was pressed meanwhile.
        SystemExit: the process was asked to end by SIGTERM meanwhile; the status is 143.
    """
    cluster, name = cluster_of(task), f"{task.type} {task.index}"
    (address,) = cluster["chief"]
    if address in _ended:
        _LOG.info("%s has nothing to do: the chief is gone", name)
        return
    key = task.type, task.index
    if key not in _servers:  # a server cannot be stopped, so a process has one
        _servers[key] = tf.distribute.Server(
            tf.train.ClusterSpec(cluster), job_name=task.type, task_index=task.index, protocol="grpc"
        )
    _LOG.info("%s serves the chief at %s", name, address)
    with _noted_signals() as received:
        await_end(lambda: reach(address), lambda: bool(received), patience_secs, name)
    _ended.add(address)
    if signal.SIGINT in received:
        raise KeyboardInterrupt
    if received:
        raise SystemExit(128 + received[0])
    _LOG.info("the chief has ended, and so does %s", name)


def await_end(look: Callable[[], str], is_asked: Callable[[], bool], patience_secs: float, name: str) -> None:
    """Wait until the chief was there and is gone, or until it is time to end without it.

    Args:
        look: Tells how the chief answers, as `reach` does.
        is_asked: Tells whether this process was asked to end.
        patience_secs: How long to wait for the chief to start.
        name: What this process is, for messages.

    Raises:
        WorkerLostError: the chief did not come in time.
    """
    began = said = there_at = time.monotonic()
    asked_at: float | None = None
    was_there = False
    while True:
        answer, now = look(), time.monotonic()
        if answer == "there":
            was_there, there_at = True, now
        elif was_there and now - there_at > (_REFUSED_SECS if answer == "refused" else _SILENT_SECS):
            return
        elif not was_there and now - began > patience_secs:
            raise WorkerLostError(
                "the chief of the cluster did not start",
                found=f"no answer from the chief for {now - began:.0f} s",
                expected=f"a chief that {name} can serve",
                fix="start it, with this cluster in TF_CONFIG; see its log for why it ended; or wait longer: "
                "RunConfig(session_creation_timeout_secs=...)",
            )
        if is_asked():
            asked_at = asked_at or now
            if not was_there or now - asked_at > _GRACE_SECS:
                return
        if not was_there and now - said > _SAY_EVERY_SECS:
            said = now
            _LOG.info("waiting for the chief since %.0f s", now - began)
        time.sleep(_LOOK_EVERY_SECS)


@contextlib.contextmanager
def _noted_signals() -> Iterator[list[int]]:
    """Note Ctrl-C and SIGTERM instead of dying of them; a second one ends the process at once."""
    received: list[int] = []
    if threading.current_thread() is not threading.main_thread():
        yield received
        return

    def note(number: int, frame: Any) -> None:
        if received:
            signal.default_int_handler(number, frame)
        received.append(number)

    before: dict[int, Any] = {
        number: signal.signal(number, note) or signal.SIG_DFL for number in (signal.SIGINT, signal.SIGTERM)
    }
    try:
        yield received
    finally:
        for number, old in before.items():
            signal.signal(number, old)
