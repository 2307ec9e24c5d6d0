"""Put a report together: the state of the run, what is wrong, its curves, and the rest."""

from __future__ import annotations

import contextlib
import math
import os
import statistics
import sys
import time as clock
import xml.etree.ElementTree as ET
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from keras_estimator.errors import ConfigError
from keras_estimator.event_files import Folder
from keras_estimator.report import assets, tables
from keras_estimator.report.contents import Contents, last_points, look_at, lowest
from keras_estimator.report.curves import thinned
from keras_estimator.report.elements import Child, data, document, element, moment, number, span, time
from keras_estimator.report.model_picture import picture

_MOST_POINTS = 2000  # of a curve: a screen has no more columns
_MOST_CHARTS = 100
_LAST_TAGS = ("learning_rate", "steps_per_sec")


def write_report(model_dir: str | os.PathLike[str], out: str | os.PathLike[str] | None = None) -> Path:
    """Write the report of a run.

    Args:
        model_dir: The folder of an Estimator. It is read; the program that made it is not needed.
        out: The file to write. None: `report.html` in `model_dir`.

    Returns:
        The file. It is replaced in one piece.

    Raises:
        ConfigError: there is no run in `model_dir`, or the file cannot be written.
    """
    page = render(look_at(model_dir))
    path = Path(model_dir) / "report.html" if out is None else Path(out)
    fresh = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        fresh.unlink(missing_ok=True)
        with fresh.open("xb") as file:  # not through a link that someone has put there
            file.write(page)
        fresh.replace(path)
    except OSError as error:
        with contextlib.suppress(OSError):
            fresh.unlink()
        raise ConfigError(
            "the report cannot be written",
            found=f"{path}: {type(error).__name__}: {error.strerror}",
            expected="the name of a file in a folder that is there, with the right to write in it",
            fix=f"keras-estimator report {model_dir} --out report.html",
        ) from error
    return path


def render(contents: Contents) -> bytes:
    """Return the page."""
    script, style = assets.script(), assets.style()
    title = _title(contents)
    head = assets.head(f"Report of {title}", script, style)
    charts = _charts(contents)
    main = element(
        "main",
        _notices(contents),
        *_section("Curves", _curves(charts, contents)),
        *_section("Evaluations", tables.evaluations(contents.evaluations())),
        *_section("Model", _model(contents)),
        *_section("Checkpoints", tables.checkpoints(contents.checkpoints)),
        *_section("Exports", tables.exports(contents.exports)),
        *_section("Set-up", [element("div", *tables.setup(contents), class_="cards")] if _described(contents) else []),
    )
    body = [_header(contents, title), main, _footer()]
    if charts:
        names = [folder.name for folder in contents.folders]
        rewinds = [rewind.went_on_from for rewind in contents.rewinds()]
        body.append(data("curves-data", {"names": names, "rewinds": rewinds, "charts": charts}))
    return document(head, [*body, element("script", script)])


def _title(contents: Contents) -> str:
    return contents.model_dir.absolute().name or str(contents.model_dir)


def _described(contents: Contents) -> bool:
    return contents.description.contents is not None


def _section(title: str, children: list[ET.Element]) -> Iterator[ET.Element]:
    if children:
        name = title.lower()
        yield element("section", element("h2", title, id=name), *children, aria_labelledby=name)


def _header(contents: Contents, title: str) -> ET.Element:
    described = contents.description.contents
    model = f"{described['model']['name']} ({described['model']['class']})" if described else ""
    under = element("p", element("code", str(contents.model_dir)), f" · {model}" if model else None, class_="under")
    return element("header", element("h1", title), under, element("div", *_tiles(contents), class_="tiles"))


def _tiles(contents: Contents) -> Iterator[ET.Element]:
    training = contents.training()
    newest = contents.checkpoints[-1] if contents.checkpoints else None
    trained = training.last_step() if training else None
    steps = [step for step in (trained, newest.step if newest else None) if step is not None]
    if steps:
        saved = f"newest checkpoint: step {newest.step:,}" if newest else "no checkpoint"
        yield _tile("Step", f"{max(steps):,}", saved)
    yield from _loss_tile(training, newest.metrics.get("loss") if newest else None)
    yield from _evaluation_tile(contents.evaluations())
    moments = [point.written_at for folder in contents.folders for c in folder.curves.values() for point in c.values()]
    moments += [checkpoint.written_at for checkpoint in contents.checkpoints if checkpoint.written_at is not None]
    moments = [at for at in moments if math.isfinite(at)]
    if moments:
        first, last = min(moments), max(moments)
        is_one_day = moment(first)[:10] == moment(last)[:10]
        yield _tile("Ran", span(last - first), time(first), " to ", time(last, with_day=not is_one_day))
    speeds = [point.value for point in training.curves.get("steps_per_sec", {}).values()] if training else []
    if speeds:
        yield _tile("Speed", f"{number(float(f'{statistics.median(speeds):.3g}'))} steps/s", "median of the training")


def _loss_tile(training: Folder | None, saved: float | None) -> Iterator[ET.Element]:
    curve = training.curves.get("loss") if training else None
    if not curve:
        if saved is not None:
            yield _tile("Training loss", number(saved), "of the newest checkpoint")
        return
    last, best = curve[max(curve)].value, lowest(curve)
    if best is None or not math.isfinite(last):
        yield _tile("Training loss", number(last), "the last one is not finite", is_bad=True)
    else:
        yield _tile("Training loss", number(last), f"lowest {number(curve[best].value)} at step {best:,}")


