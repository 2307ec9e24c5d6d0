"""Reports for programs: JSON, SARIF and the annotations of GitHub."""

from __future__ import annotations

import dataclasses
import json
import os
from pathlib import Path

from keras_estimator.doctor.findings import Finding, Place
from keras_estimator.doctor.formats.machine import as_github, as_json, as_sarif
from keras_estimator.doctor.report import Report
from keras_estimator.doctor.rule import rule_of
from keras_estimator.doctor.source import Source

TEXT = (
    "import tensorflow as tf\nclass A(tf.keras.layers.Layer):\n"
    "    def build(self, s):\n        self.n = tf.Variable(0, trainable=False)\n"
)


def found(file: str = "net.py", **other: object) -> Finding:
    rule = rule_of("KE301")
    assert rule is not None
    (one,) = rule.in_source(Source(file, TEXT))
    return dataclasses.replace(one, **other)  # type: ignore[arg-type]  # of any field


def test_json_has_all_of_a_finding():
    (one,) = json.loads(as_json(Report("net.py", (found(layer="a"),), "1 file")))["findings"]
    assert one["code"] == "KE301"
    assert one["location"] == {"row": 4, "column": 9}
    assert one["end_location"] == {"row": 4, "column": 49}
    assert one["layer"] == "a"
    assert one["fix"]["applicability"] == "safe"
    nowhere = json.loads(as_json(Report("net.py", (found(place=None),))))["findings"][0]
    assert (nowhere["file"], nowhere["location"]) == (None, None)


def test_sarif_is_what_the_schema_asks_for():
    report = Report("net.py", (found(), found(place=None, layer="a/b")))
    whole = json.loads(as_sarif(report))
    assert whole["version"] == "2.1.0"
    (run,) = whole["runs"]
    driver = run["tool"]["driver"]
    assert driver["name"] == "keras-estimator"
    assert [rule["id"] for rule in driver["rules"]] == ["KE301"]
    assert driver["rules"][0]["shortDescription"]["text"].endswith(".")
    first, second = run["results"]
    assert (first["ruleId"], first["ruleIndex"], first["level"]) == ("KE301", 0, "warning")
    assert first["locations"][0]["physicalLocation"] == {
        "artifactLocation": {"uri": "net.py"},
        "region": {"startLine": 4, "startColumn": 9, "endLine": 4, "endColumn": 49},
    }
    assert second["locations"] == [{"logicalLocations": [{"fullyQualifiedName": "a/b", "kind": "object"}]}]


def test_paths_in_sarif_are_relative_to_where_one_is(tmp_path: Path):
    inside = os.path.abspath("deep/net.py")
    for file, uri in ((inside, "deep/net.py"), (str(tmp_path / "net.py"), (tmp_path / "net.py").as_uri())):
        whole = json.loads(as_sarif(Report("net.py", (found(place=Place(file, 1)),))))
        location = whole["runs"][0]["results"][0]["locations"][0]["physicalLocation"]
        assert location["artifactLocation"]["uri"] == uri


def test_github_shows_a_finding_beside_its_line():
    assert as_github(Report("net.py", (found(),))) == (
        "::warning file=net.py,line=4,col=9,title=KE301 raw-tf-variable::"
        "self.n is a raw tf.Variable; make it a weight: self.add_weight(...)"
    )
    odd = as_github(Report("net.py", (found(message="100%\nof it", fix=None, place=Place("a,b:c.py", 1)),)))
    assert odd == "::warning file=a%2Cb%3Ac.py,line=1,col=1,title=KE301 raw-tf-variable::100%25%0Aof it"
