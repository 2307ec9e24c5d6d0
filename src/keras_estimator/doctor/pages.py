"""The page of each rule, made from the docstring of its module, as Markdown and in a terminal; and the list of all."""

from __future__ import annotations

import inspect
import io
import re
import sys
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

from rich.console import Console, RenderableType
from rich.padding import Padding
from rich.syntax import Syntax
from rich.text import Text

from keras_estimator.doctor.findings import Severity
from keras_estimator.doctor.rule import HEADINGS, Rule, all_rules

COMMAND = "python -m keras_estimator.doctor.pages docs/rules"
_WIDTH = 100
_SILENCE = "noqa"
_CODE = ("Example", "Instead")  # the sections that are Python
FAMILIES = {
    "KE0": (
        "What runs at all",
        "The file is Python, the model can be built and run, and a copy of it is the same model.",
    ),
    "KE1": ("Saving and copying", "What Keras writes down of a layer or a model is enough to make it once more."),
    "KE2": ("One graph", "What the code does each time it is called is what is in the graph that was traced from it."),
    "KE3": ("State", "Every number that a model keeps between two steps is found, trained, saved and restored."),
    "KE4": ("Several devices", "A batch may be split over replicas and workers without becoming another computation."),
    "KE5": ("Export", "What is served answers as the model does, to any number of rows, without Python."),
    "KE6": ("Speed", "Nothing is traced, copied or computed more often, or more exactly, than is needed."),
}
_SEVERITIES = {
    Severity.ERROR: "it stops the model, or gives wrong numbers in plain use",
    Severity.WARNING: "something is lost, or fails in some use of the model",
    Severity.INFO: "good to know",
}
# What Markdown would take for its own: stars but those of a list, ends of words that are underscores, marks of a line.
_MEANT = re.compile(r"\*(?!\s)|(?<=\S)\*|[<\[\]]|(?<![^\W_])_|_(?![^\W_])|^[#>+](?=\s)", re.M)
_FIXES = {"safe": "safe", "unsafe": "unsafe", "display": "by hand"}
# `Safe if ...; unsafe otherwise. Otherwise for display.`
_TOLD = re.compile(r"(?:^|[.;:,]\s|otherwise\s)(?:for\s)?(safe|unsafe|display)\b", re.IGNORECASE)


def fix_of(rule: Rule) -> str:
    """Return who may apply the fixes of a rule, in words: `safe, unsafe`, `by hand`, `none`."""
    used = re.findall(r"\bApplicability\.([A-Z]+)\b", inspect.getsource(rule.module))
    used += _TOLD.findall(rule.sections["Fix"])  # some fixes are made in modules that rules share
    names = {name.lower() for name in used}
    return ", ".join(word for name, word in _FIXES.items() if name in names) or "none"


# --- Markdown -----------------------------------------------------------------------------------------------------


def page_of(rule: Rule) -> str:
    """Return the page of a rule, in Markdown."""
    made_from = f"src/{rule.module.__name__.replace('.', '/')}.py"
    parts = [
        f"# {rule.code} {rule.name}",
        _escaped(_sentence(rule.summary)),
        f"**Severity:** {rule.severity.value}: {_SEVERITIES[rule.severity]}. **Fix:** {fix_of(rule)}. "
        f"**To silence it on one line:** `# {_SILENCE}: {rule.code}`",
    ]
    for heading in HEADINGS:
        text = rule.sections[heading]
        parts += [f"## {heading}", _fenced(text) if heading in _CODE else _escaped(text)]
    parts.append(f"---\n\n[All rules](README.md). Made from `{made_from}` by `{COMMAND}`.")
    return "\n\n".join(parts) + "\n"


def index_of(rules: Iterable[Rule]) -> str:
    """Return the table of rules, in Markdown, family by family."""
    parts = [
        "# The rules of the doctor",
        "An error stops the model, or gives wrong numbers in plain use; a warning is about something that is lost, or "
        "fails in some use of it; information is good to know. A safe fix (`--fix`) leaves what the code computes as it"
        " is, an unsafe one (`--unsafe-fixes`) may change it; by hand means that the rule says what to do.",
    ]
    for title, sentence, members in _by_family(rules):
        rows = [
            f"| [{rule.code}]({rule.code}.md) | {rule.name} | {rule.severity.value} | {fix_of(rule)} "
            f"| {_escaped(_sentence(rule.summary)).replace('|', chr(92) + '|')} |"
            for rule in members
        ]
        table = "\n".join(["| Code | Name | Severity | Fix | What it is |", "|---|---|---|---|---|", *rows])
        parts += [f"## {title}", sentence, table]
    parts.append(f"Made from the rules by `{COMMAND}`.")
    return "\n\n".join(parts) + "\n"


