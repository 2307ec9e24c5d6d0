"""What replicas bring together between two strides: metrics, state, and whether they are alike.

While they train, the weights stay equal by themselves, as every replica makes the same update. What each computes
from its own rows is brought together here: metrics after every stride, moving statistics before anything is saved
or measured. Random numbers are drawn from seeds of their own, so that no two replicas drop out the same.
"""

from __future__ import annotations

import logging
import warnings
import zlib
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import tensorflow as tf

from keras_estimator.engines.engine import Stride, patience_secs
from keras_estimator.engines.tensorflow.loops import as_floats, of_replica
from keras_estimator.engines.tensorflow.member import (
    Member,
    Variables,
    flattened,
    metrics_of,
    of_share,
    parts_of,
    put,
    shaped_like,
)
from keras_estimator.engines.tensorflow.plans import BY_XLA
from keras_estimator.engines.tensorflow.replicas import Replicas, devices_of
from keras_estimator.engines.tensorflow.shared_steps import SEEN, WEIGHT, Share
from keras_estimator.engines.tensorflow.state import ModelState, parted_seed
from keras_estimator.engines.tensorflow.workers import Workers
from keras_estimator.errors import EstimatorWarning, WorkersDifferError
from keras_estimator.model.blueprint import Blueprint
from keras_estimator.model.user_lines import running_line
from keras_estimator.run_config import RunConfig, task_of

_LOG = logging.getLogger("keras_estimator")
_NUMBERS_AT_ONCE = 2**21  # of float64 in one message


