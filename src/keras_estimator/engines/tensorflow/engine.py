"""The engine for Keras on TensorFlow: compiled loops around the live model's own steps."""

from __future__ import annotations

import contextlib
import dataclasses
import warnings
import weakref
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from keras_estimator.arguments import MetricFunction
from keras_estimator.engines.engine import State, Stride
from keras_estimator.engines.tensorflow import export
from keras_estimator.engines.tensorflow.added_metrics import MeasuringLoop, Witness
from keras_estimator.engines.tensorflow.batches import Ports, check_labels, with_class_weight
from keras_estimator.engines.tensorflow.dependent_rows import check_rows
from keras_estimator.engines.tensorflow.feeds import AnyFeed, open_feed
from keras_estimator.engines.tensorflow.loops import CompiledLoop, EagerLoop, as_floats, named_tensors
from keras_estimator.engines.tensorflow.predicting import Predicting
from keras_estimator.engines.tensorflow.state import ModelState, written_variables
from keras_estimator.engines.tensorflow.together import Together
from keras_estimator.engines.tensorflow.workers import Workers
from keras_estimator.errors import BlueprintError, ModelError, NotCompiledError
from keras_estimator.inputs import Arrays, Frame, Source, as_arrays, match_names
from keras_estimator.model import half_built, numpy_calls
from keras_estimator.model.computation.fingerprint import take_fingerprints
from keras_estimator.model.keras_private import all_layers, build_for_training, compiled_as, has_own, tracks_loss
from keras_estimator.outputs import by_name
from keras_estimator.run_config import ModeKeys, RunConfig, task_of

_PATIENCE_SECS = 7200.0  # for the others of a cluster to start, as tf.estimator had it
_Loop = CompiledLoop | EagerLoop | MeasuringLoop


