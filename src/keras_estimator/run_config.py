"""How a run is set up: `RunConfig` and `ModeKeys`, checked when they are made.

The arguments of tf.estimator's RunConfig keep their names, order and defaults. Those that set up
its sessions have no meaning today: they are accepted, and each says so once per process.
"""

from __future__ import annotations

import copy
import dataclasses
import enum
import logging
import math
import numbers
import os
import sys
import warnings
from collections.abc import Callable
from typing import Any, Literal, NamedTuple, get_args

from keras_estimator.cluster import Launch, Task, launch_without_cluster, read_task
from keras_estimator.errors import ConfigError, EstimatorWarning

Plan = Literal["auto", "graph", "step", "stacked", "eager"]
DataPosition = Literal["continue", "restart"]
Progress = Literal["auto", "bar", "lines", "off"]
DependentRows = Literal["refuse", "share"]

_LOG = logging.getLogger("keras_estimator")
_NOT_GIVEN: Any = object()  # tells "not given" from None, which switches periodic checkpoints off
_DEFAULT_SAVE_SECS = 600


class ModeKeys(enum.StrEnum):
    """What a model is used for; equal to the strings of tf.estimator's ModeKeys."""

    TRAIN = "train"
    EVAL = "eval"
    PREDICT = "infer"


@dataclasses.dataclass(frozen=True)
class RunConfig:
    """How an estimator runs.

    What this process is in a cluster is read from the environment variable TF_CONFIG when a
    RunConfig is made; copies keep what was read.

    Args:
        model_dir: Where the run writes checkpoints and summaries. None: the folder that TF_CONFIG
            names, or a temporary one.
        tf_random_seed: Seed of a run that starts at step 0. None: another one each time.
        save_summary_steps: Write TensorBoard scalars every so many steps; 0 or None: never.
        save_checkpoints_steps: Write a checkpoint every so many steps.
        save_checkpoints_secs: Write a checkpoint every so many seconds. If neither of the two is
            given, every 600 seconds; if both are None or 0, no checkpoints are written.
        session_config: Has no meaning today.
        keep_checkpoint_max: How many of the newest checkpoints to keep; 0 or None: all.
        keep_checkpoint_every_n_hours: Besides those, keep one every so many hours for good.
        log_step_count_steps: Log the metrics and steps per second every so many steps;
            None: never.
        train_distribute: None: on one device, together with the other processes that TF_CONFIG names, if any.
            "mirrored" (or a `tf.distribute.MirroredStrategy`): on all GPUs of this machine, or those of the strategy.
            "multi_worker_mirrored": on all GPUs of every process that TF_CONFIG names. "central_storage": as
            "mirrored". "one_device": as None, or on the device of the strategy. "parameter_server": the weights
            are on the processes of type ps that TF_CONFIG names, as they are without a word if it names any.
        device_fn: Has no meaning today.
        protocol: Has no meaning today.
        eval_distribute: None: each process that evaluates measures all rows. Any of the strategies of
            `train_distribute`: those that train together share the rows of every batch when they evaluate, too.
        experimental_distribute: Must be None.
        experimental_max_worker_delay_secs: Has no meaning today.
        session_creation_timeout_secs: How long to wait for the other processes of a cluster to start.
        checkpoint_save_graph_def: Has no meaning today.
        plan: How the engine runs many steps: "graph" (one loop around the steps, as a graph), "step" (XLA compiles
            the step in that loop), "stacked" (XLA compiles the loop over several batches at a time), "eager" (no
            compilation), or "auto" to let the engine choose. What XLA cannot compile runs by "graph".
        data_position: "continue": a run that goes on from a checkpoint also goes on in the data
            where it stopped. "restart": it begins with the first batch, as tf.estimator did.
        progress: "bar", "lines" (plain text), "off", or "auto": a bar on a terminal, else lines.
        dependent_rows: Processes of a cluster share every batch. A layer in which a row depends on the others
            then computes something else: "refuse" such a model, or "share" the batch all the same.

    Raises:
        ConfigError: a value is of the wrong type or out of its range, both clocks for
            checkpoints are set, a strategy is given, or TF_CONFIG cannot be used.

    Example:
        >>> RunConfig("runs/digits", save_checkpoints_steps=100).save_checkpoints_secs is None
        True
    """

    model_dir: str | os.PathLike[str] | None = None
    tf_random_seed: int | None = None
    save_summary_steps: int | None = 100
    save_checkpoints_steps: int | None = _NOT_GIVEN
    save_checkpoints_secs: float | None = _NOT_GIVEN
    session_config: Any = None
    keep_checkpoint_max: int | None = 5
    keep_checkpoint_every_n_hours: float | None = 10000
    log_step_count_steps: int | None = 100
    train_distribute: Any = None
    device_fn: Any = None
    protocol: Any = None
    eval_distribute: Any = None
    experimental_distribute: Any = None
    experimental_max_worker_delay_secs: Any = None
    session_creation_timeout_secs: Any = 7200
    checkpoint_save_graph_def: Any = True
    _: dataclasses.KW_ONLY
    plan: Plan = "auto"
    data_position: DataPosition = "continue"
    progress: Progress = "auto"
    dependent_rows: DependentRows = "refuse"
    # Not for callers. As a field it reaches copies, whoever makes them, and counts when two are compared.
    _task: Task = dataclasses.field(default=_NOT_GIVEN, repr=False)

    def __post_init__(self) -> None:
        steps, secs = _one_clock(self.save_checkpoints_steps, self.save_checkpoints_secs)
        object.__setattr__(self, "save_checkpoints_steps", steps)
        object.__setattr__(self, "save_checkpoints_secs", secs)
        for name, rule in _RULES.items():
            _check(name, getattr(self, name), rule)
        folder = None if self.model_dir is None else os.fspath(self.model_dir)
        for name in ("train_distribute", "eval_distribute", "experimental_distribute"):
            _check_strategy(name, getattr(self, name))
        if self._task is _NOT_GIVEN:
            task = read_task(os.environ)
            object.__setattr__(self, "_task", task)
            folder = task.agreed_folder(folder)
            _say_launch(launch_without_cluster(os.environ))
        object.__setattr__(self, "model_dir", folder)
        for field in dataclasses.fields(self):
            if field.name in _WITHOUT_MEANING and getattr(self, field.name) != field.default:
                _say_ignored(field.name, _WITHOUT_MEANING[field.name])

    def replace(self, **changes: Any) -> RunConfig:
        """Return a copy with some arguments changed.

        Setting one clock for checkpoints switches the other one off, unless both are given.

        Raises:
            ConfigError: there is no such argument, or its new value cannot be used.
        """
        names = [field.name for field in dataclasses.fields(self) if not field.name.startswith("_")]
        for name in changes:
            if name not in names:
                raise ConfigError(
                    f"RunConfig has no argument `{name}`",
                    found=f"replace({name}=...)",
                    expected=f"one of {', '.join(names)}",
                    fix=f"leave `{name}` out",
                )
        clocks = ("save_checkpoints_steps", "save_checkpoints_secs")
        for name, other in (clocks, clocks[::-1]):
            if changes.get(name) is not None:
                changes.setdefault(other, None)
        return dataclasses.replace(self, **changes)

    @property
    def cluster_spec(self) -> dict[str, list[str]]:
        """The addresses of all tasks by type, as TF_CONFIG has them: a dict, and no `tf.train.ClusterSpec`.

        Empty without a cluster, and for an evaluator, which is outside of it.
        """
        return {name: list(addresses) for name, addresses in self._task.jobs}

    @property
    def task_type(self) -> str:
        """What this process is: "chief" (or "master"), "worker", "ps" or "evaluator"; by itself, a worker."""
        return self._task.type

    @property
    def task_id(self) -> int:
        """The number of this process among those of its type."""
        return self._task.index

    @property
    def global_id_in_cluster(self) -> int | None:
        """The number of this process among all: the chief is 0, parameter servers are last. None: an evaluator."""
        return self._task.global_id_in_cluster

    @property
    def is_chief(self) -> bool:
        """Whether this process is the one that writes; without a cluster, always."""
        return self._task.is_chief

    @property
    def num_worker_replicas(self) -> int:
        """How many tasks train, the chief among them; for an evaluator, 0."""
        return self._task.num_worker_replicas

    @property
    def num_ps_replicas(self) -> int:
        """How many parameter servers the run has; for an evaluator, 0."""
        return self._task.num_ps_replicas

    @property
    def master(self) -> str:
        """The address of this process, `grpc://...`; empty if there is no one else, and for an evaluator."""
        return self._task.master

    @property
    def evaluation_master(self) -> str:
        """The address that TF_CONFIG sets for evaluations, or the empty string."""
        return self._task.evaluation_master

    @property
    def service(self) -> dict[str, Any] | None:
        """What the platform says of itself in TF_CONFIG."""
        return copy.deepcopy(self._task.service)


