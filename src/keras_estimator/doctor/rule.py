"""What a rule is: a module with a page about itself, and the functions that find problems in a source or in a model.

A rule is two files: `rules/ke301_raw_tf_variable.py`, whose name is its code and its name, and
`tests/rules/ke301_raw_tf_variable.md`, with code that it finds, code that it must not find, and what the fix
makes of it. Nothing else lists the rules.
"""

from __future__ import annotations

import ast
import dataclasses
import functools
import importlib
import pkgutil
import re
from collections.abc import Iterator
from types import ModuleType
from typing import TYPE_CHECKING, Any

from keras_estimator.doctor import rules
from keras_estimator.doctor.findings import Applicability, Finding, Fix, Place, Severity

if TYPE_CHECKING:
    from keras_estimator.doctor.failure import Failure
    from keras_estimator.doctor.live import LiveModel
    from keras_estimator.doctor.source import Source

# What every page says, in this order.
HEADINGS = ("What it finds", "Why it matters", "If ignored", "Example", "Instead", "Fix", "Evidence")
_FINDERS = ("in_source", "in_model", "in_failure")


@dataclasses.dataclass(frozen=True)
class Problem:
    """What a rule found; the rule's code, name and consequence are added to it.

    Attributes:
        at: A node of the source, or a place; None if nobody knows the line.
        message: What was found, in one line, without a full stop.
        layer: The path of the layer it is about.
        evidence: What was measured.
        fix: How to mend it.
        severity: If it is another one than that of the rule.
    """

    at: ast.AST | Place | None
    message: str
    layer: str = ""
    evidence: str = ""
    fix: Fix | None = None
    severity: Severity | None = None


@dataclasses.dataclass(frozen=True)
class Rule:
    """One rule.

    Attributes:
        code: `KE301`.
        name: `raw-tf-variable`.
        severity: How bad it is.
        module: With `in_source(source)`, `in_model(model)` or `in_failure(failure)`, each of which yields `Problem`s.
    """

    code: str
    name: str
    severity: Severity
    module: ModuleType

    @property
    def summary(self) -> str:
        """What it is about, in one sentence."""
        return (self.module.__doc__ or "").partition("\n")[0].partition(": ")[2]

    @functools.cached_property
    def sections(self) -> dict[str, str]:
        """The parts of its page by their headings."""
        parts = re.split(rf"^({'|'.join(HEADINGS)}):", self.module.__doc__ or "", flags=re.M)[1:]
        return {heading: _dedented(text) for heading, text in zip(parts[::2], parts[1::2], strict=True)}

    def in_source(self, source: Source) -> Iterator[Finding]:
        """Yield what it finds in a file, but for lines that silence it."""
        for problem in self._run("in_source", source):
            place = problem.at if isinstance(problem.at, Place | None) else source.place(problem.at)
            if place is None or not source.is_silenced(place.line, self.code):
                yield self._finding(problem, place)

    def in_model(self, model: LiveModel) -> Iterator[Finding]:
        """Yield what it finds in a model."""
        yield from (self._finding(problem, problem.at) for problem in self._run("in_model", model))

    def in_failure(self, failure: Failure) -> Iterator[Finding]:
        """Yield what it makes of an error that the model raised, or that names it."""
        found = list(self._run("in_failure", failure))
        named = failure.named
        if not found and named is not None and named.rule == self.code:
            fix = Fix(named.fix, Applicability.DISPLAY)
            found = [Problem(failure.place, named.problem, failure.layer, evidence=named.found, fix=fix)]
        yield from (self._finding(problem, problem.at) for problem in found)

    def finds(self, finder: str) -> bool:
        """Tell whether it has this one of `in_source`, `in_model` and `in_failure`."""
        return hasattr(self.module, finder)

    def _run(self, finder: str, subject: Any) -> Iterator[Problem]:
        yield from getattr(self.module, finder)(subject) if self.finds(finder) else ()

    def _finding(self, problem: Problem, place: Any) -> Finding:
        return Finding(
            self.code,
            self.name,
            problem.severity or self.severity,
            problem.message,
            place,
            problem.layer,
            " ".join(self.sections.get("If ignored", "").split()),
            problem.evidence,
            problem.fix,
        )


@functools.cache
def all_rules() -> tuple[Rule, ...]:
    """Return every rule, by its code."""
    found = []
    for entry in sorted(pkgutil.iter_modules(rules.__path__), key=lambda entry: entry.name):
        module = importlib.import_module(f"{rules.__name__}.{entry.name}")
        code, _, name = entry.name.partition("_")
        found.append(Rule(code.upper(), name.replace("_", "-"), module.SEVERITY, module))
    return tuple(found)


def rule_of(code: str) -> Rule | None:
    """Return the rule of a code or of a name; None if there is none."""
    return next((rule for rule in all_rules() if code in (rule.name, rule.code) or code.upper() == rule.code), None)


def _dedented(text: str) -> str:
    first, _, rest = text.partition("\n")
    lines = rest.splitlines()
    indent = min((len(line) - len(line.lstrip()) for line in lines if line.strip()), default=0)
    return "\n".join([first.strip(), *(line[indent:] for line in lines)]).strip()
