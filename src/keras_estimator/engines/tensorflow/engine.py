"""The engine for Keras on TensorFlow: compiled loops around the live model's own steps."""

from __future__ import annotations

import contextlib
import dataclasses
import warnings
import weakref
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from keras_estimator.arguments import MetricFunction
from keras_estimator.engines.engine import State, Stride
from keras_estimator.engines.tensorflow import export
from keras_estimator.engines.tensorflow.added_metrics import MeasuringLoop
from keras_estimator.engines.tensorflow.alike import to_compare
from keras_estimator.engines.tensorflow.batches import Ports, check_compiled, check_labels
from keras_estimator.engines.tensorflow.dependent_rows import check_any_size, check_rows
from keras_estimator.engines.tensorflow.feeds import IteratorFeed, open_feed
from keras_estimator.engines.tensorflow.loops import CompiledLoop, EagerLoop, as_floats
from keras_estimator.engines.tensorflow.parts import AnyFeed, PartFeed
from keras_estimator.engines.tensorflow.plans import Plans
from keras_estimator.engines.tensorflow.predicting import Predicting
from keras_estimator.engines.tensorflow.stacked import StackedLoop
from keras_estimator.engines.tensorflow.state import ModelState, written_variables
from keras_estimator.engines.tensorflow.steps import (
    Step,
    features,
    has_own_evaluation,
    measured_step,
    test_step,
    train_step,
)
from keras_estimator.engines.tensorflow.together import together_of
from keras_estimator.engines.tensorflow.workers import Workers
from keras_estimator.errors import ModelError
from keras_estimator.input_functions import InputContext
from keras_estimator.inputs import Arrays, Frame, Source, as_arrays, match_names
from keras_estimator.model import half_built, numpy_calls
from keras_estimator.model.keras_private import all_layers, build_for_training, compiled_as, has_own, tracks_loss
from keras_estimator.run_config import ModeKeys, RunConfig

_Loop = CompiledLoop | StackedLoop | EagerLoop | MeasuringLoop


