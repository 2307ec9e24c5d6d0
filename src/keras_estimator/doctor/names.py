"""What the names of a file stand for: `np.sin` is `numpy.sin`, `tf.keras.layers.Dense` is `keras.layers.Dense`."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterable
from typing import Protocol

_CANONICAL = (
    (re.compile(r"tensorflow\.(compat\.v[12]\.)?(python\.)?keras\b"), "keras"),
    (re.compile(r"tensorflow\.compat\.v2\b"), "tensorflow"),
    (re.compile(r"keras\.(src|_tf_keras\.keras)\b"), "keras"),
    (re.compile(r"keras\.engine\.(base_layer|training)\b"), "keras"),
)
# What stands beside the class of a kind, and is no class of it.
_KINDS = {
    "layers": "layer",
    "models": "model",
    "losses": "loss",
    "metrics": "metric",
    "optimizers": "optimizer",
    "schedules": "schedule",
    "initializers": "initializer",
    "regularizers": "regularizer",
    "constraints": "constraint",
    "callbacks": "callback",
    "quantizers": "quantizer",
}
_AT_THE_TOP = {
    "Layer": "layer",
    "Model": "model",
    "Sequential": "model",
    "Functional": "model",
    "Loss": "loss",
    "Metric": "metric",
    "Optimizer": "optimizer",
    "Initializer": "initializer",
    "Regularizer": "regularizer",
    "Constraint": "constraint",
    "Callback": "callback",
    "LearningRateSchedule": "schedule",
}
ROOTS = frozenset(
    """
    keras.Layer keras.layers.Layer keras.Model keras.models.Model keras.Sequential keras.models.Sequential
    keras.models.Functional keras.Functional keras.Loss keras.losses.Loss keras.Metric keras.metrics.Metric
    keras.Optimizer keras.optimizers.Optimizer keras.Initializer keras.initializers.Initializer
    keras.Regularizer keras.regularizers.Regularizer keras.constraints.Constraint keras.callbacks.Callback
    keras.optimizers.schedules.LearningRateSchedule
    """.split()
)


def canonical(dotted: str) -> str:
    """Return the one name of something that has several: `tensorflow.keras.Model` is `keras.Model`."""
    for pattern, name in _CANONICAL:
        dotted = pattern.sub(name, dotted, count=1) if pattern.match(dotted) else dotted
    return dotted


def kind_of_keras(dotted: str) -> str:
    """Return what kind of Keras class a canonical name stands for: "layer", "model", ...; empty if none."""
    package, *inner, name = dotted.split(".") if "." in dotted else ["", dotted]
    if package != "keras" or not name[:1].isupper():
        return ""
    # Keras's modules go from the general to the special: `keras.optimizers.schedules.CosineDecay` is a schedule.
    return next((_KINDS[part] for part in reversed(inner) if part in _KINDS), _AT_THE_TOP.get(name, ""))


class Surroundings(Protocol):
    """What is around a file: tells what names of other files stand for."""

    def canonical(self, dotted: str) -> str:
        """Return the canonical name of something of another file; the same name if it has no other."""

    def kind_of(self, dotted: str) -> str:
        """Return what kind of Keras class a dotted name stands for, "layer" and so on; empty if none."""


class Alone:
    """Nothing is around a file but what is installed."""

    def canonical(self, dotted: str) -> str:
        """Return the name."""
        return dotted

    def kind_of(self, dotted: str) -> str:
        """Return what kind of Keras class a name stands for by itself."""
        return kind_of_keras(dotted)


class Names:
    """The names that a file imports, or gives to what it imports.

    Args:
        tree: The file.
        module: The dotted name of the file as a module; for imports that are relative to it.
        is_package: Whether the file is an `__init__.py`.
        around: What is around it.
    """

    def __init__(
        self,
        nodes: Iterable[ast.AST],
        module: str = "",
        *,
        is_package: bool = False,
        around: Surroundings | None = None,
    ) -> None:
        self._around = around or Alone()
        self._known: dict[str, str] = {}
        self._module = module.split(".") if module else []
        self._is_package = is_package
        self._named: dict[str, str] = {}
        assigned: list[tuple[str, ast.expr]] = []
        for node in nodes:
            if isinstance(node, ast.Import):
                for alias in node.names:
                    top = alias.name if alias.asname else alias.name.partition(".")[0]
                    self._named[alias.asname or top] = canonical(top)
            elif isinstance(node, ast.ImportFrom):
                self._from(node)
            elif isinstance(node, ast.Assign) and len(node.targets) == 1 and isinstance(node.targets[0], ast.Name):
                assigned.append((node.targets[0].id, node.value))
        for name, value in assigned:
            self._assign(name, value)

    def _assign(self, name: str, value: ast.expr) -> None:
        """Note `L = keras.layers` and `Layer = tf.keras.layers.Layer`, and nothing that is computed."""
        if isinstance(value, ast.Attribute) and name not in self._named:
            dotted = self.dotted(value)
            if dotted and (kind_of_keras(dotted) or dotted.count(".") == 1):
                self._named[name] = dotted

    def _from(self, node: ast.ImportFrom) -> None:
        base = node.module or ""
        if node.level:
            up = node.level - (1 if self._is_package else 0)
            package = self._module[: len(self._module) - up] if up else self._module
            base = ".".join([*package, *([base] if base else [])])
        for alias in node.names:
            if alias.name != "*":
                self._named[alias.asname or alias.name] = canonical(f"{base}.{alias.name}" if base else alias.name)

    def dotted(self, node: ast.AST | None) -> str:
        """Return the canonical name of `a.b.c` if `a` was imported; empty for everything else."""
        parts: list[str] = []
        while isinstance(node, ast.Attribute):
            parts.append(node.attr)
            node = node.value
        if not isinstance(node, ast.Name) or node.id not in self._named:
            return ""
        dotted = ".".join([self._named[node.id], *reversed(parts)])
        if dotted not in self._known:
            self._known[dotted] = self._around.canonical(canonical(dotted))
        return self._known[dotted]

    def alias_of(self, module: str) -> str:
        """Return the name under which a module was imported; empty if it was not."""
        return next((name for name, dotted in self._named.items() if dotted == module and "." not in name), "")

    @property
    def imported(self) -> dict[str, str]:
        """Every name and what it stands for."""
        return dict(self._named)