class Together:
    """The state of one model in all replicas.

    Args:
        replicas: All of them.
        model: The user's model: the first replica of this process. The others are copies of it.
        state: Its variables.

    Attributes:
        results: What the metrics of the model say of the rows of all replicas, after the newest stride.
    """

    def __init__(self, replicas: Replicas, model: Any, state: ModelState) -> None:
        self.replicas = replicas
        self._members = [Member(model, state)]
        self._copied: tuple[Any, bool] | None = None
        self._is_begun = False
        self._is_synchronized = False
        self._kinds: dict[int, tuple[Variables, Variables]] = {}  # of members, by place; looked for once for copies
        self._seen: dict[str, np.ndarray[Any, Any]] = {}  # what the user's model held when the newest stride ended
        self._warned: set[str] = set()
        self.results: Mapping[str, Any] = {}

    def forget(self) -> None:
        """The state of this process was set anew: it is compared again before training goes on."""
        self._is_begun = False

    def copy(self, key: Any, *, trains: bool) -> bool:
        """Make the copies for the further devices, once for each way in which the model is compiled.

        Args:
            key: Of another model than this one is now, it is another one.
            trains: Whether they have to train; copies that do can measure, too.

        Returns:
            Whether they are new, so that whatever was traced with older ones is of no use.

        Raises:
            BlueprintError: the model cannot be copied.
        """
        fits = self._copied is not None and self._copied[0] == key and self._copied[1] >= trains
        if len(self.replicas.devices) == 1 or fits:
            return False
        blueprint = Blueprint.of(self._members[0].model)
        for remark in blueprint.remarks:
            running_line().warn(EstimatorWarning(f"on several devices: {remark}"))
        del self._members[1:]
        for device in self.replicas.devices[1:]:
            with tf.device(device):
                copied = blueprint.build()
            self._members.append(Member(copied, ModelState(copied)))
        self._copied = key, trains
        self._kinds.clear()
        self.forget()
        return True

    def of_copies(self) -> dict[int, tf.Variable]:
        """Return the variables that only copies of the model hold, by their ids."""
        return {id(variable): variable for m in self._members[1:] for variable in m.state.variables().values()}

    def shared(self, step: Callable[[Any, Any], Any]) -> Callable[[Any], dict[str, Any]]:
        """Return a step in which every replica computes its rows and updates its weights by those of all.

        Args:
            step: Takes a model and a batch, returns metrics by name.
        """
        members, size = list(self._members), len(self._members)

        def shared(batch: Any) -> dict[str, Any]:
            found = self.replicas.run(
                lambda place, replica: of_share(step, members[place], Share(replica, batch, (place, size)))
            )
            return {of_replica(name, place): value for place, logs in enumerate(found) for name, value in logs.items()}

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
        workers = self.replicas.workers
        if workers is not None:
            at = {"the step of the newest checkpoint (is model_dir one folder for all?)": str(step)}
            workers.check_alike(at | {"the number of its devices": str(len(self.replicas.devices))})
        if self.replicas.gather([[self._is_begun]] * len(self._members)).all():
            return False
        if workers is not None:
            workers.check_alike(dict(parts()))
        self._kinds.clear()
        self._take_from_first()
        _LOG.info("%d replicas train together: %s", self.replicas.size, ", ".join(self.replicas.names))
        self._part_seeds()
        self._is_begun = self._is_synchronized = True
        self._note()
        return True

    def reset_metrics(self) -> None:
        """Start the means of the metrics anew."""
        for member in self._members:
            member.model.reset_metrics()

    def spread(self) -> None:
        """Give the copies what was set in the user's model since the newest stride, by a hook for example."""
        if len(self._members) == 1:
            return
        own, equal = self._own_and_equal(0)
        changed = {
            path: v for path, v in own.items() if path not in self._seen or (v.numpy() != self._seen[path]).any()
        }
        for place in range(1, len(self._members)):
            own_there, equal_there = self._own_and_equal(place)
            variables = own_there | equal_there
            for path, variable in {**equal, **changed}.items():
                variables[path].assign(variable)
        self._is_synchronized = self._is_synchronized and not changed

    def measure(self) -> None:
        """Let all measure one state; their random numbers stay their own.

        Raises:
            WorkersDifferError: the processes have different values.
            WorkerLostError: one of them is gone.
        """
        both = [self._own_and_equal(place) for place in range(len(self._members))]
        given = [own | equal for own, equal in both]
        for variables in given[1:]:
            put([variables[path] for path in given[0]], flattened(each.numpy() for each in given[0].values()))
        self._check_equal(given)

    def of_stride(self, made: Callable[[], Stride]) -> Stride:
        """Return what came of a stride in all replicas.

        Args:
            made: Makes the steps of this process.

        Raises:
            WorkersDifferError: they made other steps, or read other batches.
            WorkerLostError: one of them is gone.
        """
        with self.replicas.meeting():
            stride = made()
        if self._is_synchronized and len(self._members) > 1:  # later on, `spread` would hide it
            self._check_equal([self._own_and_equal(place)[1] for place in range(len(self._members))])
        self._is_synchronized = False
        self._note()
        kept = [[np.asarray(variable) for variable in member.metric_variables] for member in self._members]
        size = len(self._members)
        by_member = [metrics_of(stride.metrics, place, size) for place in range(size)]
        metrics = {name: value for name, value in by_member[0].items() if name not in (SEEN, WEIGHT)}
        all_parts = [
            parts_of(member, logs, states, stride)
            for member, logs, states in zip(self._members, by_member, kept, strict=True)
        ]
        rows = self.replicas.gather([[float(n) for n in np.concatenate(parts)] for parts in all_parts])
        ends = np.cumsum([len(part) for part in all_parts[0]])[:-1]
        marks, of_model, values, states = np.split(rows, ends, axis=1)
        if (marks[:, :3] != marks[0, :3]).any():
            raise self._read_otherwise(marks)
        self.results = self._results_with(states.sum(axis=0), kept[0])
        weights = marks[:, 4:] / max(marks[:, 4].sum(), 1e-30)
        means = shaped_like((weights * values).sum(axis=0), list(metrics.values()))
        everywhere = np.min(of_model, axis=0, initial=1.0)
        for name, mean, is_of_model in zip(metrics, means, everywhere, strict=True):
            # What a step of the user's returns by itself is about its last batch.
            metrics[name] = self.results[name] if is_of_model else as_floats({name: mean})[name]
        is_finite = bool(marks[:, 3].all()) and bool(np.all(np.isfinite(metrics.get("loss", 0.0))))
        return Stride(stride.steps, stride.ended, is_finite, metrics)

    def synchronize(self) -> None:
        """Give all replicas one state: what each learnt from its own rows is brought together.

        Moving statistics, and other numbers that no optimizer updates, become their mean; whole numbers, such
        as counts of steps, stay those of the first; the sums of metrics go to the first.

        Raises:
            WorkersDifferError: weights differ, because something else than an optimizer has changed them.
            WorkerLostError: one of them is gone.
        """
        if self._is_synchronized or not self._is_begun:
            return
        self.spread()  # a hook of this moment may have set something
        both = [self._own_and_equal(place) for place in range(len(self._members))]
        self._check_equal([equal for _, equal in both])
        floats = [{path: v for path, v in own.items() if v.dtype.is_floating} for own, _ in both]
        mean = self._total([variables.values() for variables in floats]) / self.replicas.size
        for variables in floats:
            put(variables.values(), mean)
        self._check_counts([{p: v for p, v in own.items() if not v.dtype.is_floating} for own, _ in both])
        self._put_metrics(self._total([member.metric_variables for member in self._members]))
        self._is_synchronized = True
        self._note()

    def _note(self) -> None:
        if len(self._members) > 1:
            own, _ = self._own_and_equal(0)
            self._seen = {path: np.array(variable) for path, variable in own.items()}

    def _put_metrics(self, sums: np.ndarray[Any, Any]) -> None:
        for place, member in enumerate(self._members, self.replicas.first):
            put(member.metric_variables, np.zeros_like(sums) if place else sums)

    def _results_with(self, states: np.ndarray[Any, Any], kept: list[np.ndarray[Any, Any]]) -> dict[str, Any]:
        first = self._members[0]
        put(first.metric_variables, states)
        results = as_floats(first.model.get_metrics_result())
        put(first.metric_variables, flattened(kept))
        return results

    def _own_and_equal(self, place: int) -> tuple[Variables, Variables]:
        """Return the variables that a replica changes by itself, and those that stay equal in all; by path."""
        if place not in self._kinds:
            kinds = self._members[place].own_and_equal()
            if len(self._members) == 1:
                return kinds  # what is trainable may change, without copies that would be made anew
            self._kinds[place] = kinds
        return self._kinds[place]

    def _check_equal(self, of_members: list[dict[str, tf.Variable]]) -> None:
        rows = self.replicas.gather(
            [[float(zlib.crc32(variable.numpy().tobytes())) for variable in each.values()] for each in of_members]
        )
        differing = [path for place, path in enumerate(of_members[0]) if (rows[:, place] != rows[0, place]).any()]
        if differing:
            raise WorkersDifferError(
                "the weights of the replicas have become different",
                found=f"{', '.join(differing[:6])}" + (f" and {len(differing) - 6} more" if len(differing) > 6 else ""),
                expected="weights that an optimizer updates, by gradients: these are summed over all replicas",
                fix="call self.optimizer.apply(gradients, weights) in train_step, and do not assign weights there",
            )

    def _check_counts(self, of_members: list[dict[str, tf.Variable]]) -> None:
        mean = self._total([variables.values() for variables in of_members]) / self.replicas.size
        own = [flattened(each.numpy() for each in variables.values()) for variables in of_members]
        differs = any((mean != numbers).any() for numbers in own)
        differ_somewhere = self.replicas.gather([[float(differs)]] * len(of_members)).any()
        if differ_somewhere and "counts" not in self._warned:
            self._warned.add("counts")
            text = (
                f"some of {', '.join(of_members[0])} have other values in other replicas, as each counts its own rows; "
                "those of the first are saved. Count steps, or measure with a keras.Metric, whose sums are brought "
                "together."
            )
            running_line().warn(EstimatorWarning(text, rule="KE403"))

    def _take_from_first(self) -> None:
        """Give all replicas the values of the first; its metrics go on, those of the others begin anew."""
        given = [{p: v for p, v in m.state.variables().items() if v.dtype != tf.string} for m in self._members]
        values = self._total([given[0].values()], counts=self.replicas.first == 0)
        for variables in given:
            put([variables[path] for path in given[0]], values)
        self._put_metrics(flattened(variable.numpy() for variable in self._members[0].metric_variables))

    def _total(self, of_members: list[Any], *, counts: bool = True) -> np.ndarray[Any, Any]:
        """Return the sums over all replicas, one after the other; of a process that counts for nothing, zeros."""
        rows = [flattened(variable.numpy() for variable in variables) for variables in of_members]
        rows = rows if counts else [np.zeros_like(row) for row in rows]  # times 0, NaN would stay
        starts = range(0, len(rows[0]), _NUMBERS_AT_ONCE)
        parts = ([row[start : start + _NUMBERS_AT_ONCE] for row in rows] for start in starts)
        return np.concatenate([np.zeros(0), *map(self.replicas.total, parts)])

    def _part_seeds(self) -> None:
        """Let each replica draw other random numbers; those of the first are the ones that are saved."""
        for place, member in enumerate(self._members, self.replicas.first):
            seeds = member.state.seeds()
            for variable in member.state.variables().values():
                if id(variable) in seeds and place:
                    variable.assign(parted_seed(variable.numpy(), place))

    def _read_otherwise(self, marks: np.ndarray[Any, Any]) -> WorkersDifferError:
        at = ", ".join(
            f"{name}: {int(row[0])} steps{', then the end' if row[1] else ''}"
            for name, row in zip(self.replicas.names, marks, strict=True)
        )
        return WorkersDifferError(
            "the processes read other batches from the same data",
            found=f"{at}; the rows differ" if (marks[:, 2] != marks[0, 2]).any() else at,
            expected="the same batches in the same order everywhere: each process takes its own rows of every batch",
            fix="give what shuffles or draws a seed, and all processes the same: keras.utils.set_random_seed(1), "
            "dataset.shuffle(1000, seed=1); or return arrays from the input_fn",
        )


def together_of(config: RunConfig, model: Any, state: ModelState) -> tuple[Together | None, str]:
    """Return who shares the steps, if more than one does, and the first device of this process."""
    task, devices = task_of(config), devices_of(config)
    workers = None
    if len(task.trainers) > 1:
        workers = Workers(task, patience_secs(config))
    if workers is None and len(devices) == 1:
        return None, devices[0]
    if config.plan in BY_XLA:
        text = f'plan="{config.plan}": XLA compiles no sums over replicas, so the steps run with plan="graph"'
        warnings.warn(text, EstimatorWarning, stacklevel=2)
    return Together(Replicas(devices, workers), model, state), devices[0]
