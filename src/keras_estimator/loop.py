"""The loop: ask the engine for as many steps as fit before a hook is due, then call the hooks.

The moments and their order are drawn in hooks/hook.py. A stride ends at the next due hook, at the end
of a pass, at a report, or after about half a second; nothing returns to Python within it. The metrics are means since
the last report (`report_steps`), or since the epoch began if a hook follows epochs.
"""

from __future__ import annotations

import contextlib
import os
import signal
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from types import FrameType
from typing import Any

from keras_estimator.engines.engine import Engine, Feed, Position, Stride
from keras_estimator.errors import EmptyInputError
from keras_estimator.hooks.hook import Clock, Hook, Run
from keras_estimator.inputs import Source, batches_per_pass
from keras_estimator.reading import Reading

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


def train(engine: Engine, reading: Reading, run: Run, hooks: Sequence[Hook], *, report_steps: int) -> None:
    """Train until `run.last_step`, the end of the data, or a hook stops it.

    Args:
        engine: Prepared for training on batches like those of `reading`.
        reading: The data; its position is kept up to date for checkpoints.
        run: What the hooks see; it is kept up to date.
        hooks: Called in this order at every moment.
        report_steps: The metrics start anew at each multiple of this many steps.

    Raises:
        EmptyInputError: there is no batch.
        NonFiniteLossError: the loss became NaN or infinite; the model is as after that step.
    """
    by_epoch = any(hook.follows_epochs for hook in hooks)
    window = _Window(engine, None if by_epoch else report_steps)
    with contextlib.ExitStack() as closing:
        for hook in reversed(hooks):
            closing.callback(hook.close)
        for hook in hooks:
            hook.begin(run)
        _agree(engine, run)
        window.open(run.step, in_pass=run.goes_on and run.batch > 0)
        _steps(engine, reading, run, hooks, window)
        engine.refresh()
        for hook in hooks:
            hook.after_last_step(run)
        for hook in hooks:
            hook.end(run)
        _agree(engine, run)


def _steps(engine: Engine, reading: Reading, run: Run, hooks: Sequence[Hook], window: _Window) -> None:
    clocks = [Clock(hook.cadence) for hook in hooks]
    pace = Pace()
    is_new_pass = True
    if not reading.has_more():
        run.stop("the data ended")  # the call that goes on was killed after its last step
    while run.stop_reason is None and (run.last_step is None or run.step < run.last_step):
        if is_new_pass:
            for hook in hooks:
                hook.before_epoch(run)
        stride = _stride(engine, reading, run, _limit(run, clocks, window, pace), pace)
        if stride.ended and run.batch and run.step == run.first_step and not reading.goes_on:
            reading.begin_next_pass()  # the call before this one had stopped just where the pass ends
            run.batch = 0
            continue
        is_new_pass = stride.ended
        if stride.ended and not run.batch:
            raise no_batch(reading.source)
        _call_due(engine, hooks, clocks, run, stride)
        if stride.ended:
            run.batch = 0
            if reading.has_more():
                reading.feed.seek(reading.position)
            else:
                run.stop("the data ended")
        window.close(run.step, pass_ended=stride.ended)


def _call_due(engine: Engine, hooks: Sequence[Hook], clocks: Sequence[Clock], run: Run, stride: Stride) -> None:
    if stride.ended:
        run.metrics = engine.metrics_of_pass(run.metrics)
    are_due = _are_due(engine, clocks, run.step) if stride.steps else [False] * len(hooks)
    if any(hook.sees_model and (is_due or stride.ended) for hook, is_due in zip(hooks, are_due, strict=True)):
        engine.refresh()
    for hook, is_due in zip(hooks, are_due, strict=True):
        if is_due or (hook.watches_loss and not stride.is_finite):
            hook.after_steps(run)
        if stride.ended:
            hook.after_epoch(run)
    _agree(engine, run)


def _are_due(engine: Engine, clocks: Sequence[Clock], step: int) -> Sequence[bool]:
    """Return which clocks are due. Where several processes train together, the chief's seconds count for all."""
    return [bool(each) for each in engine.gather([clock.is_due(step) for clock in clocks])[0]]


def _agree(engine: Engine, run: Run) -> None:
    """Stop, and save, as soon as one of the processes that train together wants to."""
    wants = [run.stop_reason is not None, run.received_signal or 0, run.save_wanted]
    others = engine.gather(wants).max(axis=0)
    run.received_signal = run.received_signal or int(others[1]) or None  # one may have come meanwhile
    if others[0] and run.stop_reason is None:
        run.stop("another process of the cluster has stopped")
    if others[2]:
        run.save(waits=False)


