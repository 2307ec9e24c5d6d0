"""A person who opens the report of a run sees its curves, can read them, and the network sees nothing."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from headless_browser import NAMES, Page, browser, found
from reported_run import train
from test_page import hostile_run

from keras_estimator.report.page import write_report

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(found() is None, reason=f"no browser on the PATH: none of {', '.join(NAMES)}"),
]

# How many points of a chart's canvas have nearly the colour of a series.
PAINTED = """
(place, series) => {
    const colour = getComputedStyle(document.documentElement).getPropertyValue(`--series-${series}`).trim();
    const wanted = [1, 3, 5].map((at) => parseInt(colour.slice(at, at + 2), 16));
    const canvas = document.querySelectorAll(".plot canvas")[place];
    const { data } = canvas.getContext("2d").getImageData(0, 0, canvas.width, canvas.height);
    let count = 0;
    for (let at = 0; at < data.length; at += 4) {
        count += data[at + 3] > 128 && wanted.every((part, which) => Math.abs(data[at + which] - part) < 24);
    }
    return count;
}
"""
LEGENDS = (
    "[...document.querySelectorAll('.plot')].map(p => [...p.querySelectorAll('.u-label')].map(l => l.textContent))"
)


@pytest.fixture(scope="module")
def report(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("runs") / "digits"
    train(folder)
    return write_report(folder)


@pytest.fixture(scope="module")
def page(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Page]:
    with browser(tmp_path_factory.mktemp("profile")) as opened:
        yield opened


def painted(page: Page, place: int, series: int) -> int:
    return int(page.value(f"({PAINTED})({place}, {series})"))


def legend(page: Page, place: int = 0) -> str:
    return str(page.value(f"document.querySelectorAll('.u-legend')[{place}].textContent"))


def middle_of(page: Page, place: int, part: float) -> tuple[float, float]:
    box = f"document.querySelectorAll('.u-over')[{place}].getBoundingClientRect()"
    left, width, top, height = (float(page.value(f"{box}.{name}")) for name in ("left", "width", "top", "height"))
    return left + part * width, top + height / 2


@pytest.mark.parametrize(("width", "is_dark"), [(1440, False), (1440, True), (390, False), (390, True)])
def test_every_curve_is_drawn_wide_narrow_light_and_dark(width: int, is_dark: bool, page: Page, report: Path):
    page.open(report, width=width, is_dark=is_dark)
    assert page.value(LEGENDS) == [
        *[["step", "train", "eval", "eval_seen"]] * 2,
        *[["step", "train"]] * 2,
    ]
    assert page.complaints() == []
    for place, series in ((0, 0), (0, 1), (0, 2), (1, 0), (1, 1), (2, 0), (3, 0)):
        assert painted(page, place, series) > 20, f"series {series} of chart {place}"
    assert page.value("document.documentElement.scrollWidth <= innerWidth"), "the page is wider than its window"


def test_nothing_is_asked_of_the_network_and_nothing_is_complained_of(page: Page, report: Path):
    page.open(report)
    assert page.requests() == [report.absolute().as_uri()]
    assert page.complaints() == []


def test_the_tables_are_filled_and_the_model_is_drawn(page: Page, report: Path):
    page.open(report)
    assert page.value("[...document.querySelectorAll('h2')].map(h => h.textContent)") == [
        "Curves", "Evaluations", "Model", "Checkpoints", "Exports", "Set-up",
    ]  # fmt: skip
    assert page.value("document.querySelectorAll('section[aria-labelledby=evaluations] tbody tr').length") == 4
    num_checkpoints = len(list((report.parent / "checkpoints").glob("step-*")))
    rows = "document.querySelectorAll('section[aria-labelledby=checkpoints] tbody tr').length"
    assert page.value(rows) == num_checkpoints > 1
    assert page.value("document.querySelectorAll('#graph .box').length") == 7
    assert page.value("document.querySelectorAll('#graph .edge').length") == 7
    assert "two_ways" in page.value("document.body.innerText")


def test_hovering_shows_the_values_at_that_step(page: Page, report: Path):
    page.open(report)
    assert legend(page).startswith("steplast")
    page.point_at(*middle_of(page, 0, 0.5))
    assert "step30" in legend(page) or "step35" in legend(page)
    assert "@ 40" in legend(page)  # the nearest evaluation
    assert legend(page, 3).split("train")[0] == legend(page).split("train")[0], "the charts point at one step"


def test_the_keys_read_a_curve_aloud(page: Page, report: Path):
    page.open(report)
    page.value("document.querySelector('.plot').focus()")
    page.press("Home")
    assert page.value("document.getElementById('read').textContent").startswith("step5")
    page.press("ArrowRight")
    assert page.value("document.getElementById('read').textContent").startswith("step10")
    page.press("End")
    assert legend(page).startswith("step60")


def test_a_logarithmic_axis_draws_the_curves_anew(page: Page, report: Path):
    page.open(report)
    before = page.value("document.querySelector('.plot canvas').toDataURL()")
    page.value("document.getElementById('logarithmic').click()")
    page.wait()
    assert page.value("document.querySelector('.plot canvas').toDataURL()") != before
    assert page.complaints() == []
    assert painted(page, 0, 0) > 20


def test_a_window_that_becomes_narrow_is_filled_again(page: Page, report: Path):
    page.open(report, width=1440)
    page.call("Emulation.setDeviceMetricsOverride", width=400, height=800, deviceScaleFactor=1, mobile=False)
    page.wait()
    assert page.value("document.querySelector('.plot canvas').getBoundingClientRect().width") < 400
    assert page.value("document.documentElement.scrollWidth <= innerWidth")


def test_a_hostile_run_runs_nothing(page: Page, tmp_path: Path):
    page.open(write_report(hostile_run(tmp_path), tmp_path / "page.html"))
    assert page.value("window.hacked === undefined")
    assert page.value("document.querySelectorAll('img, iframe, object').length") == 0
    assert "window.hacked" in page.value("document.body.innerText")
    assert page.value("document.querySelectorAll('#graph .box').length") == 2
    assert len(page.requests()) == 1
    assert page.complaints() == []


def test_what_is_not_ours_would_not_run_even_if_it_got_in(page: Page, report: Path, tmp_path: Path):
    text = report.read_text(encoding="utf-8")
    foreign = "<script>window.hacked = 1</script><img src=x onerror='window.hacked = 2'>"
    (tmp_path / "page.html").write_text(text.replace("<main>", f"<main>{foreign}"), encoding="utf-8")
    page.open(tmp_path / "page.html")
    assert page.value("window.hacked === undefined")
    assert painted(page, 0, 0) > 20
