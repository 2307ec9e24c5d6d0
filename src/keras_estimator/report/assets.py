"""What the page is drawn with: our style and script, and the two libraries that are shipped in `vendored`.

uPlot draws the curves, dagre places the layers of a model; both are files as their authors published them, with
their licences, pinned below. See docs/decisions/0011-a-report-is-one-file-without-a-network.md.
"""

from __future__ import annotations

import base64
import hashlib
import re
import xml.etree.ElementTree as ET
from importlib import resources

from keras_estimator.report.elements import element

# Version and SHA-256 of what was published; to take another version, replace the file and its line.
VENDORED = {
    "uPlot.iife.min.js": ("uPlot 1.6.32", "19c8d4c6ad88929a79f4ae49d6f7161566dfd0ba3d15cc495e974f787eb78f1f"),
    "uPlot.min.css": ("uPlot 1.6.32", "df630c6a8d6f8eeaff264b50f73ce5b114f646ffd9a0bb74f049b0a00135fa04"),
    "dagre.min.js": ("dagre 3.1.3", "54a503e346f93ca0bb10abe7999587e037262935687aca45eb4e4b0f64bbb578"),
}


LIBRARIES = ("uPlot", "dagre")


def head(title: str, script: str, style: str) -> list[ET.Element]:
    """Return what stands in the head of a page that lets this script and this style in and nothing else."""
    return [
        element("meta", charset="utf-8"),
        element("meta", http_equiv="Content-Security-Policy", content=policy(script, style)),
        element("meta", name="viewport", content="width=device-width, initial-scale=1"),
        element("meta", name="color-scheme", content="light dark"),
        element("title", title),
        element("link", rel="icon", href="data:,"),
        element("style", style),
    ]


def style(*libraries: str) -> str:
    """Return the whole style of a page.

    Args:
        libraries: Those that draw it; all if none is named.
    """
    files = [name for name in VENDORED if name.startswith(libraries or LIBRARIES) and name.endswith(".css")]
    return "\n".join([*(read(f"vendored/{name}") for name in files), read("page.css")])


def script(*libraries: str) -> str:
    """Return the whole script of a page, with the licences of what is not ours.

    Args:
        libraries: Those that draw it; all if none is named.
    """
    parts = []
    for library in libraries or LIBRARIES:
        (file,) = (name for name in VENDORED if name.startswith(library) and name.endswith(".js"))
        parts.append(f"/*! {VENDORED[file][0]}\n\n{read(f'vendored/{library}.LICENSE')}*/")
        # The map of a source is another file, which a debugger would look for.
        parts.append(re.sub(r"^//# sourceMappingURL=.*$", "", read(f"vendored/{file}"), flags=re.M))
    return "\n".join([*parts, read("page.js")])


def read(name: str) -> str:
    """Return the text of one of the files beside this one."""
    return resources.files(__package__).joinpath(name).read_text(encoding="utf-8")


def policy(script: str, style: str) -> str:
    """Return the Content-Security-Policy that lets just these two run, and nothing be fetched."""
    hashes = {
        name: base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()
        for name, text in {"script": script, "style": style}.items()
    }
    return (
        f"default-src 'none'; script-src 'sha256-{hashes['script']}'; style-src 'sha256-{hashes['style']}'; "
        "img-src data:; base-uri 'none'; form-action 'none'"
    )
