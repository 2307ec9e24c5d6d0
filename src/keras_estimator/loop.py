"""The loop: ask the engine for as many steps as fit before a hook is due, then call the hooks.

    begin
    repeat
        stride          at most to the next due hook, the end of a pass, a report, or about a second
        after_steps     of every hook that is due
        after_epoch     of every hook, when a pass over the data ended
    end

Nothing returns to Python within a stride. The metrics are means since the last report
(`report_steps`), or since the epoch began if a hook follows epochs, as Keras callbacks do.
"""

from __future__ import annotations

import contextlib
import dataclasses
import math
import signal
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from types import FrameType
from typing import Any

from keras_estimator.engines.engine import Engine, Feed, Position, Stride
from keras_estimator.errors import EmptyInputError, NonFiniteLossError
from keras_estimator.hooks.hook import Clock, Hook, Run
from keras_estimator.inputs import Source, batches_per_pass

_SECS_PER_STRIDE = 0.5  # so that a progress bar moves and Ctrl-C is heard


class Pace:
    """How many steps take about half a second."""

    def __init__(self) -> None:
        self._steps = 8.0

    def limit(self) -> int:
        """Return how many steps to ask for at once."""
        return max(1, int(self._steps))

    def learn(self, steps: int, secs: float) -> None:
        """Learn from a stride; grow at most fourfold, because the first strides are slow."""
        if steps:
            self._steps = min(4 * self._steps, max(1.0, _SECS_PER_STRIDE * steps / max(secs, 1e-6)))


@dataclasses.dataclass
class Reading:
    """Where a call of train is in its data.

    Attributes:
        source: The data.
        feed: The batches of it.
        position: How far they were read.
        first_pass: The pass in which the call began (also one that was killed and goes on).
        identity: A hash by which the same data are known again.
    """

    source: Source
    feed: Feed
    position: Position
    first_pass: int
    identity: str = ""

    def advance(self, stride: Stride) -> bool:
        """Note what a stride read; say whether a pass ended."""
        if stride.ended:
            self.position = Position(self.position.passes + 1, 0)
        else:
            self.position = Position(self.position.passes, self.position.batches + stride.steps)
        return stride.ended

    def has_more(self) -> bool:
        """Say whether there is another pass for this call."""
        passes = self.source.passes
        return self.source.repeats and (passes is None or self.position.passes - self.first_pass < passes)


def train(engine: Engine, reading: Reading, run: Run, hooks: Sequence[Hook], *, report_steps: int) -> None:
    """Train until `run.last_step`, the end of the data, or a hook stops it.

    Args:
        engine: Prepared for training on batches like those of `reading`.
        reading: The data; its position is kept up to date for checkpoints.
        run: What the hooks see; `step` and `metrics` are kept up to date.
        hooks: Called in this order at every moment.
        report_steps: The metrics start anew at each multiple of this many steps.

    Raises:
        EmptyInputError: there is no batch.
        NonFiniteLossError: the loss became NaN or infinite; the model is as after that step.
        KeyboardInterrupt: Ctrl-C was pressed; `end` of the hooks was called before.
        SystemExit: the process was asked to end by SIGTERM; likewise.
    """
    by_epoch = any(hook.follows_epochs for hook in hooks)
    clocks = [Clock(hook.cadence) for hook in hooks]
    pace = Pace()
    window = _Window(engine, None if by_epoch else report_steps)
    with _stops_on_signals(run) as received:
        for hook in hooks:
            hook.begin(run)
        window.open(run.step)
        while run.stop_reason is None and (run.last_step is None or run.step < run.last_step):
            stride = _stride(engine, reading, run, _limit(run, clocks, window, pace), pace)
            pass_ended = reading.advance(stride)
            _call_due(hooks, clocks, run, has_steps=stride.steps > 0)
            if pass_ended:
                run.epoch += 1
                for hook in hooks:
                    hook.after_epoch(run)
                if not reading.has_more():
                    run.stop("the data ended")
                elif not stride.steps and not reading.position.batches and run.step == run.first_step:
                    raise _empty(reading)
                else:
                    reading.feed.seek(reading.position)
            window.close(run.step, pass_ended=pass_ended)
        if run.step == run.first_step and run.stop_reason == "the data ended":
            raise _empty(reading)
        for hook in hooks:
            hook.end(run)
    _leave(received)


class _Window:
    """The steps over which the metrics are means: between two reports, or an epoch."""

    def __init__(self, engine: Engine, steps: int | None) -> None:
        self._engine = engine
        self._steps = steps

    def open(self, step: int) -> None:
        if self._steps is None or step % self._steps == 0:
            self._engine.reset_metrics()

    def limit(self, step: int) -> int | None:
        return None if self._steps is None else self._steps - step % self._steps

    def close(self, step: int, *, pass_ended: bool) -> None:
        if pass_ended if self._steps is None else step % self._steps == 0:
            self._engine.reset_metrics()