class _Window:
    """The steps over which the metrics are means: between two reports, or an epoch."""

    def __init__(self, engine: Engine, steps: int | None) -> None:
        self._engine = engine
        self._steps = steps

    def open(self, step: int, *, in_pass: bool) -> None:
        if not in_pass if self._steps is None else step % self._steps == 0:
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
    stride = engine.train(reading.feed, int(engine.gather([steps]).min()))
    pace.learn(stride.steps, time.monotonic() - began)
    reading.advance(stride)
    run.step += stride.steps
    run.batch += stride.steps
    run.epoch = reading.position.passes
    if stride.steps:
        run.metrics, run.saved_step = stride.metrics, None
    return stride


def evaluate(
    engine: Engine, source: Source, feed: Feed, run: Run, hooks: Sequence[Hook], *, steps: int | None
) -> tuple[Mapping[str, Any], Mapping[str, Any]]:
    """Return the metrics of the model over the examples of `source`, and those of metric functions.

    The model stays as it is. At the end `run.metrics` holds both.

    Args:
        engine: Prepared for evaluation on batches like those of `feed`.
        source: The data, one pass.
        feed: The batches of it.
        run: What the hooks see; its `step` counts batches here.
        hooks: Called as in training.
        steps: How many batches at most; None: until the data end.

    Raises:
        EmptyInputError: there is no batch.
    """
    feed.seek(Position())
    run.batches_per_epoch = batches_per_pass(source)
    run.last_step = steps if steps is not None else run.batches_per_epoch
    with contextlib.ExitStack() as closing:
        for hook in reversed(hooks):
            closing.callback(hook.close)
        with engine.kept(feed):
            for hook in hooks:
                hook.begin(run)
            _batches(engine, feed, run, hooks, steps)
            of_model, added = engine.metrics_of_pass(run.metrics), engine.added_metrics(feed)
            run.metrics = {**of_model, **added}
            for hook in hooks:
                hook.end(run)
    if not run.step:
        raise no_batch(source)
    return of_model, added


def _batches(engine: Engine, feed: Feed, run: Run, hooks: Sequence[Hook], steps: int | None) -> None:
    clocks, pace = [Clock(hook.cadence) for hook in hooks], Pace()
    while run.stop_reason is None and (steps is None or run.step < steps):
        limits = [clock.cadence.steps_until_due(run.step) for clock in clocks]
        limits += [pace.limit(), None if steps is None else steps - run.step]
        began = time.monotonic()
        stride = engine.test(feed, min(limit for limit in limits if limit is not None))
        pace.learn(stride.steps, time.monotonic() - began)
        run.step += stride.steps
        run.metrics = stride.metrics or run.metrics
        for hook, clock in zip(hooks, clocks, strict=True):
            if stride.steps and clock.is_due(run.step):
                hook.after_steps(run)
        if stride.ended:
            break


@contextlib.contextmanager
def stops_on_signals(run: Run) -> Iterator[None]:
    """Let Ctrl-C and SIGTERM end the training after the stride under way; a second one ends it at once.

    Raises:
        KeyboardInterrupt: it is the second one.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return

    process = os.getpid()

    def note(number: int, frame: FrameType | None) -> None:
        if os.getpid() != process:  # a worker that reads data was forked with this, and has to die of it
            signal.signal(number, before[number])
            os.kill(os.getpid(), number)
            return
        if run.received_signal is not None:
            signal.default_int_handler(number, frame)
        run.received_signal = number
        run.stop(f"{signal.Signals(number).name} was received")

    before: dict[int, Any] = {
        number: signal.signal(number, note) or signal.SIG_DFL for number in (signal.SIGINT, signal.SIGTERM)
    }
    try:
        yield
    finally:
        for number, old in before.items():
            signal.signal(number, old)


def leave(run: Run) -> None:
    """Leave the program if a signal asked for it during training.

    Raises:
        KeyboardInterrupt: Ctrl-C was pressed.
        SystemExit: the process was asked to end by SIGTERM; the status is 143.
    """
    if run.received_signal == signal.SIGINT:
        raise KeyboardInterrupt
    if run.received_signal is not None:
        raise SystemExit(128 + run.received_signal)


def no_batch(source: Source) -> EmptyInputError:
    """Return the error for data that ended before their first batch."""
    return EmptyInputError(
        "the data have no batch",
        found=f"a {type(source.data).__name__} that ended before its first batch",
        expected="at least one batch",
        fix="check filters, drop_remainder=True with too few rows, or a generator that was used up",
    )