def task_of(config: RunConfig) -> Task:
    """Return what part this process has in the cluster."""
    return config._task  # noqa: SLF001 - of this module; no argument of RunConfig, so no attribute for users


def strategy_of(given: Any) -> tuple[str | None, Any]:
    """Return the kind of a `train_distribute` or `eval_distribute`, and the strategy if it is none by name."""
    if isinstance(given, str):
        return (given if given in _STRATEGIES else None), None
    classes = {base.__name__.removesuffix("V1").removesuffix("V2") for base in type(given).__mro__}
    kind = next((name for name, known in _STRATEGIES.items() if classes & {*known}), None)
    return kind, given if kind else None


def writes(config: RunConfig) -> bool:
    """Return whether this process writes to the model_dir: in a cluster, the chief does (and an evaluator)."""
    return config.task_type not in ("worker", "ps") or not config.cluster_spec


def check_trains(config: RunConfig) -> None:
    """Check that this process takes part in a training: alone, or as chief, worker or ps of a cluster.

    Raises:
        ConfigError: it is an evaluator, or the strategy is not one for this cluster.
    """
    if config.task_type == "evaluator":
        raise ConfigError(
            "an evaluator does not train",
            found=f"TF_CONFIG makes this process evaluator {config.task_id}",
            expected="train_and_evaluate, which makes it follow the checkpoints of the process that trains",
            fix="train_and_evaluate(estimator, TrainSpec(...), EvalSpec(...))",
        )
    kind, _ = strategy_of(config.train_distribute)
    if kind is not None and (kind == "parameter_server") != bool(config.num_ps_replicas):
        raise ConfigError(
            "the strategy is not one for this cluster",
            found=f"train_distribute is of the kind {kind!r}; TF_CONFIG names {config.num_ps_replicas} of type ps",
            expected='"parameter_server" if there are some, and something else if there are none',
            fix="leave `train_distribute` out: the processes that TF_CONFIG names decide",
        )


