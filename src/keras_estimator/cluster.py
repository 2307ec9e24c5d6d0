"""What part this process has in a cluster, as the environment variable TF_CONFIG tells it.

TF_CONFIG is a JSON object. Its keys are those that tf.estimator read, and all may be left out: `cluster`
(type of task to the addresses of its tasks), `task` (`type` and `index` of this process), `model_dir`,
`service`, `environment`, `session_master`, `eval_session_master`. Other keys are not looked at.
"""

from __future__ import annotations

import dataclasses
import json
import re
import shlex
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

from keras_estimator.errors import ConfigError

_CHIEFS = ("chief", "master")
_TEXTS = ("model_dir", "environment", "session_master", "eval_session_master")
_LONGEST_FOUND = 200
_LONGEST_FIX = 400
_DEEPEST = 20  # what was read is copied, pickled and printed by functions that call themselves
_EXAMPLE_CLUSTER = {"chief": ["localhost:2222"]}
_EXAMPLE: dict[str, Any] = {"cluster": _EXAMPLE_CLUSTER, "task": {"type": "chief", "index": 0}}


@dataclasses.dataclass(frozen=True)
class Task:
    """One process of a run: what it is, and which others there are.

    Attributes:
        type: "chief" (or "master", its older name), "worker", "ps", "evaluator", or another type
            that the cluster has.
        index: Its number among the tasks of its type.
        jobs: Type and addresses of all tasks. Empty without a cluster, and for an evaluator, which
            reads checkpoints and needs no one.
        session_master: An address that takes the place of `master`.
        evaluation_master: The address that an evaluation uses.
        service: What the platform has to say.
        environment: The kind of platform.
        model_dir: The folder of the run, if TF_CONFIG names it.
    """

    type: str = "worker"
    index: int = 0
    jobs: tuple[tuple[str, tuple[str, ...]], ...] = ()
    session_master: str | None = None
    evaluation_master: str = ""
    service: dict[str, Any] | None = dataclasses.field(default=None, hash=False)
    environment: str | None = None
    model_dir: str | None = None

    @property
    def is_chief(self) -> bool:
        """Whether this is the one task that writes."""
        return self.type in _CHIEFS or (not self.jobs and self.type != "evaluator")

    @property
    def master(self) -> str:
        """Its own address; empty where there is nobody else to talk to."""
        if self.type == "evaluator":
            return ""
        if self.session_master is not None:
            return self.session_master
        num_tasks = sum(len(addresses) for _, addresses in self.jobs)
        return f"grpc://{dict(self.jobs)[self.type][self.index]}" if num_tasks > 1 else ""

    @property
    def num_worker_replicas(self) -> int:
        """How many tasks train, the chief among them."""
        if not self.jobs:
            return 0 if self.type == "evaluator" else 1
        return sum(len(addresses) for name, addresses in self.jobs if name in ("worker", *_CHIEFS))

    @property
    def trainers(self) -> list[tuple[str, int]]:
        """Type and index of the tasks that train together, the chief first; empty if this is none of them."""
        sizes = {name: len(addresses) for name, addresses in self.jobs}
        tasks = [(name, index) for name in (*_CHIEFS, "worker") for index in range(sizes.get(name, 0))]
        return tasks if (self.type, self.index) in tasks else []

    @property
    def num_ps_replicas(self) -> int:
        """How many parameter servers there are."""
        return len(dict(self.jobs).get("ps", ()))

    @property
    def global_id_in_cluster(self) -> int | None:
        """Its number among all: the chief first, parameter servers last, the others by name."""
        if self.type == "evaluator":
            return None

        def place(name: str) -> tuple[bool, bool, str]:
            return name == "ps", name not in _CHIEFS, name

        before = (addresses for name, addresses in self.jobs if place(name) < place(self.type))
        return sum(map(len, before)) + self.index

    def agreed_folder(self, model_dir: str | None) -> str | None:
        """Return the one folder that the argument `model_dir` and TF_CONFIG name.

        Raises:
            ConfigError: they name two.
        """
        if model_dir is not None and self.model_dir is not None and Path(model_dir) != Path(self.model_dir):
            raise ConfigError(
                "RunConfig and TF_CONFIG name two folders for one run",
                found=_short(
                    f'TF_CONFIG has "model_dir": {json.dumps(self.model_dir)}; RunConfig has model_dir={model_dir!r}'
                ),
                expected="the same folder, or one of the two",
                fix=f"RunConfig(model_dir={self.model_dir!r})",
            )
        return model_dir or self.model_dir


