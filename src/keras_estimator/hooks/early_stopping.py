"""Stop when evaluations say so: no better for a while, or beyond a threshold; the decision survives a restart."""

from __future__ import annotations

import logging
import warnings
from collections.abc import Callable, Sequence
from typing import Any

from keras_estimator.errors import ConfigError, EstimatorWarning, NoCheckpointError
from keras_estimator.exporters import comparison, value_of
from keras_estimator.hooks.hook import Cadence, Evaluation, Hook, Run
from keras_estimator.hooks.reporting import read_scalars
from keras_estimator.hooks.watching import Watched

_LOG = logging.getLogger("keras_estimator")


class EarlyStopping(Hook):
    """Stops when the evaluations have not become better for `patience` of them in a row.

    What it remembers is part of the checkpoints: a run that is started again goes on counting, and one that
    was stopped stays stopped.

    Args:
        metric: The name of a metric of the evaluation.
        mode: "min", "max", or "auto" to go by the name.
        patience: How many evaluations without a better one are one too many.
        min_delta: A change of no more than this is no change.
        restore_best: Whether the model ends with the weights of the best evaluation. A checkpoint is
            written at each better one, and that of the best stays.
        eval_name: The name of the EvalSpec to watch; None: the one without a name, or the only one.

    Attributes:
        watched: Which evaluation that is.

    Raises:
        ConfigError: `patience` is not positive, or nothing says whether the metric is better when higher or
            lower. While training: an evaluation has no such metric.
    """

    def __init__(
        self,
        metric: str = "loss",
        *,
        mode: str = "auto",
        patience: int = 3,
        min_delta: float = 0.0,
        restore_best: bool = False,
        eval_name: str | None = None,
    ) -> None:
        if type(patience) is not int or patience < 1:
            raise ConfigError(
                "EarlyStopping cannot use this `patience`",
                found=f"patience={patience!r}",
                expected="a whole number of evaluations > 0",
                fix="EarlyStopping(patience=3)",
            )
        self.key = f"{type(self).__qualname__}:{metric}"
        self.watched = Watched(type(self).__qualname__, eval_name)
        self._metric = metric
        self._is_better = comparison(metric, mode, min_delta=min_delta)
        self._patience = patience
        self._restores_best = restore_best
        self._best: Evaluation | None = None
        self._waited = 0

    def begin(self, run: Run) -> None:
        self._stop_if_patience_is_over(run)

    def after_evaluation(self, run: Run, evaluation: Evaluation) -> None:
        if not self.watched.is_news(evaluation):
            return
        value_of(evaluation.metrics, self._metric)
        if self._best is None or self._is_better(self._best.metrics, evaluation.metrics):
            self._best, self._waited = evaluation, 0
            run.save_wanted |= (
                self._restores_best and evaluation.step == run.step
            )  # not so if another process evaluates
        else:
            self._waited += 1
            self._stop_if_patience_is_over(run)

    def end(self, run: Run) -> None:
        if not self._restores_best or self._best is None or self._best.step == run.step:
            return
        if run.received_signal is None:
            try:
                run.restore_weights(self._best.step)
                run.saved_step, run.restored_step = None, self._best.step
                _LOG.info("the model got the weights of step %d back, the best one", self._best.step)
            except NoCheckpointError as error:
                warnings.warn(
                    f"the model keeps the weights of step {run.step}: the checkpoint of the best step, "
                    f"{self._best.step}, was removed before an evaluator had measured it ({error.found}). Way out: "
                    "keep more of them, RunConfig(keep_checkpoint_max=...).",
                    EstimatorWarning,
                    stacklevel=2,
                )

    def state(self) -> dict[str, Any]:
        if self._best is None:
            return {}
        best = {"step": self._best.step, "name": self._best.name, self._metric: self._best.metrics[self._metric]}
        return {"best": best, "waited": self._waited, "seen_step": self.watched.seen_step}

    def restore(self, state: dict[str, Any]) -> None:
        best = state["best"]
        self._best = Evaluation(int(best["step"]), str(best["name"]), {self._metric: best[self._metric]})
        self._waited, self.watched.seen_step = int(state["waited"]), int(state["seen_step"])

    def kept_steps(self) -> set[int]:
        return {self._best.step} if self._restores_best and self._best is not None else set()

    def _stop_if_patience_is_over(self, run: Run) -> None:
        if self._best is not None and self._waited >= self._patience:
            best = f"{self._best.metrics[self._metric]:.4g} at step {self._best.step}"
            run.stop(f"`{self._metric}` has been no better than {best} for {self._waited} evaluations")


class _StopIf(Hook):
    """Stops when a function says so; asks it at the start, at a cadence and after each evaluation."""

    def __init__(
        self, should_stop: Callable[[Run], str | None], cadence: Cadence, history: _History | None = None
    ) -> None:
        self._should_stop = should_stop
        self._history = history
        self._is_warned = False
        self.cadence = cadence

    def begin(self, run: Run) -> None:
        self._ask(run)

    def after_steps(self, run: Run) -> None:
        self._ask(run)

    def after_evaluation(self, run: Run, evaluation: Evaluation) -> None:
        self._ask(run)
        if self._history is not None and not self._is_warned and self._history.is_empty:
            self._is_warned = True
            warnings.warn(
                f"a hook that stops by the evaluations in {self._history.folder} finds none there, but one called "
                f"{evaluation.name!r} was made. Way out: pass eval_dir=estimator.eval_dir({evaluation.name!r}).",
                EstimatorWarning,
                stacklevel=2,
            )

    def _ask(self, run: Run) -> None:
        reason = self._should_stop(run)
        if reason:
            run.stop(reason)


