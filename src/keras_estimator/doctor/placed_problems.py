"""What a rule finds in the source, asked for by those who know a place of it: an error, or a part of a live model."""

from __future__ import annotations

import ast
import dataclasses
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any

from keras_estimator.doctor.findings import Fix, Place
from keras_estimator.doctor.rule import Problem
from keras_estimator.doctor.source import Source

if TYPE_CHECKING:
    from keras_estimator.doctor.failure import Failure
    from keras_estimator.doctor.live import LiveModel

InSource = Callable[[Source], Iterator[Problem]]


def problems_at(place: Place | None, in_source: InSource) -> list[Problem]:
    """Return what a rule finds in the line of a place.

    Args:
        place: Where an error came from; None if nobody knows.
        in_source: The function of the rule.
    """
    return [] if place is None else [one for at, one in _problems(place.file, in_source) if at.line == place.line]


def problems_told(failure: Failure, in_source: InSource, otherwise: str, advice: Fix) -> Iterator[Problem]:
    """Yield what a rule finds in the line that an error came from, or else the error itself.

    Args:
        failure: An error that the rule knows.
        in_source: The function of the rule.
        otherwise: What to say if the source shows nothing there.
        advice: What to do about it then.
    """
    told = failure.innermost
    known = problems_at(told.place, in_source)
    yield from (dataclasses.replace(one, evidence=told.line) for one in known)
    if not known:
        yield Problem(told.place, otherwise, layer=failure.layer, evidence=told.line, fix=advice)


def problems_around(place: Place | None, in_source: InSource) -> list[Problem]:
    """Return what a rule finds in the function that a place is in.

    Args:
        place: Where an error came from; None if nobody knows.
        in_source: The function of the rule.
    """
    source = _source(place.file) if place else None
    if source is None or place is None:
        return []
    functions = [
        node
        for node in source.nodes
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda)
        and node.lineno <= place.line <= (node.end_lineno or 0)
    ]
    if not functions:
        return problems_at(place, in_source)
    lines = range(functions[-1].lineno, (functions[-1].end_lineno or 0) + 1)
    return [one for at, one in _problems(place.file, in_source) if at.line in lines]


def problems_in(live: LiveModel, layer: Any, in_source: InSource) -> list[Problem]:
    """Return what a rule finds in the class of a layer, and in those of the user that it inherits from.

    Args:
        live: The model.
        layer: A layer of it, or the model itself; of a Lambda, its function is looked at.
        in_source: The function of the rule.
    """
    is_lambda = live.is_a(layer, "keras.layers.Lambda")
    found: list[Problem] = []
    for code in (layer.function,) if is_lambda else type(layer).__mro__:
        place = live.place_of(code)
        lines = _lines_at(place) if place else range(0)
        if place:
            found += [one for at, one in _problems(place.file, in_source) if at.line in lines]
    return found


def _problems(file: str, in_source: InSource) -> Iterator[tuple[Place, Problem]]:
    """Yield the problems of a file, with places for nodes."""
    source = _source(file)
    for problem in in_source(source) if source else ():
        at = problem.at if source is None or not isinstance(problem.at, ast.AST) else source.place(problem.at)
        if isinstance(at, Place):
            yield at, dataclasses.replace(problem, at=at)


def _source(file: str) -> Source | None:
    from keras_estimator.doctor.imported import source_of  # noqa: PLC0415 - it starts Keras, which a model has done

    return source_of(file)


def _lines_at(place: Place) -> range:
    """Return the lines of the definition, or else of the statement, that begins at a place."""
    source = _source(place.file)
    around = [
        node
        for node in (source.nodes if source else ())
        if isinstance(node, ast.stmt) and node.lineno <= place.line <= (node.end_lineno or 0)
    ]
    kinds = (ast.ClassDef, ast.FunctionDef, ast.AsyncFunctionDef)
    defined = [node for node in around if isinstance(node, kinds) and node.lineno == place.line]
    innermost = (defined or around)[-1:]
    return range(innermost[0].lineno, (innermost[0].end_lineno or 0) + 1) if innermost else range(0)