def _evaluation_tile(folders: list[Folder]) -> Iterator[ET.Element]:
    # The loss on one set of data does not compare with that on another: the first evaluation is the one that counts.
    found = [(folder, step) for folder in folders if (step := _best(folder)) is not None]
    for folder, step in found[:1]:
        where = f"step {step:,}" if folder.name == "eval" else f"{folder.name}, step {step:,}"
        others = [
            f"{tag} {number(curve[step].value)}"
            for tag, curve in folder.curves.items()
            if step in curve and tag != "loss"
        ]
        told = " · ".join([f"loss at {where}", *others[:2]])
        yield _tile("Best evaluation", number(folder.curves["loss"][step].value), told)


def _best(folder: Folder) -> int | None:
    return lowest(folder.curves.get("loss", {}))


def _tile(label: str, value: str, *under: Child, is_bad: bool = False) -> ET.Element:
    return element(
        "div",
        element("div", label, class_="label"),
        element("div", value, class_="value"),
        element("div", *under, class_="under"),
        class_="tile bad" if is_bad else "tile",
    )


def _notices(contents: Contents) -> ET.Element | None:
    texts = [problem for folder in contents.folders for problem in folder.problems]
    for checkpoint in contents.checkpoints:
        if checkpoint.problem:
            texts.append(f"The checkpoint of step {checkpoint.step:,} cannot be trusted: {checkpoint.problem}.")
    if contents.description.problem:
        texts.append(f"description.json is not used: {contents.description.problem}.")
    if not texts:
        return None
    items = element("ul", *(element("li", text) for text in texts))
    return element(
        "section", element("h2", "Notices", id="notices"), items, class_="notices", aria_labelledby="notices"
    )


def _charts(contents: Contents) -> list[dict[str, Any]]:
    """Return one chart for each tag: the loss first, what says little about the model last."""
    tags = sorted({tag for folder in contents.folders for tag in folder.curves})
    tags.sort(key=lambda tag: (tag in _LAST_TAGS, tag != "loss"))
    charts = []
    for tag in tags[:_MOST_CHARTS]:
        series = [_series(place, folder, tag) for place, folder in enumerate(contents.folders) if tag in folder.curves]
        charts.append({"tag": tag, "series": series})
    return charts


def _series(place: int, folder: Folder, tag: str) -> dict[str, Any]:
    curve = folder.curves[tag]
    steps, values = list(curve), [point.value for point in curve.values()]
    kept = thinned(values, _MOST_POINTS)
    return {
        "name": place,
        "points": len(steps),
        "notFinite": [step for step, value in zip(steps, values, strict=True) if not math.isfinite(value)][:3],
        "steps": [steps[at] for at in kept],
        # A float32 has seven digits; None is a gap.
        "values": [float(f"{values[at]:.7g}") if math.isfinite(values[at]) else None for at in kept],
    }


def _curves(charts: list[dict[str, Any]], contents: Contents) -> list[ET.Element]:
    if not charts:
        why = "There are none: no scalars were written for TensorBoard. RunConfig(save_summary_steps=100) writes them."
        return [element("p", why, class_="note")]
    names = [folder.name for folder in contents.folders]
    hint = "Drag to zoom, double-click to go back; with the keyboard, the arrow keys read a curve."
    box = element("label", element("input", type="checkbox", id="logarithmic"), " Logarithmic")
    figures = [_figure(place, chart, names, contents) for place, chart in enumerate(charts)]
    status = element("p", id="read", class_="unseen", role="status", aria_live="polite")
    rewinds = [
        element("p", f"The training went back from step {rewind.reached:,} to the checkpoint of step "
                f"{rewind.went_on_from:,}; the dashed line shows where.", class_="note")
        for rewind in contents.rewinds()[-3:]
    ]  # fmt: skip
    tags = {tag for folder in contents.folders for tag in folder.curves}
    more = len(tags) - len(charts)
    left_out = element("p", f"{more:,} more tags are not drawn.", class_="note") if more else None
    nothing = element("noscript", element("p", "The curves are drawn by a script, which is switched off here."))
    tools = element("div", box, element("span", hint, class_="note"), class_="tools")
    rest = [child for child in (*rewinds, left_out, nothing, status) if child is not None]
    return [tools, element("div", *figures, class_="charts"), *rest]


def _figure(place: int, chart: dict[str, Any], names: list[str], contents: Contents) -> ET.Element:
    told, remarks = [], []
    for series in chart["series"]:
        name = names[series["name"]]
        step, value = last_points(contents.folders[series["name"]])[chart["tag"]]
        told.append(f"{name}, {series['points']:,} points, last {number(value)} at step {step:,}")
        if series["notFinite"]:
            where = ", ".join(f"{step:,}" for step in series["notFinite"])
            remarks.append(
                f"{name}: not a finite number at step {where}{', …' if len(series['notFinite']) == 3 else ''}"
            )
        if len(series["steps"]) < series["points"]:
            remarks.append(f"{name}: {series['points']:,} points; drawn are the extremes of each stretch")
    label = f"{chart['tag']}: {'; '.join(told)}"
    return element(
        "figure",
        element("figcaption", chart["tag"]),
        element("div", class_="plot", tabindex=0, role="img", aria_label=label, data_chart=place),
        element("p", "; ".join(remarks) + ".", class_="note") if remarks else None,
    )


def _model(contents: Contents) -> list[ET.Element]:
    described = contents.description.contents
    return picture(described["model"]) if described else []


def _footer() -> ET.Element:
    version = sys.modules["keras_estimator"].__version__
    return element("footer", element("p", f"Made on {moment(clock.time())} by keras-estimator {version}. "
                                     "This file loads nothing from anywhere."))  # fmt: skip
