"""What pages name is there: links and their anchors, modules and files, commands with their options."""

import re
import shlex
from collections.abc import Iterator
from pathlib import Path

import click
import pytest

from tickerplant.cli import cli

ROOT = Path(__file__).parents[2]
PAGES = sorted([*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md")])
TODAY = [page for page in PAGES if page.name != "CHANGELOG.md" and page.parent.name != "decisions"]
"""Those that tell what is, not what was."""
FOLDERS = "benchmarks|docs|examples|fuzz|grafana|processors|producers|schemas|sinks|tests|tickerplant"
ELSEWHERE = {"pip", "pytest"}


def text_of(page: Path) -> str:
    return page.read_text(encoding="utf-8")


def anchors(page: Path) -> set[str]:
    """Name the headings of a page as GitHub does."""
    headings = re.findall(r"^#+ (.*)$", text_of(page), re.MULTILINE)
    plain = [re.sub(r"\[([^\]]*)\]\([^)]*\)|`", r"\1", each) for each in headings]
    return {re.sub(r"[^\w\- ]", "", each.lower()).replace(" ", "-") for each in plain}


def is_there(page: Path, target: str) -> bool:
    name, _, anchor = target.partition("#")
    found = (page.parent / name).resolve() if name else page
    return found.exists() and (not anchor or anchor in anchors(found))


def test_links_lead_somewhere() -> None:
    links = [
        (page, link) for page in PAGES for link in re.findall(r"\]\(([^)\s]+)\)", text_of(page)) if "://" not in link
    ]

    assert len(links) > 50
    assert [(page.name, link) for page, link in links if not is_there(page, link)] == []


def test_modules_and_files_that_are_named_exist() -> None:
    modules = {each for page in TODAY for each in re.findall(r"python -m ([a-z_.]+)", text_of(page))} - ELSEWHERE
    paths = {each for page in TODAY for each in re.findall(rf"`((?:{FOLDERS})/[\w/.-]+)`", text_of(page))}
    files = {each: ROOT / each.replace(".", "/") for each in modules}

    assert len(modules) > 10
    assert len(paths) > 50
    assert {
        name for name, at in files.items() if not at.with_suffix(".py").exists() and not (at / "__main__.py").exists()
    } == set()
    assert {each for each in paths if not (ROOT / each).exists()} == set()


def commands(page: Path) -> Iterator[str]:
    """Give the lines of a page that a reader would type, without comments and brackets of what may be left out."""
    for block in re.findall(r"```sh\n(.*?)```", text_of(page), re.DOTALL):
        for line in block.replace("\\\n", " ").splitlines():
            words = re.split(r"\s#\s|\s[|>]\s", line)[0]
            if words.startswith("tickerplant ") and "..." not in words:
                yield re.sub(r"[\[\]]", "", words)


def parse(line: str) -> None:
    """Take a command line apart as the program does, without running it."""
    command: click.Command = cli
    _program, *words = shlex.split(line)
    while isinstance(command, click.Group):
        found = command.get_command(click.Context(command), words.pop(0))
        assert found is not None, line
        command = found
    command.make_context(str(command.name), words)


LINES = sorted({line for page in PAGES for line in commands(page)})


@pytest.mark.parametrize("line", LINES)
def test_a_command_of_the_pages_is_one_of_ours(line: str) -> None:
    parse(line)


def test_every_command_is_told_of_somewhere() -> None:
    told = "\n".join(map(text_of, TODAY))

    assert len(LINES) > 30
    assert [name for name in cli.commands if f"tickerplant {name}" not in told] == []
