"""A pin has the letter and the colour of the worst, how much there is, and leads to the worst."""

from __future__ import annotations

from keras_estimator.report.elements import element
from keras_estimator.report.pins import Note, pin_of, with_pin

INFO, WARNING, ERROR = (Note(f"n-{name}", name, f"some {name}") for name in ("info", "warning", "error"))


def test_a_pin_is_of_the_worst_and_names_all():
    pin = pin_of([INFO, ERROR, WARNING])
    assert pin == {
        "severity": "error",
        "letter": "E",
        "count": 3,
        "label": "3 findings, the worst of severity error: some error; some warning; some info",
        "ids": ["n-error", "n-warning", "n-info"],
    }


def test_what_is_said_twice_is_counted_once():
    pin = pin_of([WARNING, WARNING])
    assert pin is not None
    assert (pin["count"], pin["label"]) == (1, "1 finding of severity warning: some warning")


def test_where_nothing_is_said_there_is_no_pin():
    assert pin_of([]) is None
    assert with_pin("dense", []) == ["dense"]


def test_a_pin_in_a_text_is_a_link_with_its_words():
    made = element("p", *with_pin("dense", [INFO, WARNING]))
    (link,) = made.iter("a")
    assert "".join(made.itertext()) == "dense W 2"
    assert (link.get("href"), link.get("class")) == ("#n-warning", "pin pin-warning")
    assert link.get("data-ids") == "n-warning n-info"
    assert link.get("title") == "2 findings, the worst of severity warning: some warning; some info"
    assert link.get("aria-label") == link.get("title")
