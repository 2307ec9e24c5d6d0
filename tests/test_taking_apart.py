"""Every class of objects is taken apart in its own way, shared as it is, or refused."""

from __future__ import annotations

import io
import socket
import threading

import numpy as np
import pytest

from keras_estimator.model.carrying.shells import NotCarriedError, Target
from keras_estimator.model.carrying.taking_apart import take_apart

HERE = Target.THIS_PROCESS


@pytest.mark.parametrize("thing", [1, "a", None, int, np.float32(1), np.sin, len, threading, np.dtype("int8")])
def test_what_never_changes_is_shared(thing) -> None:
    assert take_apart(thing, HERE) is None


@pytest.mark.parametrize(
    ("thing", "kind"),
    [
        ([1], "list"),
        ({}, "dict"),
        ({1}, "set"),
        ((1,), "tuple"),
        (np.ones(2), "array"),
        (io.BytesIO(b"a"), "copied"),
        (threading.RLock(), "lock"),
        (threading.local(), "thread local"),
        (lambda: 1, "function"),
        (ValueError("a"), "exception"),
        (np.random.default_rng(1), "copied"),
    ],
)
def test_what_changes_has_a_record(thing, kind: str) -> None:
    record = take_apart(thing, HERE)
    assert record is not None
    assert record.kind == kind


def test_what_belongs_to_the_process_is_refused_with_a_way_out() -> None:
    with socket.socket() as connection:
        for thing in (connection, (x for x in ()), threading.Thread(), memoryview(b"a")):
            with pytest.raises(NotCarriedError, match=r"keep|start"):
                take_apart(thing, HERE)
