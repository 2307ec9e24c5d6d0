"""KE204 baked-nondeterminism: a clock, dice of Python or of NumPy, or the environment is read while a model is traced.

What it finds:
    `np.random`, `random`, `time`, `datetime`, `uuid`, `secrets`, the number of the process, the name of the host or
    `os.environ` in a `call`, a Lambda, a loss or a step; and layers that compute something else in each trace.

Why it matters:
    Python runs once, while the graph is traced. What it gave is a constant from then on: noise that is the same in
    each step, and another one in each process.

If ignored:
    Every step of a process adds the same "random" number, and each worker another one. An Estimator on several workers
    compares their graphs and refuses to start.

Example:
    def call(self, x):
        return x + np.random.normal(size=x.shape)

Instead:
    def __init__(self, **kwargs):
        super().__init__(**kwargs)
        self.seed_generator = keras.random.SeedGenerator()

    def call(self, x):
        return x + keras.random.normal(keras.ops.shape(x), seed=self.seed_generator)

Fix:
    Unsafe: it draws anew in each step, which is what was meant. For display for clocks and the environment.

Evidence:
    `x + np.random.normal()` answered 2.361, 2.361, 2.361 to three calls of `predict`; run eagerly it varied.
"""

from __future__ import annotations

import ast
import dataclasses
import re
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from keras_estimator.doctor.findings import Applicability, Fix, Severity
from keras_estimator.doctor.placed_problems import problems_in
from keras_estimator.doctor.rule import Problem, rule_of
from keras_estimator.doctor.seeded_draws import seeded
from keras_estimator.doctor.source import KerasClass, Source
from keras_estimator.doctor.sure_tensors import SureTensors, sure_tensors
from keras_estimator.doctor.tensors import own_attribute

if TYPE_CHECKING:
    from keras_estimator.doctor.live import LiveModel

SEVERITY = Severity.WARNING
_DICE = re.compile(r"(numpy\.random|random|secrets)\.[a-z]\w*$")
_CLOCKS = re.compile(
    r"time\.(time|perf_counter|monotonic|process_time|ctime|localtime|gmtime|strftime)(_ns)?$"
    r"|datetime\.(datetime\.(now|utcnow|today)|date\.today)$|uuid\.uuid\d$|os\.(urandom|getpid)$"
    r"|socket\.gethostname$|platform\.node$"
)
_ENVIRONMENT = re.compile(r"os\.(getenv|environ\b.*)$")
# Dice that give the same in each process, if they are given a seed.
_MAKERS = re.compile(r"(numpy\.random\.(default_rng|RandomState)|random\.(Random|SystemRandom))$")
_HARMLESS = re.compile(r"(numpy\.random|random)\.(seed|get_state|set_state|getstate|setstate)$")


def in_source(source: Source) -> Iterator[Problem]:
    """Find what is read of clocks, dice and the environment in functions that are traced."""
    seeded_owners: set[int] = set()
    for one in sure_tensors(source):
        dice = _own_dice(source, one.owner)
        for node in one.traced.nodes:
            read = _read(source, node, dice)
            if not read:
                continue
            at = node.func if isinstance(node, ast.Call) else node
            message = f"{source.code(at)} is read once, while {_words(one)} is traced"
            if _ENVIRONMENT.match(read):
                advice = Fix("read it in __init__, and keep it as an argument", Applicability.DISPLAY)
                yield Problem(at, message, fix=advice, severity=Severity.INFO)
                continue
            fix = seeded(source, node, read, one.owner, seeded_owners) if isinstance(node, ast.Call) else None
            yield Problem(at, message, fix=fix)


def _words(one: SureTensors) -> str:
    return "a lambda" if isinstance(one.traced.node, ast.Lambda) else f"`{one.traced.name}`"


def _read(source: Source, node: ast.AST, dice: set[str]) -> str:
    """Return the dotted name of what a node reads of clocks, dice and the environment; empty if nothing."""
    if isinstance(node, ast.Subscript) and source.dotted(node.value) == "os.environ":
        return "os.environ"
    if not isinstance(node, ast.Call):
        return ""
    function = node.func
    if isinstance(function, ast.Attribute) and own_attribute(function.value) in dice:
        return f"numpy.random.{function.attr}"
    name = source.dotted(function)
    if _HARMLESS.match(name) or (_MAKERS.match(name) and node.args):
        return ""
    return name if _DICE.match(name) or _MAKERS.match(name) or _CLOCKS.match(name) or _ENVIRONMENT.match(name) else ""


def _own_dice(source: Source, owner: KerasClass | None) -> set[str]:
    """Return the attributes of a class that hold dice of NumPy or Python."""
    found: set[str] = set()
    for method in owner.methods.values() if owner else ():
        for node in ast.walk(method):
            if isinstance(node, ast.Assign) and isinstance(node.value, ast.Call):
                is_maker = _MAKERS.match(source.dotted(node.value.func))
                found |= {own_attribute(one) for one in node.targets if is_maker}
    return found - {""}


def in_model(live: LiveModel) -> Iterator[Problem]:
    """Find layers that compute something else in each trace, or whose code reads clocks and dice."""
    purity, traces = live.purity, [one.fingerprint for one in live.traced]
    if purity is None:
        return
    # The first trace of a step may make what the others find.
    differing = traces[1].differences(traces[2]) if len(traces) > 2 else []
    for path, layer in live.layers.items():
        where = f"`{path}`" if path else "the model"
        differs = [f"two traces differ in {line}" for line in differing if where in line.partition(": ")[2]]
        reads = [line for line in purity.suspects if line.startswith(f"{where}: ")]
        known = problems_in(live, layer, in_source) if differs or reads else []
        for one in known:
            yield dataclasses.replace(one, layer=path, evidence=(differs or reads)[0])
        place = live.place_of_layer(layer)
        if place is not None and not known and differs and not _counts(live, layer):
            yield Problem(place, "it computes something else each time it is traced", layer=path, evidence=differs[0])


def _counts(live: LiveModel, layer: Any) -> bool:
    """Tell whether it is a counter in Python that differs, which has a rule of its own."""
    of_counters = rule_of("python-state-in-call")
    return of_counters is not None and bool(problems_in(live, layer, of_counters.module.in_source))