def read_task(environment: Mapping[str, str]) -> Task:
    """Return what TF_CONFIG in this environment says of this process; without it, a worker by itself.

    Raises:
        ConfigError: TF_CONFIG cannot be read, or names no cluster and task that can be.
    """
    text = environment.get("TF_CONFIG", "")
    given = _parsed(text) if text.strip() else {}
    _check_settings(given)
    cluster = _checked_cluster(given)
    task_type, index = _task_in(cluster, given) if cluster else _lone_task(given)
    is_evaluator = task_type == "evaluator"
    master = given.get("eval_session_master") if is_evaluator or not cluster else None
    jobs = () if is_evaluator else tuple(sorted((name, tuple(addresses)) for name, addresses in cluster.items()))
    return Task(
        task_type,
        index,
        jobs,
        session_master=given.get("session_master"),
        evaluation_master=master or "",
        service=given.get("service"),
        environment=given.get("environment"),
        model_dir=given.get("model_dir"),
    )


class Launch(NamedTuple):
    """Who started this process.

    Attributes:
        text: One line to show.
        is_one_of_several: Whether it has siblings that run the same program.
    """

    text: str
    is_one_of_several: bool


def launch_without_cluster(environment: Mapping[str, str]) -> Launch | None:
    """Return what Slurm or Kubernetes started, if it did and TF_CONFIG says nothing of a cluster."""
    if environment.get("TF_CONFIG", "").strip():
        return None  # Platforms that know the cluster, as Kubeflow does, set it; a user may set {}.
    rank, pod = _number(environment, "SLURM_PROCID"), _number(environment, "JOB_COMPLETION_INDEX")
    if rank is not None:
        # A batch script has a rank and SLURM_NTASKS too, but runs once; srun alone sets the number of a step.
        size = _number(environment, "SLURM_STEP_NUM_TASKS")
        if size is None and rank > 0:
            size = _number(environment, "SLURM_NTASKS")
        of_size = "" if size is None else f" of {size}"
        who = f"Slurm task {rank}{of_size} (job {environment.get('SLURM_JOB_ID', '?')[:40]})"
        return _launch(who, "SLURM_PROCID", is_one_of_several=rank > 0 or (size or 1) > 1)
    if pod is not None:  # How many there are is not in the environment.
        return _launch(f"pod {pod} of a Kubernetes Job", "JOB_COMPLETION_INDEX", is_one_of_several=pod > 0)
    return None


def _launch(who: str, variable: str, *, is_one_of_several: bool) -> Launch:
    text = f"{who}: TF_CONFIG is not set, so this process trains by itself"
    if is_one_of_several:
        text += (
            ", as the others do. In one model_dir they would damage each other's checkpoints: start one process, or "
            f"give each a folder of its own, such as RunConfig(f\"runs/{{os.environ['{variable}']}}\"). "
            "TF_CONFIG='{}' silences this."
        )
    return Launch(text, is_one_of_several)


def _number(environment: Mapping[str, str], name: str) -> int | None:
    value = environment.get(name, "")
    return int(value) if re.fullmatch("[0-9]{1,9}", value) else None