class _Rule(NamedTuple):
    holds: Callable[[Any], bool]
    expected: str
    example: str


def is_count(value: Any, *, least: int) -> bool:
    """Tell whether a value is a whole number, and not below another."""
    return not isinstance(value, bool) and isinstance(value, numbers.Integral) and int(value) >= least


def _is_seed(value: Any) -> bool:
    return is_count(value, least=0) and value < 2**32


def is_span(value: Any, *, zero_allowed: bool) -> bool:
    """Tell whether a value is a finite number that can be so many seconds or hours."""
    if isinstance(value, bool) or not isinstance(value, numbers.Real) or not math.isfinite(value):
        return False
    return float(value) > 0 or (zero_allowed and value == 0)


def _is_local_folder(value: Any) -> bool:
    if not isinstance(value, str | os.PathLike):
        return False
    path = os.fspath(value)
    return isinstance(path, str) and path != "" and "://" not in path


def _choice(kind: Any, example: str) -> _Rule:
    choices = get_args(kind)
    return _Rule(lambda value: isinstance(value, str) and value in choices, " or ".join(map(repr, choices)), example)


_RULES = {
    "model_dir": _Rule(_is_local_folder, "the path of a local folder, or None", "'runs/first'"),
    "tf_random_seed": _Rule(_is_seed, "a whole number from 0 to 2**32 - 1, or None", "1"),
    "save_summary_steps": _Rule(lambda value: is_count(value, least=0), "a whole number >= 0, or None", "100"),
    "save_checkpoints_steps": _Rule(lambda value: is_count(value, least=0), "a whole number >= 0, or None", "1000"),
    "save_checkpoints_secs": _Rule(lambda value: is_span(value, zero_allowed=True), "seconds >= 0, or None", "600"),
    "keep_checkpoint_max": _Rule(lambda value: is_count(value, least=0), "a whole number >= 0, or None", "5"),
    "keep_checkpoint_every_n_hours": _Rule(
        lambda value: is_span(value, zero_allowed=False), "hours > 0, or None", "24"
    ),
    "log_step_count_steps": _Rule(lambda value: is_count(value, least=1), "a whole number > 0, or None", "100"),
    "session_creation_timeout_secs": _Rule(
        lambda value: is_span(value, zero_allowed=False), "seconds > 0, or None", "7200"
    ),
    "plan": _choice(Plan, "'auto'"),
    "data_position": _choice(DataPosition, "'continue'"),
    "progress": _choice(Progress, "'auto'"),
    "dependent_rows": _choice(DependentRows, "'refuse'"),
}

