"""Where a run is in its data: how far they were read, and the place at which the next call goes on."""

from __future__ import annotations

import dataclasses
import logging
from collections.abc import Mapping
from typing import Any

from keras_estimator.engines.engine import Engine, Feed, Position, Stride
from keras_estimator.inputs import Source, batches_per_pass, identity

_LOG = logging.getLogger("keras_estimator")


@dataclasses.dataclass
class Reading:
    """Where a call of train is in its data.

    Attributes:
        source: The data.
        feed: The batches of it.
        position: How far they were read.
        first_pass: The pass in which the call began (also one that was killed and goes on).
        identity: A hash by which the same data are known again.
        goes_on: Whether this is what is left of a call that was killed.
    """

    source: Source
    feed: Feed
    position: Position
    first_pass: int
    identity: str = ""
    goes_on: bool = False

    def advance(self, stride: Stride) -> None:
        """Note what a stride read."""
        if stride.ended:
            self.position = Position(self.position.passes + 1, 0)
        else:
            self.position = Position(self.position.passes, self.position.batches + stride.steps)

    def has_more(self) -> bool:
        """Say whether there is another pass for this call."""
        passes = self.source.passes
        return passes is None or self.position.passes - self.first_pass < passes

    def begin_next_pass(self) -> None:
        """Let the call begin with the next pass, because the one before it had read this pass to its end."""
        self.first_pass = self.position.passes
        self.feed.seek(self.position)

    def record(self, *, finished: bool) -> dict[str, Any]:
        """Return what `resume` needs to know, as JSON values.

        Args:
            finished: Whether the call is over, so that the next one begins and does not complete it.
        """
        place = dataclasses.asdict(self.position)
        return {**place, "first_pass": self.first_pass, "identity": self.identity, "finished": finished}


def resume(engine: Engine, source: Source, feed: Feed, record: Mapping[str, Any], *, is_open: bool) -> Reading:
    """Go to the place in the data at which the call before this one left them.

    Args:
        engine: The engine of the feed.
        source: The data.
        feed: The batches of it.
        record: What `Reading.record` returned last; empty: begin at the beginning.
        is_open: Whether the feed is the one of the call before, and stands there already.
    """
    same = identity(source, engine.describe(feed))
    if not record or record.get("identity") != same:
        if record:
            _LOG.info("the data are not those of the run so far: reading them from their beginning")
        feed.seek(Position())
        return Reading(source, feed, Position(), 0, same)
    position = Position(int(record["passes"]), int(record["batches"]))
    if 0 < len(feed) <= position.batches:  # a pipeline does not know that it is at its end before it is asked for more
        position, is_open = Position(position.passes + 1, 0), False
    goes_on = not record["finished"]
    first_pass = int(record["first_pass"]) if goes_on else position.passes
    if not is_open:
        if position.batches:
            how = "seeking" if batches_per_pass(source) else "skipping forward"
            _LOG.info("%s to batch %d of pass %d of the data", how, position.batches, position.passes)
        feed.seek(position)
    return Reading(source, feed, position, first_pass, same, goes_on)
