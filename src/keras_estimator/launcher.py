"""What a launcher is: who is in a cluster, what runs as each of them, and when a crash is worth another start."""

from __future__ import annotations

import dataclasses
import json
import signal
from collections.abc import Sequence
from typing import NamedTuple, Protocol

from keras_estimator.errors import ConfigError, WorkerLostError

_MISUSE = 2  # the status of a command line that is wrong


@dataclasses.dataclass(frozen=True)
class Member:
    """One process of a cluster.

    Attributes:
        type: "chief", "worker", "ps" or "evaluator".
        index: Its number among those of its type.
    """

    type: str
    index: int = 0

    def __str__(self) -> str:
        return self.type if self.type in ("chief", "evaluator") else f"{self.type} {self.index}"


@dataclasses.dataclass(frozen=True)
class Cluster:
    """Who takes part in a training.

    Attributes:
        num_workers: How many processes train: one chief, and workers.
        num_ps: How many parameter servers there are.
        has_evaluator: Whether a process follows the checkpoints and evaluates them.

    Raises:
        ConfigError: nobody trains, or a number is negative.
    """

    num_workers: int
    num_ps: int = 0
    has_evaluator: bool = False

    def __post_init__(self) -> None:
        if self.num_workers < 1 or self.num_ps < 0:
            raise ConfigError(
                "there is no such cluster",
                found=f"num_workers={self.num_workers}, num_ps={self.num_ps}",
                expected="num_workers >= 1 (the chief is one of them), num_ps >= 0",
                fix="Cluster(num_workers=2)",
            )

    def __str__(self) -> str:
        workers, evaluator = self.num_workers - 1, "evaluator" if self.has_evaluator else "no evaluator"
        some = [f"{workers} worker{'s'[: workers > 1]}"] if workers else []
        return ", ".join(["chief", *some, *([f"{self.num_ps} ps"] if self.num_ps else []), evaluator])

    @property
    def group(self) -> tuple[Member, ...]:
        """Those that have an address and go on together or not at all, the chief first: all but the evaluator."""
        workers = (Member("worker", index) for index in range(self.num_workers - 1))
        return Member("chief"), *workers, *(Member("ps", index) for index in range(self.num_ps))

    def tf_config(self, member: Member, addresses: Sequence[str]) -> str:
        """Return the TF_CONFIG of one member, with an address for each of the `group`, in that order."""
        jobs: dict[str, list[str]] = {}
        for other, address in zip(self.group, addresses, strict=True):
            jobs.setdefault(other.type, []).append(address)
        return json.dumps({"cluster": jobs, "task": {"type": member.type, "index": member.index}})


class Launcher(Protocol):
    """A platform that runs one command as every member of a cluster."""

    def run(self, cluster: Cluster, command: Sequence[str], *, restarts: int = 3) -> int:
        """Run the command in one process for each member, with its TF_CONFIG, until the training is over.

        The training is over when the chief ends with status 0. If one of the group crashes, the group is started
        anew; an evaluator is started anew alone.

        Args:
            cluster: Who takes part.
            command: What each of them runs.
            restarts: How often the group is started anew at most, and so the evaluator.

        Returns:
            An exit status: 0, or that of the process that failed first when no restart was left, or of an evaluator
            that failed so; as in a shell 128 + n if it was signal n, also for a signal that ended the launch. 75 only
            if all that failed had lost another process (`WorkerLostError`).

        Raises:
            ConfigError: the platform is not there.
        """


class Ending(NamedTuple):
    """How a process has ended.

    Attributes:
        member: What it was in the cluster.
        status: What it ended with; -n: by signal n.
        lived_secs: How long it ran.
    """

    member: Member
    status: int
    lived_secs: float

    def __str__(self) -> str:
        if self.status >= 0:
            reason = " (it lost another process)" if self.is_by_loss else ""
            return f"{self.member} ended with status {self.status}{reason}"
        return f"{self.member} was killed by {signal_name(-self.status)}"

    @property
    def is_by_loss(self) -> bool:
        """Whether it only ended because another process was gone, or did not answer."""
        return self.status == WorkerLostError.exit_status

    @property
    def exit_status(self) -> int:
        """The status as a shell counts: 128 + n for signal n."""
        return self.status if self.status >= 0 else 128 - self.status


class Restarts:
    """How often something is started anew after a crash, and when that is pointless.

    Args:
        most: How often at most.
        soon_secs: An error that comes twice, each time sooner after the start than this, would come a third time.
    """

    def __init__(self, most: int, soon_secs: float) -> None:
        self._most, self._used, self._soon_secs = most, 0, soon_secs
        self._last: tuple[Member, int] | None = None

    def verdict(self, crash: Ending) -> tuple[bool, str]:
        """Return whether to start anew what has crashed, and a line that says why or why not."""
        # Signals come from outside, and so does the loss of another process.
        is_soon = crash.status > 0 and not crash.is_by_loss and crash.lived_secs < self._soon_secs
        last, self._last = self._last, (crash.member, crash.status) if is_soon else None
        if crash.status == _MISUSE:
            why_not = "the command line is wrong"
        elif is_soon and last == self._last:
            why_not = f"the same came before, both within {self._soon_secs:g} s of the start"
        elif self._used >= self._most:
            why_not = f"{self._used} of {self._most} restarts are used"
        else:
            self._used += 1
            return True, f"{crash}: restart {self._used} of {self._most}"
        return False, f"{crash}: no restart, as {why_not}"


def signal_name(number: int) -> str:
    """Return the name of a signal, such as SIGTERM."""
    try:
        return signal.Signals(number).name
    except ValueError:  # a real-time signal
        return f"signal {number}"
