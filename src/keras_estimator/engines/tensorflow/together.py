"""What the processes of a cluster bring together between two strides: metrics, state, and whether they are alike.

While they train, the weights stay equal by themselves, as every process makes the same update. What each computes
from its own rows is brought together here: metrics after every stride, moving statistics before anything is saved
or measured. Random numbers are drawn from seeds of their own, so that no two processes drop out the same.
"""

from __future__ import annotations

import logging
import platform
import warnings
import zlib
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from keras_estimator.engines.engine import Stride
from keras_estimator.engines.tensorflow.loops import as_floats, named_tensors
from keras_estimator.engines.tensorflow.shared_steps import SEEN, WEIGHT, Share
from keras_estimator.engines.tensorflow.state import ModelState, is_metric
from keras_estimator.engines.tensorflow.workers import Workers
from keras_estimator.errors import EstimatorWarning, WorkersDifferError
from keras_estimator.model.anatomy import holdings
from keras_estimator.model.keras_private import storage_of

_LOG = logging.getLogger("keras_estimator")
_NUMBERS_AT_ONCE = 2**21  # of float64 in one message
_SEEDS_APART = 0x9E3779B1


class Together:
    """The state of one model in all processes.

    Args:
        workers: The processes.
        model: The model of this one.
        state: Its variables.

    Attributes:
        results: What the metrics of the model say of the rows of all processes, after the newest stride.
    """

    def __init__(self, workers: Workers, model: Any, state: ModelState) -> None:
        self.workers = workers
        self._model = model
        self._state = state
        self._is_begun = False
        self._is_synchronized = False
        self._warned: set[str] = set()
        self.results: Mapping[str, Any] = {}

    def forget(self) -> None:
        """The state of this process was set anew: it is compared again before training goes on."""
        self._is_begun = False

    def shared(self, step: Callable[[Any], Any]) -> Callable[[Any], dict[str, Any]]:
        """Return a step that computes the rows of this process and updates the weights by those of all."""

        def shared(batch: Any) -> dict[str, Any]:
            share = Share(self.workers, batch)
            before = [(variable, variable.read_value()) for variable in self._metric_variables()]
            with share.used():
                metrics = named_tensors(step)(share.rows)
            for variable, value in before:
                variable.assign(tf.where(share.is_empty, value, variable))
            return {**metrics, **share.marks}

        return shared

    def begin(self, step: int, parts: Callable[[], Mapping[str, str]]) -> bool:
        """Make sure that all are at one step, with one model; the chief's values count.

        Args:
            step: Where this process is.
            parts: Gives what has to be the same, as text; called if it was not compared before.

        Returns:
            Whether anything was compared and taken over: not if all go on from where they were.

        Raises:
            WorkersDifferError: a process differs from the chief.
            WorkerLostError: one of them is gone.
        """
        self.workers.check_alike({"the step of the newest checkpoint (is model_dir one folder for all?)": str(step)})
        if self.workers.gather([self._is_begun]).all():
            return False
        self.workers.check_alike(_versions() | self._variables() | dict(parts()))
        self._take_from_chief()
        _LOG.info("%d processes train together: %s", self.workers.size, ", ".join(self.workers.names))
        self._part_seeds()
        self._is_begun = self._is_synchronized = True
        return True

    def of_stride(self, stride: Stride) -> Stride:
        """Return what came of a stride in all processes.

        Raises:
            WorkersDifferError: they made other steps, or read other batches.
            WorkerLostError: one of them is gone.
        """
        self._is_synchronized = False
        metrics = dict(stride.metrics)
        seen, weight = (np.nan_to_num(float(metrics.pop(name, 0.0))) for name in (SEEN, WEIGHT))
        own = as_floats(self._model.get_metrics_result())
        are_of_model = [
            not weight or (name in own and np.array_equal(own[name], value, equal_nan=True))
            for name, value in metrics.items()
        ]
        kept = [np.asarray(variable) for variable in self._metric_variables()]
        parts = [
            np.array([stride.steps, stride.ended, seen, stride.is_finite, weight]),
            np.array(are_of_model),
            _flat(metrics.values()),
            _flat(kept),
        ]
        rows = self.workers.gather([float(number) for number in np.concatenate(parts)])
        ends = np.cumsum([len(part) for part in parts])[:-1]
        marks, of_model, values, states = np.split(rows, ends, axis=1)
        if (marks[:, :3] != marks[0, :3]).any():
            raise self._read_otherwise(marks)
        self.results = self._results_with(states.sum(axis=0), kept)
        weights = marks[:, 4:] / max(marks[:, 4].sum(), 1e-30)
        means = _unflat((weights * values).sum(axis=0), list(metrics.values()))
        everywhere = np.min(of_model, axis=0, initial=1.0)
        for name, mean, is_of_model in zip(metrics, means, everywhere, strict=True):
            # What a step of the user's returns by itself is about its last batch.
            metrics[name] = self.results[name] if is_of_model else as_floats({name: mean})[name]
        is_finite = bool(marks[:, 3].all()) and bool(np.all(np.isfinite(metrics.get("loss", 0.0))))
        return Stride(stride.steps, stride.ended, is_finite, metrics)

    def synchronize(self) -> None:
        """Give all processes one state: what each learnt from its own rows is brought together.

        Moving statistics, and other numbers that no optimizer updates, become their mean; whole numbers, such
        as counts of steps, stay those of the chief; the sums of metrics go to the chief.

        Raises:
            WorkersDifferError: weights differ, because something else than an optimizer has changed them.
            WorkerLostError: one of them is gone.
        """
        if self._is_synchronized or not self._is_begun:
            return
        own, equal = self._own_and_equal()
        self._check_equal(equal)
        floats = {path: v for path, v in own.items() if v.dtype.is_floating}
        self._put(floats, self._total(floats.values()) / self.workers.size)
        self._check_counts({path: v for path, v in own.items() if path not in floats})
        metrics = dict(enumerate(self._metric_variables()))
        self._put(metrics, self._total(metrics.values()) * (self.workers.index == 0))
        self._is_synchronized = True

    def _metric_variables(self) -> list[tf.Variable]:
        return [storage_of(variable) for variable in self._model.metrics_variables]

    def _results_with(self, states: np.ndarray[Any, Any], kept: list[np.ndarray[Any, Any]]) -> dict[str, Any]:
        variables = self._metric_variables()
        for variable, value in zip(variables, _unflat(states, kept), strict=True):
            variable.assign(value)
        results = as_floats(self._model.get_metrics_result())
        for variable, value in zip(variables, kept, strict=True):
            variable.assign(value)
        return results

    def _own_and_equal(self) -> tuple[dict[str, tf.Variable], dict[str, tf.Variable]]:
        """Return the variables that each process changes by itself, and those that stay equal; by path."""
        seeds, metrics = self._state.seeds(), {id(variable) for variable in self._metric_variables()}
        updated = {id(storage_of(variable)) for variable in self._model.trainable_variables}
        for held in holdings(self._model):
            if isinstance(held.owner, keras.optimizers.Optimizer):
                updated.add(id(held.variable if held.is_raw else storage_of(held.variable)))
        own: dict[str, tf.Variable] = {}
        equal: dict[str, tf.Variable] = {}
        for path, variable in self._state.variables().items():
            if id(variable) in seeds | metrics or is_metric(path) or variable.dtype == tf.string:
                continue
            (equal if id(variable) in updated else own)[path] = variable
        return own, equal

    def _check_equal(self, variables: Mapping[str, tf.Variable]) -> None:
        rows = self.workers.gather([float(zlib.crc32(variable.numpy().tobytes())) for variable in variables.values()])
        differing = [path for place, path in enumerate(variables) if (rows[:, place] != rows[0, place]).any()]
        if differing:
            raise WorkersDifferError(
                "the weights of the processes have become different",
                found=f"{', '.join(differing[:6])}" + (f" and {len(differing) - 6} more" if len(differing) > 6 else ""),
                expected="weights that an optimizer updates, by gradients: these are summed over all processes",
                fix="call self.optimizer.apply(gradients, weights) in train_step, and do not assign weights there",
            )

    def _check_counts(self, variables: Mapping[str, tf.Variable]) -> None:
        totals = self._total(variables.values()) / self.workers.size
        flat = _flat(variable.numpy() for variable in variables.values())
        differ = self.workers.gather([float((totals != flat).any())]).any()
        if differ and variables and "counts" not in self._warned:
            self._warned.add("counts")
            warnings.warn(
                f"some of {', '.join(variables)} have other values in other processes, as each counts its own rows; "
                "the chief's are saved. Count steps, or measure with a keras.Metric, whose sums are brought together.",
                EstimatorWarning,
                stacklevel=2,
            )

    def _take_from_chief(self) -> None:
        variables = {p: v for p, v in self._state.variables().items() if v.dtype != tf.string}
        self._put(variables, self._total(variables.values(), counts=self.workers.index == 0))

    def _total(self, variables: Any, *, counts: bool = True) -> np.ndarray[Any, Any]:
        """Return the sums over all processes, one after the other; of a process that counts for nothing, zeros."""
        flat = _flat(variable.numpy() for variable in variables) * counts
        totals = [self.workers.total(flat[at : at + _NUMBERS_AT_ONCE]) for at in range(0, len(flat), _NUMBERS_AT_ONCE)]
        return np.concatenate([np.zeros(0), *totals])

    def _put(self, variables: Mapping[Any, tf.Variable], flat: np.ndarray[Any, Any]) -> None:
        values = _unflat(flat, [variable.numpy() for variable in variables.values()])
        for variable, value in zip(variables.values(), values, strict=True):
            variable.assign(value)

    def _part_seeds(self) -> None:
        """Let each process draw other random numbers; those of the chief are the ones that are saved."""
        seeds = self._state.seeds()
        for variable in self._state.variables().values():
            if id(variable) in seeds and self.workers.index:
                value = variable.numpy()
                shift = np.array(self.workers.index * _SEEDS_APART % 2**31, value.dtype)
                value.flat[0] = value.flat[0] ^ shift
                variable.assign(value)

    def _variables(self) -> dict[str, str]:
        listed = (f"{path} {tuple(v.shape)} {v.dtype.name}" for path, v in self._state.variables().items())
        return {"the variables of the model": "\n".join(sorted(listed))}

    def _read_otherwise(self, marks: np.ndarray[Any, Any]) -> WorkersDifferError:
        at = ", ".join(
            f"{name}: {int(row[0])} steps{', then the end' if row[1] else ''}"
            for name, row in zip(self.workers.names, marks, strict=True)
        )
        return WorkersDifferError(
            "the processes read other batches from the same data",
            found=f"{at}; the rows differ" if (marks[:, 2] != marks[0, 2]).any() else at,
            expected="the same batches in the same order everywhere: each process takes its own rows of every batch",
            fix="give what shuffles or draws a seed, and all processes the same: keras.utils.set_random_seed(1), "
            "dataset.shuffle(1000, seed=1); or return arrays from the input_fn",
        )


def _flat(arrays: Any) -> np.ndarray[Any, Any]:
    return np.concatenate([np.zeros(0), *(np.ravel(np.asarray(array)).astype(np.float64) for array in arrays)])


def _unflat(flat: np.ndarray[Any, Any], like: list[Any]) -> Iterator[np.ndarray[Any, Any]]:
    place = 0
    for each in map(np.asarray, like):
        yield flat[place : place + each.size].reshape(each.shape).astype(each.dtype)
        place += each.size


def _versions() -> dict[str, str]:
    modules = {"keras": keras.__version__, "tensorflow": tf.__version__, "numpy": np.__version__}
    return {f"the version of {name}": text for name, text in {**modules, "Python": platform.python_version()}.items()}