def _parsed(text: str) -> dict[str, Any]:
    def unreadable(reason: str) -> ConfigError:
        return ConfigError(
            f"the environment variable TF_CONFIG cannot be read: {reason}",
            found=_short(f"TF_CONFIG={text[:_LONGEST_FOUND]!r}"),
            expected='a JSON object such as {"cluster": {...}, "task": {...}}',
            fix="unset TF_CONFIG",
        )

    try:
        given = json.loads(text)
    except ValueError as error:
        raise unreadable(f"no JSON ({error})") from error
    except RecursionError as error:
        raise unreadable("it is nested too deep") from error
    if not isinstance(given, dict):
        raise unreadable("no JSON object")
    if _is_deeper(given, _DEEPEST):
        raise unreadable("it is nested too deep")
    return given


def _is_deeper(value: Any, most: int) -> bool:
    inner = value.values() if isinstance(value, dict) else value if isinstance(value, list) else ()
    return any(most == 0 or _is_deeper(each, most - 1) for each in inner)


def _check_settings(given: dict[str, Any]) -> None:
    service, folder = given.get("service"), given.get("model_dir")
    if service is not None and not isinstance(service, dict):
        raise _refusal(given, "service", "`service` must be an object", expected='an object, such as {"name": "x"}')
    for key in _TEXTS:
        if given.get(key) is not None and not isinstance(given[key], str):
            raise _refusal(given, key, f"`{key}` must be a string", expected="a string")
    if folder is not None and (folder == "" or "://" in folder):
        raise _refusal(given, "model_dir", "`model_dir` must be a local folder", expected="the path of a local folder")


def _checked_cluster(given: dict[str, Any]) -> dict[str, list[str]]:
    cluster = given.get("cluster", {})
    expected = 'type of task to list of addresses, such as {"chief": ["localhost:2222"]}'
    if not isinstance(cluster, dict):
        raise _refusal(given, "cluster", "`cluster` must be an object", expected=expected, mended=_EXAMPLE)
    for name, addresses in cluster.items():
        if not isinstance(addresses, list) or not all(isinstance(each, str) and each for each in addresses):
            problem = f"the addresses of `{_short(name, 40)}` must be a list of strings"
            raise _refusal(given, "cluster", problem, expected=expected, mended=_EXAMPLE, inside=name)
    if cluster:
        _check_chief(given, cluster)
    return cluster


def _check_chief(given: dict[str, Any], cluster: dict[str, list[str]]) -> None:
    if "chief" in cluster and "master" in cluster:
        others = {name: addresses for name, addresses in cluster.items() if name != "master"}
        raise _refusal(
            given,
            "cluster",
            "a cluster has a `chief` or a `master`, not both",
            expected="one `chief`, and no `master`",
            mended={"cluster": {**others, "chief": others["chief"][:1]}, "task": _EXAMPLE["task"]},
        )
    name = "master" if "master" in cluster else "chief"
    if len(cluster.get(name, ())) != 1:
        first = next((each for kind in (name, "worker") for each in cluster.get(kind, ())), "localhost:2222")
        others = {kind: [each for each in addresses if each != first] for kind, addresses in cluster.items()}
        task = given.get("task")
        index = _index(task.get("index")) if isinstance(task, dict) and task.get("type") == "worker" else None
        # What is pasted must not make two chiefs: the first worker becomes it, the others move up.
        is_moved_up = name not in cluster and bool(index)
        raise _refusal(
            given,
            "cluster",
            f"a cluster has exactly one `{name}`",
            expected=f"one address of a `{name}`: it may be what is the first worker now",
            mended={
                "cluster": {**others, name: [first]},
                "task": {"type": "worker", "index": (index or 1) - 1} if is_moved_up else {"type": name, "index": 0},
            },
        )


