"""What is known about a class is found out once, and forgotten with the class."""

from __future__ import annotations

import gc
import weakref

from keras_estimator.model.by_class import by_class


def test_each_class_is_asked_about_once_and_can_go() -> None:
    asked: list[str] = []

    @by_class
    def name_of(cls: type) -> str:
        asked.append(cls.__name__)
        return cls.__name__

    def made_here() -> weakref.ref[type]:
        class Temporary:
            pass

        assert (name_of(Temporary), name_of(Temporary), name_of(int)) == ("Temporary", "Temporary", "int")
        return weakref.ref(Temporary)

    gone = made_here()
    gc.collect()
    assert gone() is None
    assert asked == ["Temporary", "int"]
    made_here()
    assert asked == ["Temporary", "int", "Temporary"]
