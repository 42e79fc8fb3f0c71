"""What GitHub's runner does with lines and files, as its sources have it (ActionCommand.cs, FileCommandManager.cs)."""

from __future__ import annotations

import re
from dataclasses import dataclass


@dataclass(frozen=True)
class Command:
    """A command as the runner took it."""

    name: str
    properties: dict[str, str]
    data: str


def _unescaped(text: str, *, is_property: bool) -> str:
    for escaped, char in (("%0D", "\r"), ("%0A", "\n"), *((("%3A", ":"), ("%2C", ",")) if is_property else ())):
        text = text.replace(escaped, char)
    return text.replace("%25", "%")


def command(line: str) -> Command | None:
    """The command that a line is, or None: `::name key=value,…::data` after any space, `##[name …]data` anywhere."""
    new = re.match(r"\s*::(?P<name>[^ :]+)(?: (?P<properties>.*?))?::(?P<data>.*)", line, re.DOTALL)
    old = re.search(r"##\[(?P<name>[^ \]]+)(?: (?P<properties>[^\]]*))?\](?P<data>.*)", line, re.DOTALL)
    match = new or old
    if match is None:
        return None
    pairs = [part.partition("=") for part in (match["properties"] or "").split(",") if part]
    return Command(
        match["name"],
        {name.strip(): _unescaped(value, is_property=True) for name, _, value in pairs},
        _unescaped(match["data"], is_property=False),
    )


def commands(output: str) -> list[Command]:
    """The commands in what a step printed; lines end wherever .NET ends them."""
    return [found for line in re.split(r"\r\n|\r|\n", output) if (found := command(line))]


def outputs(text: str) -> dict[str, str]:
    """What GITHUB_OUTPUT says: `name=value`, or `name<<delimiter`, lines, delimiter."""
    values: dict[str, str] = {}
    lines = text.split("\n")
    assert lines.pop() == "", "the file ends with a line break"
    while lines:
        line = lines.pop(0)
        equals, heredoc = line.find("="), line.find("<<")
        if heredoc >= 0 and (equals < 0 or heredoc < equals):
            name, delimiter = line.split("<<", 1)
            end = lines.index(delimiter)
            values[name] = "\n".join(lines[:end])
            lines = lines[end + 1 :]
        else:
            assert equals > 0, line
            values[line[:equals]] = line[equals + 1 :]
    return values
