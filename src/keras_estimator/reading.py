"""Where a run is in its data: how far they were read, and the place at which the next call goes on."""

from __future__ import annotations

import contextlib
import dataclasses
import logging
import warnings
from collections.abc import Iterator, Mapping
from typing import Any

from keras_estimator.engines.engine import Engine, Feed, Position, Stride
from keras_estimator.errors import EstimatorWarning
from keras_estimator.inputs import Source, identity

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
        draws: The states of random numbers when the data were opened (see engines/draws.py).
    """

    source: Source
    feed: Feed
    position: Position
    first_pass: int
    identity: str = ""
    goes_on: bool = False
    draws: Mapping[str, Any] = dataclasses.field(default_factory=dict)

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
        """Return what `Reader.open` needs to know, as JSON values.

        Args:
            finished: Whether the call is over, so that the next one begins and does not complete it.
        """
        place = dataclasses.asdict(self.position)
        known = {"identity": self.identity, "finished": finished}
        # The next call reads on, or is given other data, which it says when it begins.
        draws = dict(self.draws) if self.source.stays_open or not finished else None
        return {**place, "first_pass": self.first_pass, **known, "draws": draws, "place": self.feed.place()}


def is_record(record: Any) -> bool:
    """Tell whether this is what `Reading.record` returns, or empty."""
    if not isinstance(record, dict) or not record:
        return record == {}
    counts = [record.get(name) for name in ("passes", "batches", "first_pass")]
    is_place = isinstance(record.get("place"), dict | None)
    return (
        all(type(count) is int and count >= 0 for count in counts) and type(record.get("finished")) is bool and is_place
    )


class Reader:
    """Opens data for training at the place where the call before left them.

    Data stay open between two calls: batches that were read ahead are not lost, and none is read again
    to be skipped when the same data are given again.

    Args:
        engine: The engine that reads them.
    """

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self._held: Reading | None = None

    def draws(self, record: Mapping[str, Any]) -> Mapping[str, Any] | None:
        """Return the states of random numbers when the data of a record were opened, if they are to be opened again.

        Args:
            record: As in `open`.
        """
        return None if self._held is not None else record.get("draws")

    @contextlib.contextmanager
    def open(
        self, source: Source, record: Mapping[str, Any], draws: Mapping[str, Any] | None = None
    ) -> Iterator[Reading]:
        """Open `source`.

        Args:
            source: The data.
            record: What `Reading.record` returned last; empty: begin at the beginning.
            draws: The states of random numbers that `source` was made with, if they are known.
        """
        held, self._held = self._held, None
        reading = self._resumed(source, held, record)
        is_open = held is not None and held.feed is reading.feed
        if held is not None and is_open:
            reading.draws = held.draws
        else:
            _say_if_unrepeatable(reading.feed)
            reading.draws = draws or {}
            if held is not None:
                held.feed.close()
        try:
            self._seek(reading, None if is_open else record.get("place"), is_open=is_open)
            yield reading
        except BaseException:
            reading.feed.close()
            raise
        if source.stays_open:
            self._held = reading
        else:
            reading.feed.close()

    def forget(self) -> None:
        """Read on from a record only, because the state of the model is another one now."""
        if self._held is not None:
            self._held.feed.close()
        self._held = None

    def _resumed(self, source: Source, held: Reading | None, record: Mapping[str, Any]) -> Reading:
        if record and held is not None and held.source.data is source.data:
            feed, same = held.feed, held.identity
        else:
            feed = self._engine.open(source)
            same = identity(source, self._engine.describe(feed))
        if record.get("identity") != same:
            if record:
                _LOG.info("the data are not those of the run so far: reading them from their beginning")
            return Reading(source, feed, Position(), 0, same)
        if held is not None and feed is not held.feed and held.identity == same and source.is_like(held.source):
            feed.close()
            feed = held.feed
        position = Position(int(record["passes"]), int(record["batches"]))
        if 0 < len(feed) <= position.batches:  # a pipeline notices its end only when it is asked for more
            position = Position(position.passes + 1, 0)
        goes_on = not record["finished"]
        first_pass = int(record["first_pass"]) if goes_on else position.passes
        return Reading(source, feed, position, first_pass, same, goes_on)

    def _seek(self, reading: Reading, place: Mapping[str, Any] | None, *, is_open: bool) -> None:
        position = reading.position
        if position.batches and is_open:
            how = "reading on"
        else:
            is_sought = reading.feed.seek(position, None if position == Position() else place)
            how = "seeking" if is_sought else "skipping forward"
        if position.batches:
            _LOG.info("%s at batch %d of pass %d of the data", how, position.batches, position.passes)


def _say_if_unrepeatable(feed: Feed) -> None:
    causes = feed.unrepeatable()
    if causes:
        warnings.warn(
            f"the data come otherwise each time the program is started ({', '.join(causes)}): a run that was killed "
            "cannot go on with the batches that it has not seen. Way out: give a seed, shuffle(..., seed=1); or make "
            "the pipeline in an input_fn, where it gets one.",
            EstimatorWarning,
            stacklevel=2,
        )
