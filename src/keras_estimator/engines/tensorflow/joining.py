"""What a process does until its cluster is whole: it waits for the others, says for whom, and not for ever."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable

from keras_estimator.errors import ConfigError, WorkerLostError

_LOG = logging.getLogger("keras_estimator")
_LOOK_EVERY_SECS, _SAY_EVERY_SECS = 0.2, 10.0


def wait_for_all(find_missing: Callable[[], list[str]], expected: str, patience_secs: float) -> None:
    """Wait until nobody is missing.

    Args:
        find_missing: Returns the names of those who are not there yet.
        expected: Who should be there, for the error.
        patience_secs: How long to wait.

    Raises:
        WorkerLostError: somebody did not come in time.
    """
    began = said = time.monotonic()
    while missing := find_missing():
        now = time.monotonic()
        if now - began > patience_secs:
            raise WorkerLostError(
                "the cluster is not whole",
                found=f"no answer from {', '.join(missing)} for {now - began:.0f} s",
                expected=expected,
                fix="start them, with this cluster in TF_CONFIG; see their logs for why they ended; or wait "
                "longer: RunConfig(session_creation_timeout_secs=...)",
            )
        if now - said > _SAY_EVERY_SECS:
            said = now
            _LOG.info("waiting for %s since %.0f s", ", ".join(missing), now - began)
        time.sleep(_LOOK_EVERY_SECS)


def process_lost(lost: str, expected: str) -> WorkerLostError:
    """Return the error for a training that cannot go on without another process.

    Args:
        lost: Who is gone.
        expected: Who should be there.
    """
    return WorkerLostError(
        "the training cannot go on, as another process of the cluster is gone or does not answer",
        found=lost,
        expected=expected,
        fix="start all of them again: they go on from the newest checkpoint. `keras-estimator launch` does "
        "so by itself",
    )


def came_too_late(cluster: str) -> ConfigError:
    """Return the error for a process in which TensorFlow had started before it could join.

    Args:
        cluster: What TF_CONFIG names.
    """
    return ConfigError(
        "TensorFlow had started before it could join the cluster",
        found=f"TF_CONFIG names {cluster}, and a tensor was made before keras_estimator was imported",
        expected="`import keras_estimator` before the first tensor, dataset or model",
        fix="move `import keras_estimator` to the top of the script, or start it by `keras-estimator run`",
    )
