"""The Estimator: one model, one model_dir; train, evaluate, predict, export."""

from __future__ import annotations

import contextlib
import copy
import logging
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from keras_estimator import loop
from keras_estimator.arguments import (
    MetricFunction,
    check_exported_mode,
    check_names_differ,
    check_no_hooks,
    check_steps,
    checked_params,
    metric_function,
    renamed,
    with_model_dir,
)
from keras_estimator.doctor.advice import advised
from keras_estimator.engines.draws import drawing
from keras_estimator.engines.engine import Position, engine_for, has_served
from keras_estimator.errors import ConfigError
from keras_estimator.hooks.defaults import evaluation_hooks, training_hooks
from keras_estimator.hooks.hook import Evaluation, Hook, Run
from keras_estimator.hooks.reporting import write_params, write_scalars
from keras_estimator.inputs import Source, batches_per_pass, source_from
from keras_estimator.outputs import by_name, rows
from keras_estimator.reading import Reading
from keras_estimator.resident import Resident
from keras_estimator.run_config import ModeKeys, RunConfig
from keras_estimator.run_description import write_description

_LOG = logging.getLogger("keras_estimator")
_END = object()


class Estimator:
    """One Keras model that trains, evaluates, predicts and exports, and goes on where it stopped.

    The model is the live object that was given: after `train` its own `predict` and `save` work on the trained weights.

    Args:
        model: A `keras.Model`, built or not, compiled or not.
        model_dir: Where checkpoints and summaries are written. None: `config.model_dir`, or a temporary folder.
        config: How it runs.
        metric_names_map: Name of every metric to the name it has in the results of `evaluate`.
        export_outputs: Output name to the kind of signature that `export_saved_model` adds for it.
        params: Hyper-parameters by name; they are copied.
        warm_start_from: As in `model_to_estimator`.

    Attributes:
        writes: Whether this process writes to `model_dir`: of the processes of a cluster, the chief does.

    Raises:
        ModelError: `model` cannot be run.
        ConfigError: `model_dir` and `config.model_dir` differ, or `params` are no plain values by name.
    """

    def __init__(
        self,
        model: Any,
        model_dir: str | Path | None = None,
        config: RunConfig | None = None,
        *,
        metric_names_map: Mapping[str, str] | None = None,
        export_outputs: Mapping[str, Any] | None = None,
        params: Mapping[str, Any] | None = None,
        warm_start_from: Any = None,
    ) -> None:
        self._params = checked_params(params)
        self._config = with_model_dir(config or RunConfig(), model_dir)
        with advised():
            self._engine = engine_for(model, self._config)
        self._resident = Resident(self._engine, self._config, warm_start_from)
        self.writes = self._resident.writes
        self._is_described = False
        self._metric_functions: tuple[MetricFunction, ...] = ()
        self._metric_names_map = dict(metric_names_map or {})
        self._export_outputs = dict(export_outputs or {})

    @property
    def model(self) -> Any:
        """The live Keras model."""
        return self._engine.model

    @property
    def model_dir(self) -> str:
        """The folder of this estimator."""
        return str(self._config.model_dir)

    @property
    def config(self) -> RunConfig:
        """How it runs."""
        return self._config

    @property
    def params(self) -> dict[str, Any]:
        """A copy of the hyper-parameters; an input_fn may ask for them by the name `params`."""
        return checked_params(self._params)

    def with_metrics(self, metric_fn: Callable[..., Mapping[str, Any]]) -> Estimator:
        """Return an estimator of the same model and model_dir that measures more (see `add_metrics`).

        The two share the training state; what one trains the other knows.

        Raises:
            ConfigError: the function cannot be called, or has arguments of other names.
        """
        other = copy.copy(self)
        other._metric_functions = (*self._metric_functions, metric_function(metric_fn))  # noqa: SLF001 - of this class
        return other

    def train(
        self,
        input_fn: Any,
        hooks: Sequence[Hook] | None = None,
        steps: int | None = None,
        max_steps: int | None = None,
        saving_listeners: Sequence[Any] | None = None,
        callbacks: Sequence[Any] | None = None,
        *,
        class_weight: Mapping[Any, Any] | None = None,
    ) -> Estimator:
        """Train on from the newest checkpoint of `model_dir`, or from the model as it was given; return this estimator.

        Args:
            input_fn: The data, or a callable that returns them (see `inputs`): batches `(x, y)` or
                `(x, y, sample_weight)`, the first axis of every array being the batch.
            hooks: Called at their cadences.
            steps: Make this many steps more. None: until the data end or `max_steps`.
            max_steps: Train until this step in all; nothing happens if it was reached before.
            saving_listeners: Told before and after each checkpoint, as in tf.estimator.
            callbacks: `keras.callbacks.Callback`s, called as `fit` calls them.
            class_weight: Class number to weight, or output name to such a dict.

        Raises:
            ConfigError: `steps` and `max_steps` are both given, or one is not positive.
            NotCompiledError: the model has no optimizer and loss.
            InputError: the data do not fit the model.
            EmptyInputError: the data have no batch.
            NonFiniteLossError: the loss became NaN or infinite.
            CheckpointMismatchError: `model_dir` holds another model.
            ModelDirInUseError: another process trains in `model_dir`.
            WorkerLostError, WorkersDifferError: another process of the cluster is gone, or has another model.
        """
        check_steps(steps, max_steps)
        if has_served(self._config):
            return self
        with self._resident.alone():
            resident = self._resident
            resident.bring_in(trains=True)
            if max_steps is not None and resident.step >= max_steps and resident.nothing_left(hooks or ()):
                _LOG.info("nothing to train: step %d is reached, max_steps is %d", resident.step, max_steps)
                return self
            last_step = max_steps if steps is None else resident.step + steps
            chosen = training_hooks(self._config, hooks or (), saving_listeners or (), callbacks or ())
            run = self._trained(input_fn, None if last_step is None else int(last_step), chosen, class_weight)
        loop.leave(run)
        return self

    def _trained(self, input_fn: Any, last_step: int | None, hooks: Sequence[Hook], class_weight: Any) -> Run:
        resident = self._resident
        record = resident.data_record if self._config.data_position == "continue" else {}
        with drawing(resident.reader.draws(record), seed=(self._config.tf_random_seed or 0) + resident.step) as draws:
            source = self._source(input_fn, ModeKeys.TRAIN, has_steps=last_step is not None)
        with advised(), self._engine.joined(), resident.reader.open(source, record, draws) as reading:
            self._engine.prepare(reading.feed, ModeKeys.TRAIN, class_weight)
            self._engine.begin_together(resident.step, f"{reading.identity} {reading.position}")
            self._describe()
            run = self._new_run(reading, last_step, hooks)
            with loop.stops_on_signals(run), resident.training(run, reading, hooks):  # its last save, too
                report_steps = self._config.log_step_count_steps or 100
                loop.train(self._engine, reading, run, hooks, report_steps=report_steps)
            _LOG.info("trained to step %d: %s", run.step, run.stop_reason or "the last step is reached")
        return run

    def _describe(self) -> None:
        """Write what this run is, once: the model has its shapes now."""
        if not self._is_described and self.writes:
            write_description(self.model_dir, self.model, self._config, self.params)
            if self._config.save_summary_steps:
                write_params(self.model_dir, self.params)
            self._is_described = True

    def _new_run(self, reading: Reading, last_step: int | None, hooks: Sequence[Hook]) -> Run:
        def tell(evaluation: Evaluation) -> None:
            for hook in hooks:
                hook.after_evaluation(run, evaluation)

        step = self._resident.step
        run = Run(
            self.model,
            Path(self.model_dir),
            step=step,
            first_step=step,
            last_step=last_step,
            asked_step=last_step,
            save=lambda *, waits=True: self._resident.save(run, reading, hooks, waits=waits),
            saved_step=step if self._resident.is_saved else None,
            epoch=reading.position.passes,
            batch=reading.position.batches,
            batches_per_epoch=batches_per_pass(reading.source),
            goes_on=reading.goes_on,
            tell=tell,
            restore_weights=self._resident.restore_weights,
        )
        return run

    def evaluate(
        self,
        input_fn: Any,
        steps: int | None = None,
        hooks: Sequence[Hook] | None = None,
        checkpoint_path: str | Path | None = None,
        name: str | None = None,
    ) -> dict[str, Any]:
        """Measure the model on data; leave the model as it is.

        Args:
            input_fn: As in `train`.
            steps: How many batches to read. None: until the data end.
            hooks: Called around the batches; their `run.step` counts batches.
            checkpoint_path: The checkpoint to measure. None: the newest, or the model as it is.
            name: Names the run in TensorBoard: `eval_<name>`.

        Returns:
            The mean of every metric over the examples (not over the batches) as Python floats by
            name, with `loss`, and the step of the model as `global_step`.

        Raises:
            NotCompiledError: the model has no loss.
            InputError: the data do not fit the model.
            EmptyInputError: there is no batch.
            NoCheckpointError: there is no such checkpoint.
            ConfigError: `metric_names_map` does not name just the metrics there are.
        """
        check_steps(steps, None)
        restored = self._resident.read(checkpoint_path)
        step = self._resident.step if restored is None else restored.step
        source = self._source(input_fn, ModeKeys.EVAL, has_steps=steps is not None)
        folder = Path(self.eval_dir(name))
        run = Run(self.model, folder, 0, 0, steps, save=lambda **_: folder)
        feed = self._engine.open(source, whole=any("features" in each.wanted for each in self._metric_functions))
        with advised(), contextlib.closing(feed):
            self._engine.prepare(feed, ModeKeys.EVAL, metric_functions=self._metric_functions)
            with self._resident.at(restored):
                chosen = evaluation_hooks(self._config, hooks or ())
                of_model, added = loop.evaluate(self._engine, source, feed, run, chosen, steps=steps)
        metrics = renamed(of_model, self._metric_names_map)
        check_names_differ(added, metrics)
        metrics |= added
        if self.writes:
            write_scalars(folder, step, numbers := {n: v for n, v in metrics.items() if isinstance(v, float)})
            shown = ", ".join(f"{n} {v:.4g}" for n, v in numbers.items())
            _LOG.info("evaluated%s at step %d: %s", f" `{name}`" if name else "", step, shown)
        return {**metrics, "global_step": step}

    def predict(
        self,
        input_fn: Any,
        predict_keys: Sequence[str] | str | None = None,
        hooks: Sequence[Hook] | None = None,
        checkpoint_path: str | Path | None = None,
        yield_single_examples: bool = True,  # noqa: FBT001, FBT002 - the original's signature
    ) -> Iterator[dict[str, Any]]:
        """Yield predictions by output name.

        Args:
            input_fn: As in `train`; labels are ignored if they are there.
            predict_keys: The outputs to yield. None: all.
            hooks: Must be empty: nothing happens between batches.
            checkpoint_path: The checkpoint to use. None: the newest, or the model as it is.
            yield_single_examples: Whether each example is yielded by itself, or each batch whole.

        Yields:
            Output name to array; of one example without the batch axis. An output without a name
            (of a subclassed model) is `output_1`, and so on.

        Raises:
            ConfigError: an output of `predict_keys` does not exist, or hooks are given.
            InputError: the data do not fit the model.
            NoCheckpointError: there is no such checkpoint.
        """
        check_no_hooks(hooks)
        keys = [predict_keys] if isinstance(predict_keys, str) else predict_keys
        restored = self._resident.read(checkpoint_path)
        feed = self._engine.open(self._source(input_fn, ModeKeys.PREDICT, has_steps=False))
        with advised(), contextlib.closing(feed):
            self._engine.prepare(feed, ModeKeys.PREDICT)
            feed.seek(Position())
            batches = self._engine.predict(feed)
            while True:
                with self._resident.at(restored):  # and not while the caller looks at predictions, and may train
                    outputs = next(batches, _END)
                if outputs is _END:
                    return
                named = by_name(outputs, self._engine.output_names(), keys)
                yield from rows(named) if yield_single_examples else (named,)

    def predictor(self) -> Callable[[Any], Any]:
        """Return a function that stays ready: no pipeline, no reload, no new trace.

        It takes one array, or a list or dict of arrays, the first axis being the batch, and returns NumPy
        arrays in the structure the model gives, by the weights that the model has at the time.
        """
        self._resident.bring_in()
        return self._engine.predict_arrays

    def export_saved_model(
        self,
        export_dir_base: str | Path,
        serving_input_receiver_fn: Callable[[], Any] | None = None,
        assets_extra: Mapping[str, str] | None = None,
        as_text: bool = False,  # noqa: FBT001, FBT002 - the original's signature
        checkpoint_path: str | Path | None = None,
        experimental_mode: str = ModeKeys.PREDICT,
        *,
        verify: bool = True,
    ) -> str:
        """Write the model for serving to a new folder named by the time, and try it out.

        Args:
            export_dir_base: Holds one folder for each export.
            serving_input_receiver_fn: What a server receives. None: the model's own inputs by name.
            assets_extra: Path below `assets.extra` to the file to copy there.
            as_text: Whether the graph is written as text.
            checkpoint_path: The checkpoint to export. None: the newest, or the model as it is.
            experimental_mode: Must be "infer": a training graph is not a thing to serve.
            verify: Whether a fresh process, without your code, loads the export and must give the
                predictions of the model.

        Returns:
            The folder of the export.

        Raises:
            ExportError: the model cannot be exported, or the export serves other numbers.
            NoCheckpointError: there is no such checkpoint.
        """
        check_exported_mode(experimental_mode)
        with advised(), self._resident.at(self._resident.read(checkpoint_path)):
            return self._engine.export(
                export_dir_base,
                receiver_fn=serving_input_receiver_fn,
                export_outputs=self._export_outputs,
                assets_extra=assets_extra,
                as_text=as_text,
                verify=verify,
            )

    def at_checkpoint(self, checkpoint_path: str | Path) -> contextlib.AbstractContextManager[int]:
        """Let a checkpoint count as the newest one for a while: for `evaluate`, `predict` and exports.

        The model has its weights then; afterwards the newest checkpoint counts again.

        Args:
            checkpoint_path: The folder of the checkpoint.

        Returns:
            A context manager that gives the step of the checkpoint.

        Raises:
            NoCheckpointError: there is no such checkpoint.
            CorruptCheckpointError: its bytes are not those that were written.
        """
        return self._resident.held_at(checkpoint_path)

    def latest_checkpoint(self) -> str | None:
        """Return the folder of the newest checkpoint; None if there is none."""
        newest = self._resident.latest()
        return str(newest.path) if newest else None

    def eval_dir(self, name: str | None = None) -> str:
        """Return the folder to which evaluations of that name are written."""
        return str(Path(self.model_dir) / (f"eval_{name}" if name else "eval"))

    def get_variable_names(self) -> list[str]:
        """Return the paths of all variables: weights, optimizer, seeds, metrics."""
        self._resident.bring_in()
        return sorted(self._engine.read_state())

    def get_variable_value(self, name: str) -> np.ndarray[Any, Any]:
        """Return the value of one variable; a ConfigError if there is none of that path."""
        self._resident.bring_in()
        state = self._engine.read_state()
        if name in state:
            return state[name]
        known = ", ".join(sorted(state)[:8]) + ", ..."
        raise ConfigError("the model has no such variable", found=name, expected=known, fix="get_variable_names()")

    def _source(self, input_fn: Any, mode: ModeKeys, *, has_steps: bool) -> Source:
        context = self._engine.input_context(mode)
        known = {"mode": mode, "params": self.params, "config": self._config, "input_context": context}
        return source_from(input_fn, known, seed=self._config.tf_random_seed, has_steps=has_steps)
