"""YAML as nodes that know their place, within bounds that hold for any file.

The parser's events are composed here, not by ruamel's own composer: that one recurses as deep as a file nests, and
expands aliases without a limit. Scalars are read as YAML 1.2's core schema says (spec 10.3.2), keys always as text:
`10.3: sha256:…` is about version 10.3.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from ruamel.yaml import YAML
from ruamel.yaml.error import MarkedYAMLError, YAMLError
from ruamel.yaml.events import (
    AliasEvent,
    DocumentStartEvent,
    Event,
    MappingEndEvent,
    MappingStartEvent,
    ScalarEvent,
    SequenceEndEvent,
    SequenceStartEvent,
    StreamEndEvent,
    StreamStartEvent,
)

MAX_DEPTH = 20
MAX_NODES = 50_000

TEXT, NUMBER, SWITCH, NOTHING, LIST, MAPPING = "text", "a number", "true or false", "nothing", "a list", "a mapping"

_NOTHING = re.compile(r"~|null|Null|NULL|", re.ASCII)
_SWITCH = re.compile(r"true|True|TRUE|false|False|FALSE", re.ASCII)
_WHOLE = re.compile(r"[-+]?[0-9]{1,18}", re.ASCII)
_DECIMAL = re.compile(r"[-+]?(?:\.[0-9]{1,300}|[0-9]{1,300}(?:\.[0-9]{0,300})?)(?:[eE][-+]?[0-9]{1,4})?", re.ASCII)
_WORD = re.compile(r"[A-Za-z_][A-Za-z0-9_-]{0,79}", re.ASCII)
_SURROGATE = re.compile(r"[\ud800-\udfff]")
_CONTROL = re.compile(r"[\x00-\x08\x0b\x0c\x0e-\x1f\x7f]")

Part = str | int


class NotYaml(Exception):
    """The text can't be read: at `line` and `column` (from 1), `what` is wrong and `todo` about it."""

    def __init__(self, line: int, column: int, what: str, todo: str = "") -> None:
        self.line, self.column, self.what, self.todo = line, column, what, todo
        super().__init__(what)


@dataclass(frozen=True, slots=True)
class Node:
    """One value and where it starts (from 1). `size`: how many nodes it holds with all aliases expanded.

    `value` is a scalar, a list of nodes, or a dict of `Entry` by key. `source`: a scalar as it was written.
    """

    line: int
    column: int
    kind: str
    value: Any
    size: int = 1
    source: str = ""
    flow: bool = False


@dataclass(frozen=True, slots=True)
class Entry:
    """One key of a mapping: where the key stands, and its value."""

    line: int
    column: int
    node: Node


def compose(text: str) -> tuple[Node, tuple[NotYaml, ...]]:
    """The one document in `text`, and what is wrong in it but doesn't keep it from being read: tags, duplicate keys.

    NotYaml where it can't be read, or is out of bounds.
    """
    control = _CONTROL.search(text)
    if control is not None:
        line = text.count("\n", 0, control.start()) + 1
        column = control.start() - text.rfind("\n", 0, control.start())
        raise NotYaml(line, column, "a control character", "remove it; a desired file is plain text")
    try:
        composer = _Composer(YAML(typ="safe", pure=True).parse(text))
        return composer.document(), tuple(composer.complaints)
    except MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        line, column = (mark.line + 1, mark.column + 1) if mark else (1, 1)
        raise NotYaml(line, column, *_plainly(error.problem or "", text, line, column)) from None
    except (YAMLError, ValueError, ArithmeticError, LookupError, TypeError, AttributeError, StopIteration) as error:
        # a reader error (a character that YAML forbids), or the parser itself stumbling over a hostile file
        at = getattr(error, "position", None)
        place = (text.count("\n", 0, at) + 1, at - text.rfind("\n", 0, at)) if isinstance(at, int) else (1, 1)
        raise NotYaml(*place, "this is not YAML", "check for characters that don't belong into text") from None


def _plainly(problem: str, text: str, line: int, column: int) -> tuple[str, str]:
    """The parser's complaint in words for people, and what to do."""
    lines = text.split("\n")
    before = lines[line - 1][: column - 1] if line <= len(lines) else ""
    if "\\t" in problem or "\t" in lines[min(line, len(lines)) - 1][:column].replace(before.strip() or "\0", ""):
        return "a tab where YAML expects spaces", "indent with spaces"
    quote = 'put text that holds : or starts with { [ * & ! | > @ ` % into "quotes"'
    if "mapping values are not allowed" in problem:
        return "a colon that YAML doesn't expect here", f"check the indentation, or {quote}"
    if "block end" in problem and before.strip():
        return "text that YAML doesn't expect here", quote
    if "block end" in problem:
        return "this line doesn't fit the indentation above it", f"align it with its siblings, or {quote}"
    said = "".join(character if character.isprintable() else "?" for character in problem[:100])
    return f"this is not YAML ({said or 'it ends too early'})", quote


