"""KE412 local-batch-loss: a loss is the mean over the rows of one replica, and their gradients are added up.

What it finds:
    A `train_step` that takes the gradient of a reduction over its batch, and a loss given to `compile` (or a
    `keras.Loss`) that returns one number for the whole batch.

Why it matters:
    Optimizers of Keras add up the gradients of all replicas. `compute_loss`, and losses that give a number for each
    row, are divided by the number of replicas before; a number of your own is not.

If ignored:
    On several devices each step of plain Keras is as many times as large as there are replicas; such a loss takes no
    sample weights either. An Estimator weighs each replica's gradients by its rows: a mean is right there, and a sum
    over the batch is divided by the number of replicas. On one device nothing happens.

Example:
    def train_step(self, data):
        with tf.GradientTape() as tape:
            loss = ops.mean(ops.square(data - self(data)))
        gradients = tape.gradient(loss, self.trainable_weights)

Instead:
    def train_step(self, data):
        with tf.GradientTape() as tape:
            loss = self.compute_loss(data, data, self(data))
        gradients = tape.gradient(loss, self.trainable_weights)

Fix:
    For display: how the loss is to be computed for each row is yours to say.

Evidence:
    SGD, eight rows: the kernel moved by [.072 .212 .118 .312] on one device and by [.144 .424 .237 .624] on two; with
    `compute_loss`, or divided by `num_replicas_in_sync`, by the same on both. A scalar loss function: as the first.
"""

from __future__ import annotations

import ast
import dataclasses
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from keras_estimator.doctor.findings import Applicability, Fix, Severity
from keras_estimator.doctor.placed_problems import problems_around
from keras_estimator.doctor.reductions import is_total
from keras_estimator.doctor.rule import Problem
from keras_estimator.doctor.source import Source
from keras_estimator.doctor.tensors import Traced

if TYPE_CHECKING:
    from keras_estimator.doctor.live import LiveModel

SEVERITY = Severity.WARNING
# Whoever writes one of these thinks of replicas.
_KNOWING = ("num_replicas", "scale_loss_for_distribution", "compute_average_loss", "all_reduce", "scale_regularization")
_OF_STEP = Fix("use self.compute_loss, or divide it by strategy.num_replicas_in_sync", Applicability.DISPLAY)
_OF_LOSS = Fix("return a number for each row: axis=-1", Applicability.DISPLAY)


def in_source(source: Source) -> Iterator[Problem]:
    """Find such reductions in steps and losses."""
    for traced in source.traced:
        is_step = traced.role == "model" and traced.name == "train_step"
        is_loss = traced.role == "loss" and traced.name != "__call__"
        if not (is_step or is_loss) or any(text in ast.unparse(traced.node) for text in _KNOWING):
            continue
        found = _of_step(source, traced) if is_step else _of_loss(source, traced)
        for call in found:
            what = "whose gradients all replicas add up" if is_step else "and is not divided by the number of replicas"
            message = f"{source.code(call.func)} is of the rows of one replica, {what}"
            yield Problem(call, message, fix=_OF_STEP if is_step else _OF_LOSS)


def _of_step(source: Source, traced: Traced) -> list[ast.Call]:
    """Return the reductions over the batch of which a step takes the gradient."""
    wanted: list[ast.AST] = []
    for node in traced.nodes:
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and node.func.attr == "gradient":
            wanted += node.args[:1] or [word.value for word in node.keywords if word.arg == "target"]
    names: set[str] = set()
    found: dict[int, ast.Call] = {}
    while wanted:
        node = wanted.pop()
        if isinstance(node, ast.Call) and is_total(source, node) and traced.any_holds_tensor(node.args):
            found[id(node)] = node
            continue
        if isinstance(node, ast.Name) and node.id not in names:
            names.add(node.id)
            wanted += _assigned(traced, node.id)
        # What other functions make of their arguments is their business.
        is_own = isinstance(node, ast.Call) and not source.dotted(node.func)
        wanted += [] if is_own else list(ast.iter_child_nodes(node))
    return list(found.values())


def _of_loss(source: Source, traced: Traced) -> list[ast.Call]:
    """Return the first reduction of each number that a loss returns for the whole batch."""
    lambdas = [traced.node.body] if isinstance(traced.node, ast.Lambda) else []
    returned = [*lambdas, *(node.value for node in traced.nodes if isinstance(node, ast.Return) and node.value)]
    found = (_number(source, traced, value) for value in returned)
    return [call for call in found if call is not None]


def _number(source: Source, traced: Traced, node: ast.expr, seen: tuple[str, ...] = ()) -> ast.Call | None:
    """Return the first reduction in an expression that is one number for the whole batch; None if it is none."""
    if isinstance(node, ast.Call) and is_total(source, node) and traced.any_holds_tensor(node.args):
        return node
    parts: list[ast.expr] = []
    if isinstance(node, ast.Name) and node.id not in seen:
        values = _assigned(traced, node.id)
        seen, parts = (*seen, node.id), values if len(values) == 1 else []
    elif isinstance(node, ast.BinOp):
        parts = [node.left, node.right]
    elif isinstance(node, ast.UnaryOp):
        parts = [node.operand]
    numbers = [_number(source, traced, part, seen) for part in parts]
    others = [part for part, number in zip(parts, numbers, strict=True) if number is None]
    return None if traced.any_holds_tensor(others) else next((number for number in numbers if number is not None), None)


def _assigned(traced: Traced, name: str) -> list[ast.expr]:
    nodes = (node for node in traced.nodes if isinstance(node, ast.Assign | ast.AugAssign))
    bound = ((node.value, node.targets if isinstance(node, ast.Assign) else [node.target]) for node in nodes)
    return [value for value, targets in bound if any(isinstance(one, ast.Name) and one.id == name for one in targets)]


def in_model(live: LiveModel) -> Iterator[Problem]:
    """Call a loss of the user with a batch: one number for many rows is a number for the whole batch."""
    loss = live.compiled_parts.get("loss")
    function = getattr(loss, "call", loss)
    place = live.place_of(function) if callable(function) else None
    if place is None:
        return  # a function of Keras
    code = getattr(getattr(function, "__func__", function), "__code__", None)
    knows = any(text in str(getattr(code, "co_names", "")) for text in _KNOWING)
    if not knows and (rows := _rows_of_a_number(live, function)) > 1:
        message = "the loss is one number for all rows of one replica, and is not divided by the number of replicas"
        for one in problems_around(place, in_source) or [Problem(place, message, fix=_OF_LOSS)]:
            yield dataclasses.replace(one, evidence=f"it gives one number for {rows} rows")


def _rows_of_a_number(live: LiveModel, function: Any) -> int:
    try:
        (answer,) = live.answer(live.arrays[0] if live.arrays else None)
        y = live.keras.utils.unpack_x_y_sample_weight(live.data)[1]
        loss = live.tf.convert_to_tensor(function(*map(live.tf.convert_to_tensor, (y, answer))))
    except Exception:  # noqa: BLE001 - with what was made up, code of the user's may do anything
        return 0
    return 0 if len(loss.shape) else len(answer)