def _by_family(rules: Iterable[Rule]) -> Iterator[tuple[str, str, list[Rule]]]:
    """Yield title, sentence and rules of each family that has rules."""
    members: dict[str, list[Rule]] = {}
    for rule in sorted(rules, key=lambda rule: rule.code):
        members.setdefault(rule.code[:3], []).append(rule)
    for family, found in members.items():
        title, sentence = FAMILIES.get(family, ("", "More rules."))
        yield f"{family}xx {title}".rstrip(), sentence, found


def _sentence(text: str) -> str:
    return text[:1].upper() + text[1:]


def _escaped(text: str) -> str:
    """Return a text in which nothing but what stands between backticks, and lists, means something in Markdown."""
    parts = re.split(r"(`+[^`]+`+)", text)
    plain = [_MEANT.sub(r"\\\g<0>", part) for part in parts[::2]]
    return "".join(part for pair in zip(plain, [*parts[1::2], ""], strict=True) for part in pair)


def _fenced(code: str) -> str:
    longest = max((len(run) for run in re.findall(r"`+", code)), default=0)
    fence = "`" * max(3, longest + 1)
    return f"{fence}python\n{code}\n{fence}"


def pages(rules: Sequence[Rule]) -> dict[str, str]:
    """Return all pages by the names of their files."""
    return {"README.md": index_of(rules), **{f"{rule.code}.md": page_of(rule) for rule in rules}}


def write_pages(folder: Path) -> None:
    """Write the pages of all rules into a folder, and remove those of rules that are no more.

    Args:
        folder: It is made if it is not there. Other files in it are left alone.
    """
    folder.mkdir(parents=True, exist_ok=True)
    made = pages(all_rules())
    for path in folder.glob("KE[0-9][0-9][0-9].md"):
        if path.name not in made:
            path.unlink()
    for name, text in made.items():
        (folder / name).write_text(text, encoding="utf-8", newline="\n")


# --- in a terminal ------------------------------------------------------------------------------------------------


def terminal_page(rule: Rule, *, in_colour: bool | None = None) -> str:
    """Return the page of a rule for a terminal.

    Args:
        rule: The rule.
        in_colour: Whether it has colours; None: if stdout is a terminal, and no `NO_COLOR` says otherwise.
    """
    parts: list[RenderableType] = [
        Text(f"{rule.code} {rule.name}", "bold"),
        _coloured(_sentence(rule.summary)),
        "",
        Text(f"severity: {rule.severity.value}, {_SEVERITIES[rule.severity]}"),
        Text(f"fix:      {fix_of(rule)}"),
        Text(f"silence:  # {_SILENCE}: {rule.code}"),
    ]
    for heading in HEADINGS:
        text = rule.sections[heading]
        body = _code(text) if heading in _CODE else _coloured(text)
        parts += ["", Text(heading, "bold"), Padding(body, (0, 0, 0, 4), expand=False)]
    return _rendered(parts, in_colour=in_colour)


def list_of(rules: Iterable[Rule], *, in_colour: bool | None = None) -> str:
    """Return the list of rules for a terminal; see `terminal_page`."""
    parts: list[RenderableType] = []
    for title, sentence, members in _by_family(rules):
        width = max(len(rule.name) for rule in members)
        parts += [Text(title, "bold"), Text(sentence), ""]
        for rule in members:
            parts.append(f"  {rule.code}  {rule.name:<{width}}  {rule.severity.value:<7}  {fix_of(rule)}")
        parts.append("")
    parts.append("keras-estimator explain KE201    tells all about one of them")
    return _rendered(parts, in_colour=in_colour)


def _code(text: str) -> Syntax:
    # The sixteen colours of the terminal itself can be read on a light one and on a dark one.
    return Syntax(text, "python", theme="ansi_light", background_color="default", word_wrap=True)


def _coloured(text: str) -> Text:
    """Return a text with its paragraphs filled, and what stands between backticks coloured."""
    paragraphs = re.split(r"\n(?=\s*\n|\s*[-*] |\s*\d+\. )", text)
    filled = "\n".join(re.sub(r"(?<=\S)\n[ \t]*(?=\S)", " ", paragraph) for paragraph in paragraphs)
    made = Text(filled)
    made.highlight_regex(r"`[^`]+`", "cyan")
    return made


def _rendered(parts: Iterable[RenderableType], *, in_colour: bool | None) -> str:
    is_terminal = sys.stdout.isatty() if in_colour is None else in_colour
    file = io.StringIO()
    width = min(Console().width, _WIDTH) if is_terminal else _WIDTH
    console = Console(file=file, force_terminal=is_terminal, width=width, highlight=False, markup=False, emoji=False)
    for part in parts:
        console.print(part)
    return "\n".join(line.rstrip() for line in file.getvalue().splitlines())


if __name__ == "__main__":
    write_pages(Path(sys.argv[1]))
