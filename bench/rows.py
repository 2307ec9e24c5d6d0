"""Who is measured, in which environment and against which of ours: one row of the table each."""

from __future__ import annotations

import dataclasses

OURS, OURS_ARRAYS = "ours", "ours-arrays"
FIT, BY_HAND, ORIGINAL, JAX = "fit", "by hand", "original", "JAX"
FAMILIES = (FIT, BY_HAND, ORIGINAL, JAX)  # of the peers, of which the best row counts
MODES = ("train", "evaluate", "predict", "latency")


@dataclasses.dataclass(frozen=True)
class Row:
    """A contender.

    Attributes:
        name: As given to `--peers`.
        family: What it is a setting of.
        place: Module and class that do it.
        environment: Whose interpreter runs it.
        is_default: Whether it is measured if nothing else is asked for.
        stays: Whether it is measured even where another setting of the family is far better: claims name it.
        refines: A setting of the family without which this one has no hope either.
        executes_many: Whether it makes many steps in one execution, and so no fewer.
    """

    name: str
    family: str
    place: str
    environment: str = "ours"
    is_default: bool = True
    stays: bool = False
    refines: str | None = None
    executes_many: bool = False

    @property
    def reads_arrays(self) -> bool:
        """Whether it is given the arrays directly instead of a dataset; it is compared with ours that are, too."""
        return self.name.endswith("-arrays")


ROWS = {
    row.name: row
    for row in (
        Row(OURS, OURS, "bench.ours:Ours", stays=True),
        Row("ours-restart", OURS, "bench.ours:OursRestart", is_default=False, stays=True),
        Row("ours-step", OURS, "bench.ours:OursStep", is_default=False, stays=True),
        Row("ours-stacked", OURS, "bench.ours:OursStacked", is_default=False, stays=True),
        Row(OURS_ARRAYS, OURS, "bench.ours:OursArrays", stays=True),
        Row("ours-step-arrays", OURS, "bench.ours:OursStepArrays", is_default=False, stays=True),
        Row("ours-stacked-arrays", OURS, "bench.ours:OursStackedArrays", is_default=False, stays=True),
        Row("fit", FIT, "bench.fit:Fit", stays=True),
        Row("fit50", FIT, "bench.fit:Fit50", executes_many=True),
        Row("fit-xla", FIT, "bench.fit:FitXla"),
        Row("fit50-xla", FIT, "bench.fit:Fit50Xla", refines="fit-xla", executes_many=True),
        Row("fit-arrays", FIT, "bench.fit:FitArrays", is_default=False, stays=True),
        Row("fit50-arrays", FIT, "bench.fit:Fit50Arrays", is_default=False, stays=True, executes_many=True),
        Row("loop", BY_HAND, "bench.by_hand:Loop"),
        Row("loop-xla", BY_HAND, "bench.by_hand:LoopXla"),
        Row("loop-stacked", BY_HAND, "bench.by_hand:LoopStacked", refines="loop-xla", executes_many=True),
        Row("original", ORIGINAL, "bench.original:Original", environment=ORIGINAL),
        Row("jax-arrays", JAX, "bench.fit:JaxArrays", environment=JAX),
    )
}
PEERS = tuple(name for name, row in ROWS.items() if name not in (OURS, OURS_ARRAYS))


def with_ours(peers: list[str]) -> list[Row]:
    """Return the rows of these peers, after ours that are given the same."""
    ours = {OURS_ARRAYS if ROWS[peer].reads_arrays else OURS for peer in peers}
    return [row for name, row in ROWS.items() if name in {*ours, *peers}]