def _lone_task(given: dict[str, Any]) -> tuple[str, int]:
    task, lone = given.get("task", {}), {"type": "worker", "index": 0}
    if not isinstance(task, dict):
        raise _refusal(given, "task", "`task` must be an object", expected=json.dumps(lone), mended={"task": lone})
    task_type, index = task.get("type", "worker"), _index(task.get("index", 0))
    if task_type == "worker" and index == 0:
        return "worker", 0
    mended: dict[str, Any] = {"task": lone}
    expected = 'worker 0, or a "cluster" that has this task'
    if task_type in ("chief", "master", "evaluator"):
        role = "evaluator" if task_type == "evaluator" else "chief"
        mended = {"cluster": _EXAMPLE_CLUSTER, "task": {"type": role, "index": 0}}
        expected = 'a "cluster" with one "chief" beside the task; or worker 0, which needs no cluster'
    raise _refusal(given, "task", "without a cluster there is one task, worker 0", expected=expected, mended=mended)


def _task_in(cluster: dict[str, list[str]], given: dict[str, Any]) -> tuple[str, int]:
    task = given["task"] if isinstance(given.get("task"), dict) else {}
    chief = "chief" if "chief" in cluster else "master"
    task_type = _type_in(cluster, given, task.get("type"))
    index, num_tasks = _index(task.get("index")), len(cluster.get(task_type, ()))
    is_outside = task_type == "evaluator"  # It may be listed in the cluster, or not.
    if index is None or (index >= num_tasks and not is_outside):
        most = f", < {num_tasks}: there are so many addresses of `{task_type}`" if num_tasks else ""
        raise _refusal(
            given,
            "task",
            f"the index of a `{_short(task_type, 40)}` must be its number among those of its type",
            expected=_short(f'a whole "index" >= 0{most}'),
            mended={"task": {"type": task_type if num_tasks or is_outside else chief, "index": 0}},
        )
    return task_type, index


def _type_in(cluster: dict[str, list[str]], given: dict[str, Any], task_type: Any) -> str:
    chief = "chief" if "chief" in cluster else "master"
    if task_type == "evaluator" and chief == "master":
        renamed = {"chief" if name == "master" else name: addresses for name, addresses in cluster.items()}
        raise _refusal(
            given,
            "task",
            "beside a `master` there is no `evaluator`",
            expected="a `chief` instead of the `master`, in the TF_CONFIG of every task",
            mended={"cluster": renamed, "task": {"type": "evaluator", "index": 0}},
        )
    types = sorted({*cluster, *(["evaluator"] if chief == "chief" else [])})
    if not isinstance(task_type, str) or task_type not in types:
        raise _refusal(
            given,
            "task",
            "in a cluster a task has one of the types of the cluster",
            expected=_short(f'a "task" with an "index", and a "type" out of: {", ".join(types)}'),
            mended={"task": {"type": chief, "index": 0}},
        )
    return task_type


def _index(value: Any) -> int | None:
    """Return the number that an index is; scripts that make TF_CONFIG often write it as a string."""
    if isinstance(value, str) and re.fullmatch("[0-9]{1,9}", value):
        return int(value)
    return value if isinstance(value, int) and not isinstance(value, bool) and value >= 0 else None


def _refusal(
    given: dict[str, Any],
    key: str,
    problem: str,
    *,
    expected: str,
    mended: Mapping[str, Any] | None = None,
    inside: str | None = None,
) -> ConfigError:
    """Return the error about one key; its fix is TF_CONFIG with that mended, or left out."""
    found = f'TF_CONFIG has no "{key}"'
    if key in given:
        piece = given[key] if inside is None else {inside: given[key][inside]}
        found = f'TF_CONFIG has "{key}": {json.dumps(piece)}'
    fix = _export({**{name: value for name, value in given.items() if name != key}, **(mended or {})})
    return ConfigError(
        f"TF_CONFIG cannot be used: {problem}",
        found=_short(found),
        expected=expected,
        fix=fix if len(fix) <= _LONGEST_FIX else _export(_EXAMPLE),
    )


def _export(tf_config: dict[str, Any]) -> str:
    return f"export TF_CONFIG={shlex.quote(json.dumps(tf_config))}"


def _short(text: str, most: int = _LONGEST_FOUND) -> str:
    return text if len(text) <= most else f"{text[: most - 1]}…"
