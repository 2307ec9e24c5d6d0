"""Write checkpoints while the training goes on."""

from __future__ import annotations

import contextlib
import warnings
from collections.abc import Callable, Iterable, Iterator, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import Any

from keras_estimator.checkpoints import Checkpoints
from keras_estimator.errors import CheckpointError, EstimatorWarning
from keras_estimator.state_files import Array


class CheckpointWriter:
    """Writes the checkpoints of one model_dir in a thread, one after the other.

    What goes wrong there is raised by whoever waits for it: nothing is written or read before the last one
    is known to be whole.

    Args:
        checkpoints: Those of the model_dir.
    """

    def __init__(self, checkpoints: Checkpoints) -> None:
        self._checkpoints = checkpoints
        self._under_way: Future[Path] | None = None

    @property
    def checkpoints(self) -> Checkpoints:
        """Those of the model_dir, with the one that was being written.

        Raises:
            CheckpointError: that could not be written.
        """
        self.wait()
        return self._checkpoints

    def begin(
        self,
        step: int,
        state: Mapping[str, Array],
        run: Mapping[str, Any],
        *,
        protected: Iterable[Path],
        if_it_fails: Callable[[], object],
    ) -> None:
        """Begin to write a checkpoint (see `Checkpoints.write`) once the one before it is written.

        Args:
            step: See there.
            state: Arrays that nobody changes any more.
            run: See there.
            protected: See there.
            if_it_fails: Called in the thread.

        Raises:
            CheckpointError: the one before it could not be written.
        """
        self.wait()

        def write() -> Path:
            try:
                return self._checkpoints.write(step, state, run, protected=protected)
            except BaseException:
                if_it_fails()
                raise

        thread = ThreadPoolExecutor(1, "checkpoint")  # the interpreter waits for it before it exits
        self._under_way = thread.submit(write)
        thread.shutdown(wait=False)  # it ends with this one

    def wait(self) -> None:
        """Wait until the checkpoint is written.

        Raises:
            CheckpointError: it could not be written; said once.
        """
        under_way = self._under_way
        if under_way is not None:
            try:
                under_way.result()
            finally:
                # Ctrl-C may have ended the waiting: the writing goes on.
                self._under_way = None if under_way.done() else under_way

    @contextlib.contextmanager
    def finished(self) -> Iterator[None]:
        """Wait at the end; if something else has failed by then, that is raised, and this is a warning."""
        try:
            yield
        except BaseException:
            try:
                self.wait()
            except CheckpointError as error:
                warnings.warn(str(error), EstimatorWarning, stacklevel=2)
            raise
        self.wait()