def _limit(run: Run, clocks: Sequence[Clock], window: _Window, pace: Pace) -> int:
    limits = [clock.cadence.steps_until_due(run.step) for clock in clocks]
    limits += [window.limit(run.step), pace.limit()]
    if run.last_step is not None:
        limits.append(run.last_step - run.step)
    return min(limit for limit in limits if limit is not None)


def _stride(engine: Engine, reading: Reading, run: Run, steps: int, pace: Pace) -> Stride:
    began = time.monotonic()
    stride = engine.train(reading.feed, steps)
    pace.learn(stride.steps, time.monotonic() - began)
    run.step += stride.steps
    if not stride.is_finite:
        raise _non_finite(run, stride)
    if stride.steps:
        run.metrics = stride.metrics
    return stride


def _call_due(hooks: Sequence[Hook], clocks: Sequence[Clock], run: Run, *, has_steps: bool) -> None:
    for hook, clock in zip(hooks, clocks, strict=True):
        if has_steps and clock.is_due(run.step):
            hook.after_steps(run)


def evaluate(
    engine: Engine, source: Source, *, steps: int | None, run: Run, hooks: Sequence[Hook] = ()
) -> Mapping[str, Any]:
    """Return the metrics of the model over the examples of `source`; leave the model as it is.

    Args:
        engine: Any engine.
        source: The data, one pass.
        steps: How many batches at most; None: until the data end.
        run: What the hooks see; its `step` counts batches here.
        hooks: Called as in training.

    Raises:
        EmptyInputError: there is no batch.
    """
    feed = engine.open(source)
    try:
        engine.prepare(feed, source.mode)
        feed.seek(Position())
        run.last_step = steps if steps is not None else (batches_per_pass(source) or run.last_step)
        clocks, pace = [Clock(hook.cadence) for hook in hooks], Pace()
        with engine.kept():
            for hook in hooks:
                hook.begin(run)
            while steps is None or run.step < steps:
                limits = [clock.cadence.steps_until_due(run.step) for clock in clocks]
                limits += [pace.limit(), None if steps is None else steps - run.step]
                began = time.monotonic()
                stride = engine.test(feed, min(limit for limit in limits if limit is not None))
                pace.learn(stride.steps, time.monotonic() - began)
                run.step += stride.steps
                run.metrics = stride.metrics or run.metrics
                _call_due(hooks, clocks, run, has_steps=stride.steps > 0)
                if stride.ended or run.stop_reason is not None:
                    break
            for hook in hooks:
                hook.end(run)
    finally:
        feed.close()
    if not run.step:
        raise _no_batch(source)
    return run.metrics


@contextlib.contextmanager
def _stops_on_signals(run: Run) -> Iterator[list[int]]:
    """Let Ctrl-C and SIGTERM end the training after the stride under way; a second one ends it at once."""
    received: list[int] = []
    if threading.current_thread() is not threading.main_thread():
        yield received
        return

    def note(number: int, frame: FrameType | None) -> None:
        if received:
            signal.default_int_handler(number, frame)
        received.append(number)
        run.stop(f"{signal.Signals(number).name} was received")

    before = {number: signal.signal(number, note) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield received
    finally:
        for number, old in before.items():
            signal.signal(number, old)


def _leave(received: Sequence[int]) -> None:
    if signal.SIGINT in received:
        raise KeyboardInterrupt
    if received:
        raise SystemExit(128 + received[0])


def _empty(reading: Reading) -> EmptyInputError:
    return _no_batch(reading.source)


def _no_batch(source: Source) -> EmptyInputError:
    return EmptyInputError(
        "the data have no batch",
        found=f"a {type(source.data).__name__} that ended before its first batch",
        expected="at least one batch",
        fix="check filters, drop_remainder=True with too few rows, or a generator that was used up",
    )


def _non_finite(run: Run, stride: Stride) -> NonFiniteLossError:
    loss = stride.metrics.get("loss", math.nan)
    last = run.metrics.get("loss")
    known = f"; it was {last:.4g} by step {run.step - stride.steps}" if last is not None else ""
    rate = getattr(getattr(run.model, "optimizer", None), "learning_rate", None)
    try:
        rate = f" (now {float(rate):.3g})"  # type: ignore[arg-type]
    except (TypeError, ValueError):
        rate = ""
    return NonFiniteLossError(
        f"the loss is {loss} at step {run.step}",
        found=f"loss={loss}{known}",
        expected="a finite loss",
        fix=f"go on from the newest checkpoint in {run.model_dir} with a lower learning rate{rate}, or clip gradients",
    )