class TensorFlowEngine:
    """Runs one live Keras model; nothing of it is cloned, and no config of it is read.

    Args:
        model: Any `keras.Model`, built or not, compiled or not.
        config: Its `plan` decides how a loop is compiled (see plans.py).

    Raises:
        ModelError: `model` is not a Keras 3 model.
    """

    def __init__(self, model: Any, config: RunConfig) -> None:
        _check_model(model)
        self.model = model
        self._config = config
        self._loops: dict[Any, _Loop] = {}
        self._train_key: Any = None
        # The loop of each feed, and whether all replicas share it.
        self._testing: weakref.WeakKeyDictionary[AnyFeed, tuple[_Loop, bool]] = weakref.WeakKeyDictionary()
        self._state = ModelState(model)
        self._together, self._device = together_of(config, model, self._state)
        self._plans = Plans(model, config.plan, is_shared=self._together is not None)
        self._of_all = False  # whether the newest metrics are those of all replicas
        self._is_joined = False
        self._probed: Any = None
        self._spec: Any = None
        numpy_calls.install()
        half_built.complete(model)
        self._predicting = Predicting(model, self._state, lambda: self.plan == "eager")

    @property
    def plan(self) -> str:
        """How the steps of training are run."""
        return self._plans.of()

    @property
    def _workers(self) -> Workers | None:
        """The processes that train together, if there are several."""
        return None if self._together is None else self._together.replicas.workers

    @property
    def ports(self) -> Ports:
        """The named inputs and outputs of the model as it is now."""
        return Ports(self.model)

    def open(self, source: Source, *, whole: bool = False) -> AnyFeed:
        if isinstance(source.data, Arrays):
            source = dataclasses.replace(source, data=self._named(source.data, whole=whole))
        feed = open_feed(source)
        if source.is_part and self._workers is not None and isinstance(feed, IteratorFeed):
            return PartFeed(feed, self._workers)
        return feed

    def _named(self, data: Arrays, *, whole: bool) -> Arrays:
        ports = self.ports
        x = match_names(data.x, ports.inputs, what="inputs", keeps_dict=ports.takes_dict)
        has_all = isinstance(data.x, Mapping) and ports.inputs is not None and set(ports.inputs) <= set(data.x)
        if whole and has_all and not has_own_evaluation(self.model):
            x = dict(data.x)  # the step picks what the model takes
        y = match_names(data.y, ports.outputs, what="outputs", keeps_dict=True) if isinstance(data.y, Frame) else data.y
        return dataclasses.replace(data, x=x, y=y)

    def input_context(self, mode: str) -> InputContext:
        together = self._together
        if together is None or not (mode == ModeKeys.TRAIN or (mode == ModeKeys.EVAL and self._shares_evaluation())):
            return InputContext()
        workers = together.replicas.workers
        pipelines = (1, 0) if workers is None else (workers.size, workers.index)
        return InputContext(*pipelines, together.replicas.size)

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
        self._state.may_gain_variables()
        if mode == ModeKeys.PREDICT:
            self._predicting.prepare(feed.spec)
            self.ready_to_use()
            return
        check_compiled(self.model, "train" if mode == ModeKeys.TRAIN else "evaluate")
        check_labels(self.model, feed.spec)
        if mode == ModeKeys.TRAIN:
            self._build(feed.spec)
            self._state.adopt_idle()
            self._build_for_training(feed.spec)
        is_shared = self._together is not None and (mode == ModeKeys.TRAIN or self._shares_evaluation(metric_functions))
        if is_shared:
            check_any_size(self.model)
            self._copy(feed.spec, trains=mode == ModeKeys.TRAIN)
        if metric_functions and has_own_evaluation(self.model):
            self._predicting.prepare(feed.spec)
        with numpy_calls.explained():
            loop = self._loop_for(feed, mode, class_weight, tuple(metric_functions))
            is_traced = loop.prepare(feed)
        if is_traced and loop.graph is not None:
            of_copies = self._together.of_copies() if self._together is not None else {}
            self._state.note_captured(v for v in loop.graph.variables if id(v) not in of_copies)
        if mode == ModeKeys.TRAIN:
            self._state.settle(complete=self.plan != "eager")
            self._state.put_trained()
        else:
            self._testing[feed] = loop, is_shared
            self._state.begin()
            self.ready_to_use()

    def ready_to_use(self) -> None:
        self._state.may_gain_variables()
        self._state.settle(complete=False)
        self._state.put_averages()

    def train(self, feed: AnyFeed, steps: int) -> Stride:
        self._state.put_trained()  # a hook may have used the averages
        loop, self._of_all = self._loops[self._train_key], self._together is not None
        if loop.graphs:
            self._state.gains_no_variables()  # nothing but compiled steps runs until a hook looks at the model
        if self._together is None:
            return loop(feed, steps)
        self._together.spread()
        return self._together.of_stride(lambda: loop(feed, steps))

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
        loop, self._of_all = self._testing[feed]
        if self._together is None or not self._of_all:
            return loop(feed, steps)
        agreed = int(self.gather([steps]).min())
        return self._together.of_stride(lambda: loop(feed, agreed))

    def added_metrics(self, feed: AnyFeed) -> Mapping[str, Any]:
        loop, _ = self._testing[feed]
        return loop.results() if isinstance(loop, MeasuringLoop) else {}

    def reset_metrics(self) -> None:
        self.model.reset_metrics() if self._together is None else self._together.reset_metrics()

    @contextlib.contextmanager
    def kept(self, feed: AnyFeed) -> Iterator[None]:
        loop, is_shared = self._testing[feed]
        together = self._together if is_shared else None
        if loop.graphs:
            touched = [variable for graph in loop.graphs for variable in written_variables(graph, graph.variables)]
        else:
            touched = list(self._state.variables().values())
        metrics = [v.value for v in self.model.metrics_variables]
        of_copies = together.of_copies().values() if together is not None else ()
        with contextlib.ExitStack() as inside:
            if together is not None:
                inside.enter_context(self.joined())
            inside.enter_context(self._state.kept({id(v): v for v in (*touched, *metrics, *of_copies)}.values()))
            if together is not None:
                together.measure()
                self._check_rows()
            self.reset_metrics()
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

    def start_from(self, choose: Callable[[Any], State]) -> None:
        self._state.start_from(choose)

    @contextlib.contextmanager
    def joined(self) -> Iterator[None]:
        if self._workers is None or self._is_joined:
            yield
            return
        self._is_joined = True
        try:
            with self._workers.watched():
                yield
        finally:
            self._is_joined = False

    def begin_together(self, step: int, data: str) -> None:
        if self._together is None:
            return
        if self._together.begin(step, lambda: to_compare(self.model, self._state, data, self._config)):
            self._check_rows()

    def gather(self, numbers: Sequence[float]) -> np.ndarray[Any, Any]:
        return np.array([numbers]) if self._workers is None else self._workers.gather(numbers)

    def refresh(self) -> None:
        self._state.may_gain_variables()

    def synchronize(self) -> None:
        if self._together is not None:
            self._together.synchronize()

    def export(self, directory_base: str | Path, **options: Any) -> str:
        with numpy_calls.explained():
            return export.export_saved_model(
                self.model,
                self._predicting.step,
                self._predicting.spec or features(self._spec),
                directory_base,
                **options,
            )

    def _shares_evaluation(self, metric_functions: Sequence[MetricFunction] = ()) -> bool:
        """Tell whether all replicas measure a part each; functions that need all rows see them in each process."""
        return self._together is not None and self._config.eval_distribute is not None and not metric_functions

    def _copy(self, spec: Any, *, trains: bool) -> None:
        """Give further devices their copies of the model, if there are any."""
        assert self._together is not None
        self._build(spec)
        if self._together.copy((self._key(ModeKeys.TRAIN), self._key(ModeKeys.EVAL)), trains=trains):
            self._loops.clear()  # they run on older copies

    def _check_rows(self) -> None:
        """Probe the rows, once for each way in which the model is compiled and each kind of data."""
        key = self._key(ModeKeys.TRAIN), self._key(ModeKeys.EVAL), repr(self._spec)
        if key != self._probed:
            check_rows(self.model, self._spec, refuses=self._config.dependent_rows == "refuse")
            self._probed = key

    def _key(self, mode: str, *further: Any) -> tuple[Any, ...]:
        # A model that is compiled anew, or another step put on it, needs other loops.
        step = self.model.train_step if mode == ModeKeys.TRAIN else self.model.test_step
        function = getattr(step, "__func__", step)
        return mode, self._plans.of(mode), *further, self.model.optimizer, compiled_as(self.model), function

    def _loop_for(self, feed: AnyFeed, mode: str, *further: Any) -> _Loop:
        loop = self._loop(mode, *further)
        if self._plans.is_by_xla(mode) and (obstacle := loop.obstacle(feed)):
            self._plans.refuse(mode, obstacle)
            loop = self._loop(mode, *further)
        return loop

    def _loop(
        self, mode: str, class_weight: Mapping[Any, Any] | None, metric_functions: tuple[MetricFunction, ...]
    ) -> _Loop:
        key = self._key(mode, repr(class_weight), metric_functions)
        if mode == ModeKeys.TRAIN:
            self._train_key = key
        if key in self._loops:
            return self._loops[key]
        trains = mode == ModeKeys.TRAIN
        guards_loss = trains and self._workers is None  # of several processes none may leave a stride alone
        of_model = measured_step(self._predicting.aside) if metric_functions else test_step
        of_model = train_step(class_weight) if trains else of_model
        step = self._everywhere(of_model, is_shared=trains or self._shares_evaluation(metric_functions))
        plan = self._plans.of(mode)
        if plan == "eager":
            step = self._rehearsed(step, complete=trains)
        if metric_functions:
            self._loops[key] = MeasuringLoop(step, metric_functions, self._config, plan=plan)
        elif plan == "eager":
            self._loops[key] = EagerLoop(step, guards_loss=guards_loss)
        elif plan == "stacked":
            self._loops[key] = StackedLoop(step, guards_loss=guards_loss)
        else:
            self._loops[key] = CompiledLoop(step, jit=plan == "step", guards_loss=guards_loss)
        return self._loops[key]

    def _rehearsed(self, step: Any, *, complete: bool) -> Any:
        def rehearsed(batch: Any) -> Any:
            self._state.begin_by(lambda: self._predicting.step(features(batch)))
            self._state.rehearse(lambda: step(batch), complete=complete)
            return step(batch)

        return rehearsed

    def _everywhere(self, step: Step, *, is_shared: bool) -> Any:
        """Return a step that takes a batch: of this model, or of that of every device with its own rows."""
        if self._together is not None and is_shared:
            return self._together.shared(step)

        def on_device(batch: Any) -> Any:
            with tf.device(self._device) if self._device else contextlib.nullcontext():
                return step(self.model, batch)

        return on_device

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
