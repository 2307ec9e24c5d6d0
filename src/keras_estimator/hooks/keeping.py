"""Keep the checkpoints of the best evaluations, however many newer ones there are."""

from __future__ import annotations

from typing import Any

from keras_estimator.errors import ConfigError
from keras_estimator.exporters import comparison, value_of
from keras_estimator.hooks.hook import Evaluation, Hook, Run
from keras_estimator.hooks.watching import Watched
from keras_estimator.run_config import is_count


class KeepBest(Hook):
    """Keeps the checkpoints of the best evaluations, beside the newest ones that RunConfig keeps.

    Which they are is part of the checkpoints: a run that is started again keeps them, too.

    Args:
        metric: The name of a metric of the evaluation.
        mode: "min", "max", or "auto" to go by the name.
        number: How many to keep.
        eval_name: The name of the EvalSpec to watch; None: the one without a name, or the only one.

    Attributes:
        watched: Which evaluation that is.

    Raises:
        ConfigError: `number` is not positive, or nothing says whether the metric is better when higher or lower.
            While training: an evaluation has no such metric.

    Example:
        >>> KeepBest("accuracy", number=3).kept_steps()
        set()
    """

    def __init__(
        self, metric: str = "loss", *, mode: str = "auto", number: int = 1, eval_name: str | None = None
    ) -> None:
        if not is_count(number, least=1):
            raise ConfigError(
                "KeepBest cannot use this `number`",
                found=f"number={number!r}",
                expected="a whole number of checkpoints > 0",
                fix="KeepBest(number=1)",
            )
        self.key = f"{type(self).__qualname__}:{metric}"
        self.watched = Watched(type(self).__qualname__, eval_name)
        self._metric = metric
        self._is_better = comparison(metric, mode)
        self._number = int(number)
        self._best: list[tuple[int, float]] = []  # step and value, the best first

    def after_evaluation(self, run: Run, evaluation: Evaluation) -> None:
        if not self.watched.is_news(evaluation):
            return
        new = (evaluation.step, value_of(evaluation.metrics, self._metric))
        worse = [place for place, (_, value) in enumerate(self._best) if self._beats(value, new[1])]
        self._best.insert(worse[0] if worse else len(self._best), new)
        del self._best[self._number :]
        # Where another process evaluates, that step is over.
        run.save_wanted |= new in self._best and evaluation.step == run.step

    def _beats(self, value: float, new: float) -> bool:
        return self._is_better({self._metric: value}, {self._metric: new})

    def state(self) -> dict[str, Any]:
        return {"best": [list(each) for each in self._best], "seen_step": self.watched.seen_step} if self._best else {}

    def restore(self, state: dict[str, Any]) -> None:
        self._best = [(int(step), float(value)) for step, value in state["best"]]
        self.watched.seen_step = int(state["seen_step"])

    def kept_steps(self) -> set[int]:
        return {step for step, _ in self._best}
