"""Whatever text is put into a page stays text, and numbers are short."""

from __future__ import annotations

import json
import math
from html.parser import HTMLParser

import pytest

from keras_estimator.report.elements import counted, data, document, element, moment, number, size, span, table, time

HOSTILE = """</script></style><script>alert(1)</script><img src=x onerror='alert(1)'>"&amp;'"""


class Tags(HTMLParser):
    """Lists the tags and the text of a page."""

    def __init__(self, page: bytes) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.attributes: list[tuple[str, str | None]] = []
        self.texts: list[str] = []
        self.feed(page.decode())

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.attributes += attrs

    def handle_data(self, data: str) -> None:
        self.texts.append(data)


def test_texts_and_attributes_are_escaped():
    page = Tags(document([], [element("p", HOSTILE, element("b", HOSTILE), HOSTILE, title=HOSTILE)]))
    assert page.tags == ["html", "head", "body", "p", "b"]
    assert ("title", HOSTILE) in page.attributes
    assert "".join(page.texts).count(HOSTILE) == 3


def test_data_for_a_script_cannot_end_it_and_comes_out_as_it_was():
    value = {"a": [HOSTILE, 1.5, None, "\u2028 \udcff"]}
    page = Tags(document([], [data("held", value), element("p")]))
    assert page.tags == ["html", "head", "body", "script", "p"]
    assert json.loads(page.texts[1] if page.texts[0].isspace() else page.texts[0]) == value


def test_attributes_have_dashes_and_those_without_a_value_are_left_out():
    made = element("input", class_="a", aria_label="b", checked=True, disabled=False, title=None, tabindex=0)
    assert made.attrib == {"class": "a", "aria-label": "b", "checked": "", "tabindex": "0"}


def test_half_a_character_does_not_stop_a_page():
    assert b"<p>a?b</p>" in document([], [element("p", "a\udcffb")])


def test_a_table_scrolls_by_itself_and_has_a_name():
    made = table(["A"], [[element("td", "1")]], label="Numbers")
    assert made.get("tabindex") == "0"
    assert made.get("aria-label") == "Numbers"
    assert [row.tag for row in made.iter("tr")] == ["tr", "tr"]


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (0.123456, "0.1235"), (12345.6, "12,346"), (3.0, "3"), (1e-7, "1e-07"), (-2.5, "-2.5"), (1e300, "1e+300"),
        (math.nan, "NaN"), (math.inf, "∞"), (-math.inf, "-∞"), (1234567.0, "1,234,567"),
    ],
)  # fmt: skip
def test_numbers_are_short(value: float, text: str):
    assert number(value) == text


@pytest.mark.parametrize(("amount", "text"), [(0, "0 bytes"), (999, "999 bytes"), (12_345, "12.3 kB"), (5e9, "5 GB")])
def test_sizes_have_units(amount: int, text: str):
    assert size(amount) == text


@pytest.mark.parametrize(
    ("secs", "text"),
    [(0.4, "0 s"), (48, "48 s"), (60, "1 min"), (7980, "2 h 13 min"), (180_000, "2 d 2 h"), (math.nan, "0 s")],
)
def test_spans_have_two_parts_at_most(secs: float, text: str):
    assert span(secs) == text


@pytest.mark.parametrize("secs", [None, math.nan, math.inf, 1e30, -1e30])
def test_a_time_that_is_none_is_unknown(secs: float | None):
    assert moment(secs) == "unknown"
    assert time(secs).attrib == {}


def test_a_time_can_be_shown_without_its_day():
    assert time(0.0).text == moment(0.0)
    assert time(0.0, with_day=False).text == moment(0.0)[-5:]


def test_things_are_counted_in_the_right_number():
    texts = [counted(1, "layer"), counted(0, "layer"), counted(2000, "layer"), counted(2, "box")]
    assert texts == ["1 layer", "0 layers", "2,000 layers", "2 boxes"]
