"""The pages hold together: links lead somewhere, commands exist, and no command goes untested without a reason."""

from __future__ import annotations

import re
import shlex
from pathlib import Path

import click
import pytest

from lab.cli import cli

ROOT = Path(__file__).parents[3]
PAGES = [ROOT / name for name in ("README.md", "CONTRIBUTING.md", "CHANGELOG.md")] + sorted(ROOT.glob("docs/**/*.md"))
IDS = [page.relative_to(ROOT).as_posix() for page in PAGES]

FENCE = re.compile(r"^```.*?^```$", flags=re.MULTILINE | re.DOTALL)
CONSOLE = re.compile(r"(?:^<!-- (?P<mark>[^>]*) -->\n)?^```console\n(?P<text>.*?)^```$", flags=re.MULTILINE | re.DOTALL)
LINK = re.compile(r"\[[^\]]*\]\((?P<target>[^)\s]+)\)")
HEADING = re.compile(r"^#+ (?P<title>.+)$", flags=re.MULTILINE)


def anchors(page: Path) -> set[str]:
    """The anchors of a page's headings, as GitHub makes them."""
    titles = HEADING.finditer(FENCE.sub("", page.read_text()))
    return {re.sub(r"[^\w\- ]", "", match["title"].lower()).replace(" ", "-") for match in titles}


def exists(words: list[str]) -> bool:
    """Whether ``lab WORDS`` names a command and options that there are."""
    command: click.Command = cli
    context = click.Context(cli)
    while isinstance(command, click.Group) and words and not words[0].startswith("-"):
        found = command.get_command(context, words.pop(0))
        if found is None:
            return False
        command, context = found, click.Context(found, parent=context)
    if "--" in words:
        words = words[: words.index("--")]
    passes_on = command.context_settings.get("ignore_unknown_options", False)
    known = {option for parameter in command.params for option in parameter.opts} | {"--help"}
    return passes_on or all(word.split("=")[0] in known for word in words if word.startswith("-"))


@pytest.mark.parametrize("page", PAGES, ids=IDS)
def test_every_link_leads_to_a_file_and_a_heading(page: Path) -> None:
    dead = []
    for match in LINK.finditer(FENCE.sub("", page.read_text())):
        path, _, anchor = match["target"].partition("#")
        if path.startswith("https://"):
            continue
        target = (page.parent / path).resolve() if path else page
        if not target.exists() or (anchor and anchor not in anchors(target)):
            dead.append(match["target"])
    assert not dead


@pytest.mark.parametrize("page", PAGES, ids=IDS)
def test_every_command_is_run_or_says_why_not(page: Path) -> None:
    for block in CONSOLE.finditer(page.read_text()):
        assert re.fullmatch(r"run|not run: \w.*", block["mark"] or ""), block["text"]


@pytest.mark.parametrize("page", PAGES, ids=IDS)
def test_every_lab_command_is_one(page: Path) -> None:
    lines = [line for block in CONSOLE.finditer(page.read_text()) for line in block["text"].splitlines()]
    commands = [words[1:] for line in lines if (words := _words(line))[:1] == ["lab"]]
    assert [command for command in commands if not exists(list(command))] == []


def _words(line: str) -> list[str]:
    return shlex.split(line.removeprefix("$ ").replace(".venv/bin/lab", "lab")) if line.startswith("$ ") else []


def test_every_page_is_in_the_index() -> None:
    for page in sorted(ROOT.glob("docs/**/*.md")):
        has_own_index = page.parent.name in ("decisions", "walkthroughs") and page.name != "README.md"
        directory = page.parent if has_own_index else ROOT / "docs"
        name = page.relative_to(directory).as_posix()
        index = (directory / "README.md").read_text()
        assert name == "README.md" or f"({name})" in index, f"{name} is in no index"


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        ("up --name x", True),
        ("up --nmae x", False),
        ("upp", False),
        ("node exec -- ls --no-such-option", True),
        ("kubectl get pods --any", True),
    ],
)
def test_a_command_that_is_none_is_found(*, line: str, expected: bool) -> None:
    assert exists(line.split()) is expected