class TensorFlowEngine:
    """Runs one live Keras model; nothing of it is cloned, and no config of it is read.

    Args:
        model: Any `keras.Model`, built or not, compiled or not.
        config: Its `plan` decides how a loop is compiled: "graph" (a graph around the steps), "step"
            (XLA compiles the step inside that graph), "eager" (Python). "auto" is what `compile` says.

    Raises:
        ModelError: `model` is not a Keras 3 model.
    """

    def __init__(self, model: Any, config: RunConfig) -> None:
        _check_model(model)
        self.model = model
        self._wanted_plan = config.plan
        self._config = config
        self._loops: dict[Any, _Loop] = {}
        self._train_key: Any = None
        self._testing: weakref.WeakKeyDictionary[AnyFeed, _Loop] = weakref.WeakKeyDictionary()
        self._state = ModelState(model)
        self._together = _together(config, model, self._state)
        self._of_all = False  # whether the newest metrics are those of all processes
        self._spec: Any = None
        numpy_calls.install()
        half_built.complete(model)
        self._predicting = Predicting(model, self._state, lambda: self.plan == "eager")

    @property
    def plan(self) -> str:
        """How steps are run; decided by the model's own settings alone, so that a resumed run agrees."""
        if self._wanted_plan != "auto":
            return self._wanted_plan
        if self._together is not None and not self.model.run_eagerly:
            return "graph"  # XLA compiles no sums over processes
        if self.model.run_eagerly:
            return "eager"
        return "step" if self.model.jit_compile else "graph"

    @property
    def ports(self) -> Ports:
        """The named inputs and outputs of the model as it is now."""
        return Ports(self.model)

    def open(self, source: Source, *, whole: bool = False) -> AnyFeed:
        if isinstance(source.data, Arrays):
            source = dataclasses.replace(source, data=self._named(source.data, whole=whole))
        return open_feed(source)

    def _named(self, data: Arrays, *, whole: bool) -> Arrays:
        ports = self.ports
        x = match_names(data.x, ports.inputs, what="inputs", keeps_dict=ports.takes_dict)
        has_all = isinstance(data.x, Mapping) and ports.inputs is not None and set(ports.inputs) <= set(data.x)
        if whole and has_all and not _has_own_evaluation(self.model):
            x = dict(data.x)  # the step picks what the model takes
        y = match_names(data.y, ports.outputs, what="outputs", keeps_dict=True) if isinstance(data.y, Frame) else data.y
        return dataclasses.replace(data, x=x, y=y)

    def describe(self, feed: AnyFeed) -> str:
        return f"{tf.nest.map_structure(str, feed.spec)} x {len(feed) or 'unknown'} {feed.describe()}"

    def prepare(
        self,
        feed: AnyFeed,
        mode: str,
        class_weight: Mapping[Any, Any] | None = None,
        metric_functions: Sequence[MetricFunction] = (),
    ) -> None:
        self._spec = feed.spec
        if mode == ModeKeys.PREDICT:
            self._predicting.prepare(feed.spec)
            self.ready_to_use()
            return
        self._check_compiled("train" if mode == ModeKeys.TRAIN else "evaluate")
        check_labels(self.model, feed.spec)
        if mode == ModeKeys.TRAIN:
            self._build(feed.spec)
            self._state.adopt_idle()
            self._build_for_training(feed.spec)
        if metric_functions and _has_own_evaluation(self.model):
            self._predicting.prepare(feed.spec)
        loop = self._loop(mode, class_weight, tuple(metric_functions))
        with numpy_calls.explained():
            is_traced = loop.prepare(feed)
        if is_traced and loop.graph is not None:
            self._state.note_captured(loop.graph.variables)
        if mode == ModeKeys.TRAIN:
            self._state.settle(complete=self.plan != "eager")
            self._state.put_trained()
        else:
            self._testing[feed] = loop
            self.ready_to_use()

    def ready_to_use(self) -> None:
        self._state.settle(complete=False)
        self._state.put_averages()

    def train(self, feed: AnyFeed, steps: int) -> Stride:
        self._state.put_trained()  # a hook may have used the averages
        self._of_all = self._together is not None
        if self._together is None:
            return self._loops[self._train_key](feed, steps)
        with self._together.workers.losses_explained():
            return self._together.of_stride(self._loops[self._train_key](feed, steps))

    def metrics_of_pass(self, last: Mapping[str, Any]) -> Mapping[str, Any]:
        if not has_own(self.model, "train_step", "test_step"):
            return last
        together = self._together if self._of_all else None
        of_model = as_floats(self.model.get_metrics_result()) if together is None else together.results
        if of_model.keys() != last.keys():
            return last
        if "loss" not in of_model or tracks_loss(self.model):
            return of_model
        # A tracker that no step updates says 0.0, in Keras without a word; the last step's loss says more.
        return {**of_model, "loss": last["loss"]}

    def test(self, feed: AnyFeed, steps: int) -> Stride:
        self._of_all = False
        return self._testing[feed](feed, steps)

    def added_metrics(self, feed: AnyFeed) -> Mapping[str, Any]:
        loop = self._testing[feed]
        return loop.results() if isinstance(loop, MeasuringLoop) else {}

    def reset_metrics(self) -> None:
        self.model.reset_metrics()

    @contextlib.contextmanager
    def kept(self, feed: AnyFeed) -> Iterator[None]:
        loop = self._testing[feed]
        if loop.graphs:
            touched = [variable for graph in loop.graphs for variable in written_variables(graph, graph.variables)]
        else:
            touched = list(self._state.variables().values())
        metrics = [v.value for v in self.model.metrics_variables]
        with self._state.kept({id(v): v for v in (*touched, *metrics)}.values()):
            self.model.reset_metrics()
            if isinstance(loop, MeasuringLoop):
                loop.reset()
            yield

    def predict(self, feed: AnyFeed) -> Iterator[Any]:
        yield from self._predicting.each(feed)

    def predict_arrays(self, x: Any) -> Any:
        ports = self.ports
        self.ready_to_use()
        x = match_names(as_arrays(x), ports.inputs, what="inputs", keeps_dict=ports.takes_dict)
        return self._predicting.on_arrays(x)

    def output_names(self) -> list[str] | None:
        return self.ports.outputs

    def read_state(self) -> State:
        return self._state.read()

    def write_state(self, state: State, *, source: str) -> None:
        self._state.write(state, source=source)
        if self._together is not None:
            self._together.forget()

    def write_weights(self, state: State) -> None:
        self._state.write_weights(state)

    @contextlib.contextmanager
    def joined(self) -> Iterator[None]:
        if self._together is None:
            yield
            return
        with self._together.workers.watched():
            yield

    def begin_together(self, step: int, data: str) -> None:
        if self._together is None:
            return
        if self._together.begin(step, lambda: {"the data": data} | self._computation()):
            check_rows(self.model, refuses=self._config.dependent_rows == "refuse")

    def gather(self, numbers: Sequence[float]) -> np.ndarray[Any, Any]:
        return np.array([numbers]) if self._together is None else self._together.workers.gather(numbers)

    def synchronize(self) -> None:
        if self._together is not None:
            self._together.synchronize()

    def export(self, directory_base: str | Path, **options: Any) -> str:
        with numpy_calls.explained():
            return export.export_saved_model(
                self.model,
                self._predicting.step,
                self._predicting.spec or _features(self._spec),
                directory_base,
                **options,
            )

    def _key(self, mode: str, *further: Any) -> tuple[Any, ...]:
        # A model that is compiled anew, or another step put on it, needs other loops.
        step = self.model.train_step if mode == ModeKeys.TRAIN else self.model.test_step
        function = getattr(step, "__func__", step)
        return mode, self.plan, *further, self.model.optimizer, compiled_as(self.model), function

    def _loop(
        self, mode: str, class_weight: Mapping[Any, Any] | None, metric_functions: tuple[MetricFunction, ...]
    ) -> _Loop:
        key = self._key(mode, repr(class_weight), metric_functions)
        if mode == ModeKeys.TRAIN:
            self._train_key = key
        if key in self._loops:
            return self._loops[key]
        trains = mode == ModeKeys.TRAIN
        guards_loss = trains and self._together is None  # of several processes none may leave a stride alone
        step: Any = self._train_step(class_weight) if trains else self._test_step
        step = self._measured_step if metric_functions else step
        if self.plan == "eager":
            step = self._rehearsed(step, complete=trains)
        if metric_functions:
            self._loops[key] = MeasuringLoop(step, metric_functions, self._config, plan=self.plan)
        elif self.plan == "eager":
            self._loops[key] = EagerLoop(step, guards_loss=guards_loss)
        else:
            self._loops[key] = CompiledLoop(step, jit=self.plan == "step", guards_loss=guards_loss)
        return self._loops[key]

    def _rehearsed(self, step: Any, *, complete: bool) -> Any:
        def rehearsed(batch: Any) -> Any:
            self._state.rehearse(lambda: step(batch), complete=complete)
            return step(batch)

        return rehearsed

    def _train_step(self, class_weight: Mapping[Any, Any] | None) -> Any:
        def train_step(batch: Any) -> Any:
            ports = self.ports
            fitted = ports.fit(batch)
            if class_weight:
                fitted = with_class_weight(fitted, class_weight, ports.outputs)
            return self.model.train_step(_as_given(fitted, batch))

        return train_step if self._together is None else self._together.shared(train_step)

    def _test_step(self, batch: Any) -> Any:
        return self.model.test_step(_as_given(self.ports.fit(batch), batch))

    def _measured_step(self, batch: Any) -> tuple[dict[str, Any], dict[str, Any]]:
        """Return the metrics of a batch, and what `predict` gives for it."""
        fitted = _as_given(self.ports.fit(batch), batch)
        if _has_own_evaluation(self.model):
            outputs = self._predicting.aside(_features(batch))
            logs = named_tensors(self.model.test_step)(fitted)
        else:
            witness = Witness(self.model)
            logs = named_tensors(lambda given: keras.Model.test_step(witness, given))(fitted)
            outputs = witness.answer
        return logs, by_name(outputs, self.output_names())

    def _build(self, spec: Any) -> None:
        """Make the weights, as calling the model would, without data."""
        if all(layer.built for layer in all_layers(self.model)):
            return
        with warnings.catch_warnings(), numpy_calls.explained(), contextlib.suppress(NotImplementedError):
            # What `call` does not reach (of a GAN, say: it may have no call) is built by the model's own train_step.
            if has_own(self.model, "train_step"):
                warnings.filterwarnings("ignore", r"`build\(\)` was called on layer|.*looks like it has unbuilt state")
            self._predicting.prepare(spec)
        self._state.settle(complete=False)

    def _build_for_training(self, spec: Any) -> None:
        if has_own(self.model, "train_step") or not all(layer.built for layer in all_layers(self.model)):
            return
        labels = spec[1] if isinstance(spec, tuple | list) and len(spec) > 1 else None
        if isinstance(labels, tf.TensorSpec) and labels.shape.rank is not None:
            build_for_training(self.model, keras.KerasTensor(tuple(labels.shape), labels.dtype.name))
        else:
            build_for_training(self.model, None)

    def _computation(self) -> dict[str, str]:
        """Return hashes of what the model computes; empty ones of a model of which no copy can be made."""
        try:
            found = take_fingerprints(self.model, None)[0].fingerprint
            hashes = found.inference.hash, found.training.hash
        except BlueprintError:
            hashes = "", ""
        return dict(zip(("what the model answers", "what a step of training does"), hashes, strict=True))

    def _check_compiled(self, verb: str) -> None:
        if not self.model.compiled:
            raise NotCompiledError(
                f"the model has to be compiled before it can {verb}",
                found=f"`{self.model.name}` without compile()",
                expected="an optimizer and a loss",
                fix=f'estimator.model.compile(optimizer="adam", loss="mse"), then {verb} again',
            )