class _Composer:
    """Events to nodes: bounded in depth and in the number of nodes, aliases expanded."""

    def __init__(self, events: Iterator[Event]) -> None:
        self._events = events
        self._anchors: dict[str, Node | None] = {}
        self._nodes = 0
        self.complaints: list[NotYaml] = []

    def document(self) -> Node:
        event = next(self._events)
        while isinstance(event, StreamStartEvent):
            event = next(self._events)
        if isinstance(event, StreamEndEvent):
            raise NotYaml(1, 1, "the file is empty", "write what is desired, or remove the file")
        root = self._node(next(self._events), 0)
        next(self._events)  # the document's end
        after = next(self._events)
        if isinstance(after, DocumentStartEvent):
            raise NotYaml(*_place(after), "a second document", "write one document per file, without ---")
        return root

    def _node(self, event: Event, depth: int) -> Node:
        line, column = _place(event)
        if depth > MAX_DEPTH:
            raise NotYaml(line, column, f"nested deeper than {MAX_DEPTH} levels", "no key needs that")
        if isinstance(event, AliasEvent):
            return self._alias(event)
        tag = getattr(event, "tag", None)
        if tag is not None and not _implied(event):
            complaint = NotYaml(line, column, f"a tag: {str(tag)[:40]!r}", "write plain values, without ! before them")
            self.complaints.append(complaint)
        anchor = getattr(event, "anchor", None)
        if anchor is not None:
            self._anchors[anchor] = None
        node = self._plain(event, line, column, depth)
        if anchor is not None:
            self._anchors[anchor] = node
        return node

    def _plain(self, event: Event, line: int, column: int, depth: int) -> Node:
        self._count(1, line, column)
        if isinstance(event, ScalarEvent):
            if _SURROGATE.search(event.value):
                raise NotYaml(line, column, "half of a character (a surrogate)", "write the character itself")
            kind, value = _scalar(event)
            return Node(line, column, kind, value, source=event.value)
        flow = bool(getattr(event, "flow_style", False))
        if isinstance(event, SequenceStartEvent):
            items = []
            while not isinstance(event := next(self._events), SequenceEndEvent):
                items.append(self._node(event, depth + 1))
            return Node(line, column, LIST, items, 1 + sum(item.size for item in items), flow=flow)
        assert isinstance(event, MappingStartEvent)  # noqa: S101 -- the only kind of event left
        entries: dict[str, Entry] = {}
        while not isinstance(event := next(self._events), MappingEndEvent):
            key_line, key_column = _place(event)
            key = self._node(event, depth + 1)
            if key.kind in (LIST, MAPPING):
                what = "a key that isn't text"
                raise NotYaml(key_line, key_column, what, 'put text in { } into "quotes"')
            value = self._node(next(self._events), depth + 1)
            if key.source in entries:
                first = entries[key.source]
                what = f"the key {key.source[:60]!r} is here twice, first in line {first.line}"
                self.complaints.append(NotYaml(key_line, key_column, what, "keep one of them"))
                continue
            entries[key.source] = Entry(key_line, key_column, value)
        size = 1 + len(entries) + sum(entry.node.size for entry in entries.values())
        return Node(line, column, MAPPING, entries, size, flow=flow)

    def _alias(self, event: AliasEvent) -> Node:
        line, column = _place(event)
        node = self._anchors.get(event.anchor)
        if node is None:
            what = f"the alias {str(event.anchor)[:40]!r} stands for nothing that ends before it"
            raise NotYaml(line, column, what, 'define the anchor before, or put the text into "quotes"')
        self._count(node.size, line, column)
        return node

    def _count(self, more: int, line: int, column: int) -> None:
        self._nodes += more
        if self._nodes > MAX_NODES:
            raise NotYaml(line, column, f"more than {MAX_NODES} values, aliases counted", "no desired file needs that")


def _place(event: Event) -> tuple[int, int]:
    mark = event.start_mark
    return mark.line + 1, mark.column + 1


def _implied(event: Event) -> bool:
    return str(getattr(event, "tag", "")) == "None"


def _scalar(event: ScalarEvent) -> tuple[str, Any]:
    text: str = event.value
    if event.style not in (None, ""):
        return TEXT, text
    if _NOTHING.fullmatch(text):
        return NOTHING, None
    if _SWITCH.fullmatch(text):
        return SWITCH, text.lower() == "true"
    if _WHOLE.fullmatch(text):
        return NUMBER, int(text)
    if _DECIMAL.fullmatch(text):
        return NUMBER, float(text)
    return TEXT, text


def plain(node: Node) -> Any:
    """What the node says, as dicts, tuples and scalars; tuples, because strict models take nothing else for one."""
    if node.kind == MAPPING:
        return {key: plain(entry.node) for key, entry in node.value.items()}
    if node.kind == LIST:
        return tuple(plain(item) for item in node.value)
    return node.value


def find(root: Node, path: Sequence[Part]) -> tuple[int, int, Node, tuple[Part, ...]]:
    """Line and column of what `path` names, the node there, and the path in the file that is really there.

    Parts that aren't in the file (a model's own, like the branch of a union) are left out. A path that ends in a key
    gives the place of its value; `key_place` gives that of the key.
    """
    node, real = root, []
    for part in path:
        if node.kind == MAPPING and part in node.value:
            node = node.value[part].node
        elif node.kind == LIST and isinstance(part, int) and 0 <= part < len(node.value):
            node = node.value[part]
        else:
            continue
        real.append(part)
    return node.line, node.column, node, tuple(real)


def key_place(root: Node, path: Sequence[Part]) -> tuple[int, int]:
    """Line and column of the key that `path` ends in; of its value where it ends in no key."""
    *parents, last = path or [""]
    line, column, node, _ = find(root, parents)
    if node.kind == MAPPING and last in node.value:
        entry = node.value[last]
        return entry.line, entry.column
    if path:
        line, column, _, _ = find(root, path)
    return line, column


def show(path: Sequence[Part]) -> str:
    """A path in a file as people write it: `$.images.outline.edits[0].count`."""
    return "$" + "".join(
        f"[{part}]" if isinstance(part, int) else f".{part}" if _WORD.fullmatch(part) else f"[{part[:80]!r}]"
        for part in path
    )