_WITHOUT_MEANING = {
    "session_config": "there are no sessions; threads and devices are set with tf.config",
    "device_fn": "there is one device; choose it with tf.config.set_visible_devices",
    "protocol": "processes talk by gRPC",
    "experimental_max_worker_delay_secs": "there are no workers to wait for",
    "checkpoint_save_graph_def": "checkpoints hold arrays and JSON, never a graph",
}
# The classes of tf.distribute that name a way to distribute; their older versions end in V1 or in no V2.
_STRATEGIES = {
    "mirrored": ("MirroredStrategy",),
    "multi_worker_mirrored": ("MultiWorkerMirroredStrategy", "CollectiveAllReduceStrategy"),
    "parameter_server": ("ParameterServerStrategy",),
    "central_storage": ("CentralStorageStrategy",),
    "one_device": ("OneDeviceStrategy",),
}
_said: set[str] = set()


def _one_clock(steps: int | None, secs: float | None) -> tuple[int | None, float | None]:
    if steps is _NOT_GIVEN and secs is _NOT_GIVEN:
        return None, _DEFAULT_SAVE_SECS
    steps = None if steps is _NOT_GIVEN else steps
    secs = None if secs is _NOT_GIVEN else secs
    if steps is not None and secs is not None:
        raise ConfigError(
            "two clocks are set for saving checkpoints",
            found=f"save_checkpoints_steps={steps!r}, save_checkpoints_secs={secs!r}",
            expected="at most one of the two",
            fix=f"pass save_checkpoints_secs=None to save every {steps!r} steps",
        )
    return steps, secs


def _check(name: str, value: Any, rule: _Rule) -> None:
    may_be_none = rule.expected.endswith("or None")
    if not (rule.holds(value) or (value is None and may_be_none)):
        raise ConfigError(
            f"RunConfig cannot use this `{name}`",
            found=f"{name}={value!r}",
            expected=rule.expected,
            fix=f"RunConfig({name}={rule.example})",
        )


def _check_strategy(name: str, strategy: Any) -> None:
    if strategy is None:
        return
    kind, _ = strategy_of(strategy)
    if kind is None or name == "experimental_distribute":
        names = "None" if name == "experimental_distribute" else f"None, {', '.join(map(repr, _STRATEGIES))}"
        raise ConfigError(
            "RunConfig cannot distribute like this",
            found=f"{name}={strategy!r:.80}" if isinstance(strategy, str) else f"{name}={type(strategy).__name__}",
            expected=f"{names}, or a tf.distribute.Strategy of that kind" if names != "None" else "None",
            fix=f"leave `{name}` out: the processes that TF_CONFIG names train together without it",
        )


def _say_launch(launch: Launch | None) -> None:
    if launch is None:
        return
    if launch.is_one_of_several:
        _warn_once("launch", launch.text)
    elif "launch" not in _said:
        _said.add("launch")
        _LOG.info(launch.text)


def _say_ignored(name: str, why: str) -> None:
    text = f"RunConfig({name}=...) has no meaning today and is ignored: {why}. Leave `{name}` out to silence this."
    _warn_once(name, text)


def _warn_once(about: str, text: str) -> None:
    """Warn with the line outside of this package that made the RunConfig."""
    if about in _said:
        return
    _said.add(about)
    depth, frame = 1, sys._getframe()  # noqa: SLF001 - the documented way to look at the caller
    while frame.f_back is not None and _is_ours(frame.f_globals.get("__name__", "")):
        depth, frame = depth + 1, frame.f_back
    warnings.warn(text, EstimatorWarning, stacklevel=depth)


def _is_ours(module: str) -> bool:
    return module == "dataclasses" or module.partition(".")[0] == "keras_estimator"