def _together(config: RunConfig, model: Any, state: ModelState) -> Together | None:
    task = task_of(config)
    if len(task.trainers) < 2:
        return None
    return Together(Workers(task, float(config.session_creation_timeout_secs or _PATIENCE_SECS)), model, state)


def _has_own_evaluation(model: Any) -> bool:
    """Tell whether what `predict` gives may not be what is measured."""
    return has_own(model, "test_step", "predict_step")


def _features(spec: Any) -> Any:
    return spec[0] if isinstance(spec, tuple | list) else spec


def _as_given(fitted: tuple[Any, ...], batch: Any) -> Any:
    """Return a batch in the form it came in, because a train_step of the user's unpacks that."""
    if isinstance(batch, tuple | list) or len(fitted) > 1 or isinstance(fitted[0], tuple | list):
        return fitted  # several inputs in a list of their own would be taken for inputs and labels
    return fitted[0]


def _check_model(model: Any) -> None:
    if isinstance(model, keras.Model):
        return
    package = type(model).__module__.partition(".")[0]
    old = package == "tf_keras"
    raise ModelError(
        "this is not a Keras 3 model",
        found=f"{type(model).__module__}.{type(model).__qualname__}",
        expected="a keras.Model (Sequential, Functional or subclassed)",
        fix="unset TF_USE_LEGACY_KERAS and build the model with keras 3" if old else "pass the model itself",
    )
