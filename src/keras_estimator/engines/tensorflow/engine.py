"""The engine for Keras on TensorFlow: compiled loops around the live model's own steps."""

from __future__ import annotations

import contextlib
import dataclasses
import warnings
from collections.abc import Iterator, Mapping, Sequence, Set
from pathlib import Path
from typing import Any

import keras
import tensorflow as tf

from keras_estimator.engines.engine import MetricFn, State, Stride
from keras_estimator.engines.tensorflow import export
from keras_estimator.engines.tensorflow.added_metrics import AddedMetrics, predictions_of, taken_out
from keras_estimator.engines.tensorflow.batches import Ports, check_labels, with_class_weight
from keras_estimator.engines.tensorflow.feeds import AnyFeed, open_feed
from keras_estimator.engines.tensorflow.loops import CompiledLoop, EagerLoop, as_floats
from keras_estimator.engines.tensorflow.predicting import Predicting
from keras_estimator.engines.tensorflow.state import ModelState, written_variables
from keras_estimator.errors import EstimatorWarning, ModelError, NotCompiledError
from keras_estimator.inputs import Arrays, Frame, Source, as_arrays, match_names
from keras_estimator.model import half_built, numpy_calls
from keras_estimator.model.keras_private import all_layers, build_for_training, compiled_as, has_own, tracks_loss
from keras_estimator.outputs import by_name
from keras_estimator.run_config import ModeKeys, RunConfig


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
        self._loops: dict[Any, tuple[CompiledLoop | EagerLoop, AddedMetrics]] = {}
        self._train_key: Any = None
        self._test_key: Any = None
        self._said: set[str] = set()
        self.added_names: frozenset[str] = frozenset()
        self._state = ModelState(model)
        self._spec: Any = None
        numpy_calls.install()
        half_built.complete(model)
        self._predicting = Predicting(model, self._state, lambda: self.plan == "eager")

    @property
    def plan(self) -> str:
        """How steps are run; decided by the model's own settings alone, so that a resumed run agrees."""
        if self._wanted_plan != "auto":
            return self._wanted_plan
        if self.model.run_eagerly:
            return "eager"
        return "step" if self.model.jit_compile else "graph"

    @property
    def ports(self) -> Ports:
        """The named inputs and outputs of the model as it is now."""
        return Ports(self.model)

    def open(self, source: Source) -> AnyFeed:
        if isinstance(source.data, Arrays):
            source = dataclasses.replace(source, data=self._named(source.data))
        return open_feed(source)

    def _named(self, data: Arrays) -> Arrays:
        ports = self.ports
        x = match_names(data.x, ports.inputs, what="inputs", keeps_dict=ports.takes_dict)
        y = match_names(data.y, ports.outputs, what="outputs", keeps_dict=True) if isinstance(data.y, Frame) else data.y
        return dataclasses.replace(data, x=x, y=y)

    def describe(self, feed: AnyFeed) -> str:
        return f"{tf.nest.map_structure(str, feed.spec)} x {len(feed) or 'unknown'} {feed.describe()}"

    def prepare(
        self,
        feed: AnyFeed,
        mode: str,
        class_weight: Mapping[Any, Any] | None = None,
        metric_fns: Sequence[MetricFn] = (),
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
        loop, added = self._loop(mode, class_weight, metric_fns)
        with numpy_calls.explained():
            is_traced = loop.prepare(feed)
        if is_traced and loop.graph is not None:
            self._state.note_captured(loop.graph.variables, besides=added.variables)
        if mode == ModeKeys.TRAIN:
            self._state.settle(complete=self.plan != "eager")
            self._state.put_trained()
        else:
            self.ready_to_use()

    def ready_to_use(self) -> None:
        self._state.settle(complete=False)
        self._state.put_averages()

    def train(self, feed: AnyFeed, steps: int) -> Stride:
        self._state.put_trained()  # a hook may have used the averages
        self.added_names = frozenset()
        return self._loops[self._train_key][0](feed, steps)

    def metrics_of_pass(self, last: Mapping[str, Any]) -> Mapping[str, Any]:
        if not has_own(self.model, "train_step", "test_step"):
            return last
        of_model = as_floats(self.model.get_metrics_result())
        added = {name: last[name] for name in self.added_names}
        if of_model.keys() | added.keys() != last.keys():
            return last
        of_model |= added
        if "loss" not in of_model or tracks_loss(self.model):
            return of_model
        # A tracker that no step updates says 0.0, in Keras without a word; the last step's loss says more.
        return {**of_model, "loss": last["loss"]}

    def test(self, feed: AnyFeed, steps: int) -> Stride:
        stride = self._loops[self._test_key][0](feed, steps)
        own, added = taken_out(stride.metrics)
        self._say_replaced(own.keys() & added.keys())
        self.added_names = frozenset(added)
        return dataclasses.replace(stride, metrics=own | added)

    def _say_replaced(self, names: Set[str]) -> None:
        for name in sorted(names - self._said):
            self._said.add(name)
            text = f"the evaluation reports `{name}` as a function of add_metrics gives it, and not that of the model"
            warnings.warn(f"{text}. Give it another name to have both.", EstimatorWarning, stacklevel=2)

    def reset_metrics(self) -> None:
        self.model.reset_metrics()

    @contextlib.contextmanager
    def kept(self) -> Iterator[None]:
        loop, added = self._loops[self._test_key]
        if loop.graph is None:
            touched = list(self._state.variables().values())
        else:
            touched = written_variables(loop.graph, loop.graph.variables)
        metrics = [v.value for v in self.model.metrics_variables]
        with self._state.kept({id(v): v for v in (*touched, *metrics)}.values()):
            self.model.reset_metrics()
            added.reset()
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

    def write_weights(self, state: State) -> None:
        self._state.write_weights(state)

    def export(self, directory_base: str | Path, **options: Any) -> str:
        with numpy_calls.explained():
            return export.export_saved_model(
                self.model,
                self._predicting.step,
                self._predicting.spec or _features(self._spec),
                directory_base,
                **options,
            )

    def _key(self, mode: str, *how: Any) -> tuple[Any, ...]:
        # A model that is compiled anew, or another step put on it, needs other loops.
        step = self.model.train_step if mode == ModeKeys.TRAIN else self.model.test_step
        function = getattr(step, "__func__", step)
        return mode, self.plan, *how, self.model.optimizer, compiled_as(self.model), function

    def _loop(
        self, mode: str, class_weight: Mapping[Any, Any] | None, metric_fns: Sequence[MetricFn]
    ) -> tuple[CompiledLoop | EagerLoop, AddedMetrics]:
        key = self._key(mode, repr(class_weight), tuple(metric_fns))
        if mode == ModeKeys.TRAIN:
            self._train_key = key
        else:
            self._test_key = key
        if key not in self._loops:
            added = AddedMetrics(metric_fns, self._config)
            step = self._train_step(class_weight) if mode == ModeKeys.TRAIN else self._test_step(added)
            guards = mode == ModeKeys.TRAIN
            loop = (
                EagerLoop(self._rehearsed(step, added, complete=guards), guards_loss=guards)
                if self.plan == "eager"
                else CompiledLoop(step, jit=self.plan == "step", guards_loss=guards)
            )
            self._loops[key] = loop, added
        return self._loops[key]

    def _rehearsed(self, step: Any, added: AddedMetrics, *, complete: bool) -> Any:
        def rehearse(batch: Any) -> None:
            step(batch)
            added.reset()

        def rehearsed(batch: Any) -> Any:
            self._state.rehearse(lambda: rehearse(batch), complete=complete)
            return step(batch)

        return rehearsed

    def _train_step(self, class_weight: Mapping[Any, Any] | None) -> Any:
        def train_step(batch: Any) -> Any:
            ports = self.ports
            fitted = ports.fit(batch)
            if class_weight:
                fitted = with_class_weight(fitted, class_weight, ports.outputs)
            return self.model.train_step(_as_given(fitted, batch))

        return train_step

    def _test_step(self, added: AddedMetrics) -> Any:
        def plain(batch: Any) -> Any:
            return self.model.test_step(_as_given(self.ports.fit(batch), batch))

        def with_added(batch: Any) -> Any:
            fitted = self.ports.fit(batch)
            with predictions_of(self.model, fitted[0]) as predicted:
                logs = self.model.test_step(_as_given(fitted, batch))
                outputs = by_name(predicted(), self.output_names())
            features, labels, weight = (*_parts(batch), None, None)[:3]
            parts = {"features": features, "labels": labels, "predictions": outputs, "sample_weight": weight}
            return logs | added.update(parts) if isinstance(logs, dict) else logs

        return with_added if added.functions else plain

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

    def _check_compiled(self, verb: str) -> None:
        if not self.model.compiled:
            raise NotCompiledError(
                f"the model has to be compiled before it can {verb}",
                found=f"`{self.model.name}` without compile()",
                expected="an optimizer and a loss",
                fix=f'estimator.model.compile(optimizer="adam", loss="mse"), then {verb} again',
            )


def _features(spec: Any) -> Any:
    return _parts(spec)[0]


def _parts(batch: Any) -> tuple[Any, ...]:
    return tuple(batch) if isinstance(batch, tuple | list) else (batch,)


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