def make_early_stopping_hook(
    estimator: Any,
    should_stop_fn: Callable[[], bool],
    run_every_secs: float | None = 60,
    run_every_steps: int | None = None,
) -> Hook:
    """Return a hook that stops the training when a function says so.

    Args:
        estimator: The Estimator that trains.
        should_stop_fn: Called without arguments; returns whether to stop.
        run_every_secs: How often it is asked, besides after each evaluation.
        run_every_steps: The same in steps; one of the two is None.

    Raises:
        ConfigError: the function cannot be called, or both clocks are set.
    """
    del estimator
    if not callable(should_stop_fn):
        raise ConfigError(
            "should_stop_fn cannot be called",
            found=f"{should_stop_fn!r}",
            expected="a function without arguments that returns a bool",
            fix="make_early_stopping_hook(estimator, lambda: False)",
        )
    cadence = Cadence(run_every_steps, run_every_secs)
    return _StopIf(lambda run: f"{_name_of(should_stop_fn)} asked for it" if should_stop_fn() else None, cadence)


def stop_if_higher_hook(
    estimator: Any,
    metric_name: str,
    threshold: float,
    eval_dir: str | None = None,
    min_steps: int = 0,
    run_every_secs: float | None = 60,
    run_every_steps: int | None = None,
) -> Hook:
    """Return a hook that stops the training when a metric of the evaluation is higher than a threshold.

    Args:
        estimator: The Estimator that trains.
        metric_name: The metric.
        threshold: The value.
        eval_dir: The folder of the evaluations. None: `estimator.eval_dir()`.
        min_steps: Evaluations of earlier steps do not count.
        run_every_secs: How often to look, besides after each evaluation.
        run_every_steps: The same in steps; one of the two is None.

    Raises:
        ConfigError: both clocks are set. While training: there is no such metric.
    """
    history = _History(estimator, metric_name, eval_dir, min_steps)
    return _StopIf(
        lambda run: _beyond(history.until(run.step), metric_name, threshold, sign=1),
        Cadence(run_every_steps, run_every_secs),
        history,
    )


def stop_if_lower_hook(
    estimator: Any,
    metric_name: str,
    threshold: float,
    eval_dir: str | None = None,
    min_steps: int = 0,
    run_every_secs: float | None = 60,
    run_every_steps: int | None = None,
) -> Hook:
    """Return a hook that stops the training when a metric of the evaluation is lower than a threshold.

    The arguments and errors are those of `stop_if_higher_hook`.
    """
    history = _History(estimator, metric_name, eval_dir, min_steps)
    return _StopIf(
        lambda run: _beyond(history.until(run.step), metric_name, threshold, sign=-1),
        Cadence(run_every_steps, run_every_secs),
        history,
    )


def stop_if_no_increase_hook(
    estimator: Any,
    metric_name: str,
    max_steps_without_increase: int,
    eval_dir: str | None = None,
    min_steps: int = 0,
    run_every_secs: float | None = 60,
    run_every_steps: int | None = None,
) -> Hook:
    """Return a hook that stops the training when a metric has not risen for so many steps.

    `max_steps_without_increase` are steps of training; the other arguments and the errors are those of
    `stop_if_higher_hook`.
    """
    history = _History(estimator, metric_name, eval_dir, min_steps)
    return _StopIf(
        lambda run: _stalled(history.until(run.step), metric_name, max_steps_without_increase, sign=1),
        Cadence(run_every_steps, run_every_secs),
        history,
    )


def stop_if_no_decrease_hook(
    estimator: Any,
    metric_name: str,
    max_steps_without_decrease: int,
    eval_dir: str | None = None,
    min_steps: int = 0,
    run_every_secs: float | None = 60,
    run_every_steps: int | None = None,
) -> Hook:
    """Return a hook that stops the training when a metric has not fallen for so many steps.

    `max_steps_without_decrease` are steps of training; the other arguments and the errors are those of
    `stop_if_higher_hook`.
    """
    history = _History(estimator, metric_name, eval_dir, min_steps)
    return _StopIf(
        lambda run: _stalled(history.until(run.step), metric_name, max_steps_without_decrease, sign=-1),
        Cadence(run_every_steps, run_every_secs),
        history,
    )


class _History:
    """The values of one metric in the event files of an evaluation, which also another process may write."""

    def __init__(self, estimator: Any, metric: str, eval_dir: str | None, min_steps: int) -> None:
        self.folder = eval_dir or estimator.eval_dir()
        self.is_empty = True  # as it was read last
        self._metric = metric
        self._min_steps = min_steps

    def until(self, step: int) -> list[tuple[int, float]]:
        """Return step and value, by rising step, of what was evaluated up to a step."""
        found = read_scalars(self.folder)
        self.is_empty = not found
        return [(at, value_of(found[at], self._metric)) for at in found if self._min_steps <= at <= step]


def _beyond(history: Sequence[tuple[int, float]], metric: str, threshold: float, *, sign: int) -> str | None:
    for step, value in history:
        if sign * value > sign * threshold:
            return f"`{metric}` is {value:.4g} at step {step}, {'above' if sign > 0 else 'below'} {threshold:g}"
    return None


def _stalled(history: Sequence[tuple[int, float]], metric: str, most_steps: int, *, sign: int) -> str | None:
    best: tuple[int, float] | None = None
    for step, value in history:
        if best is None or sign * value > sign * best[1]:
            best = (step, value)
        if step - best[0] >= most_steps:
            how = "no higher" if sign > 0 else "no lower"
            return f"`{metric}` is {how} at step {step} than {best[1]:.4g} at step {best[0]}"
    return None


def _name_of(function: Any) -> str:
    return str(getattr(function, "__name__", type(function).__name__))
