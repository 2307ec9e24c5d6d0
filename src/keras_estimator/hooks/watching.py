"""Which of the evaluations a hook follows, and which of its results are news."""

from __future__ import annotations

from collections.abc import Sequence

from keras_estimator.errors import ConfigError
from keras_estimator.hooks.hook import Evaluation


class Watched:
    """The evaluation that a hook follows.

    Args:
        who: The name of the hook's class, for errors.
        name: The name of its EvalSpec; None: the one without a name, or the only one.

    Attributes:
        seen_step: The step of the newest result; -1 before the first.
    """

    def __init__(self, who: str, name: str | None) -> None:
        self._who = who
        self._name = name  # None: whatever comes, as long as nobody says what there is
        self.seen_step = -1

    def choose(self, names: Sequence[str]) -> None:
        """Choose which evaluation to follow, of those that will be made; `""` is the one without a name.

        Raises:
            ConfigError: there is none of that name, or several and no name says which.
        """
        if self._name is None and ("" in names or len(names) == 1):
            self._name = "" if "" in names else names[0]
        if self._name not in names:
            raise ConfigError(
                f"{self._who} does not know which evaluation to watch",
                found=f"eval_name={self._name!r}, and evaluations {', '.join(map(repr, names))}",
                expected="the name of one of them",
                fix=f"{self._who}(..., eval_name={names[0]!r})",
            )

    def is_news(self, evaluation: Evaluation) -> bool:
        """Note a result, and say whether it is one of the evaluation that is followed, and was not made again."""
        if self._name is not None and evaluation.name != self._name:
            return False
        if evaluation.step <= self.seen_step:
            return False
        self.seen_step = evaluation.step
        return True
