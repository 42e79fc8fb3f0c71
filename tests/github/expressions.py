"""GitHub's expressions (docs.github.com, "Evaluate expressions in workflows"); an unknown word is an error."""

from __future__ import annotations

import fnmatch
import json
import re
from collections.abc import Callable, Mapping
from typing import Any

Value = Any
Functions = Mapping[str, Callable[..., Value]]

_TOKEN = re.compile(
    r"\s*(?:(?P<string>'(?:[^']|'')*')|(?P<number>-?\d+(?:\.\d+)?)|(?P<name>[A-Za-z_][A-Za-z0-9_-]*)"
    r"|(?P<sign>&&|\|\||==|!=|<=|>=|[()\[\].,!<>*]))"
)
_EMBEDDED = re.compile(r"\$\{\{((?:[^}]|\}(?!\}))*)\}\}")
_WORDS = {"true": True, "false": False, "null": None}
STATUS = ("success", "failure", "cancelled", "always")


class Wrong(Exception):
    """An expression that GitHub wouldn't take, or that isn't known here."""


def truthy(value: Value) -> bool:
    """Whether it counts as true: not for false, 0, '' and null."""
    return not (value is None or value is False or value == 0 or value == "")


def text(value: Value) -> str:
    """A value where a text is wanted."""
    if value is None:
        return ""
    if isinstance(value, bool):
        return "true" if value else "false"
    return json.dumps(value) if isinstance(value, dict | list) else str(value)


def equal(left: Value, right: Value) -> bool:
    """Loose equality: texts without regard to case, else as numbers."""
    if isinstance(left, str) and isinstance(right, str):
        return left.lower() == right.lower()
    if isinstance(left, dict | list) or isinstance(right, dict | list):
        return left is right
    if type(left) is type(right):
        return bool(left == right)
    return _number(left) == _number(right)


def _number(value: Value) -> float:
    if value is None or value == "":
        return 0.0
    try:
        return float(value)
    except ValueError:
        return float("nan")


def _format(template: str, *values: Value) -> str:
    return re.sub(r"\{(\d+)\}", lambda match: text(values[int(match[1])]), template)


def _contains(within: Value, item: Value) -> bool:
    if isinstance(within, list):
        return any(equal(one, item) for one in within)
    return text(item).lower() in text(within).lower()


FUNCTIONS: Functions = {
    "format": _format,
    "contains": _contains,
    "startsWith": lambda whole, part: text(whole).lower().startswith(text(part).lower()),
    "endsWith": lambda whole, part: text(whole).lower().endswith(text(part).lower()),
    "fromJSON": lambda value: json.loads(text(value)),
    "toJSON": lambda value: json.dumps(value, indent=2),
    "join": lambda values, by=",": by.join(map(text, values)),
}


class _Parser:
    """Evaluates as it parses; both sides of && and || are evaluated, which nothing here can tell."""

    def __init__(self, source: str, contexts: Mapping[str, Value], functions: Functions) -> None:
        self._source = source
        self._contexts = contexts
        self._functions = {name.lower(): f for name, f in {**FUNCTIONS, **functions}.items()}
        self._tokens = self._split(source)
        self._at = 0

    def _split(self, source: str) -> list[tuple[str, str]]:
        tokens, at = [], 0
        while source[at:].strip():
            match = _TOKEN.match(source, at)
            if match is None:
                raise Wrong(f"{source!r}: {source[at:]!r} is no expression")
            tokens.append((str(match.lastgroup), match[str(match.lastgroup)]))
            at = match.end()
        return [*tokens, ("end", "")]

    def value(self) -> Value:
        value = self._or()
        if self._tokens[self._at][0] != "end":
            raise Wrong(f"{self._source!r}: {self._tokens[self._at][1]!r} is too much")
        return value

    def _took(self, *signs: str) -> str:
        kind, word = self._tokens[self._at]
        if kind == "sign" and word in signs:
            self._at += 1
            return word
        return ""

    def _need(self, sign: str) -> None:
        if not self._took(sign):
            raise Wrong(f"{self._source!r}: {sign} is missing before {self._tokens[self._at][1]!r}")

    def _or(self) -> Value:
        value = self._and()
        while self._took("||"):
            other = self._and()
            value = value if truthy(value) else other
        return value

    def _and(self) -> Value:
        value = self._comparison()
        while self._took("&&"):
            other = self._comparison()
            value = other if truthy(value) else value
        return value

    def _comparison(self) -> Value:
        value = self._not()
        while sign := self._took("==", "!=", "<", ">", "<=", ">="):
            other = self._not()
            match sign:
                case "==":
                    value = equal(value, other)
                case "!=":
                    value = not equal(value, other)
                case "<":
                    value = _number(value) < _number(other)
                case ">":
                    value = _number(value) > _number(other)
                case "<=":
                    value = _number(value) <= _number(other)
                case _:
                    value = _number(value) >= _number(other)
        return value

    def _not(self) -> Value:
        return not truthy(self._not()) if self._took("!") else self._postfix()

    def _postfix(self) -> Value:
        value = self._primary()
        while True:
            if self._took("."):
                kind, word = self._tokens[self._at]
                if kind != "name":
                    raise Wrong(f"{self._source!r}: no property {word!r}")
                self._at += 1
                value = _property(value, word)
            elif self._took("["):
                index = self._or()
                self._need("]")
                value = _property(value, index)
            else:
                return value

    def _primary(self) -> Value:
        kind, word = self._tokens[self._at]
        self._at += 1
        if kind == "string":
            return word[1:-1].replace("''", "'")
        if kind == "number":
            return float(word) if "." in word else int(word)
        if kind == "sign" and word == "(":
            value = self._or()
            self._need(")")
            return value
        if kind != "name":
            raise Wrong(f"{self._source!r}: {word!r} is no value")
        if word in _WORDS:
            return _WORDS[word]
        if self._took("("):
            return self._call(word)
        if word not in self._contexts:
            raise Wrong(f"{self._source!r}: there is no context {word!r} here")
        return self._contexts[word]

    def _call(self, name: str) -> Value:
        arguments: list[Value] = []
        while not self._took(")"):
            if arguments:
                self._need(",")
            arguments.append(self._or())
        if name.lower() not in self._functions:
            raise Wrong(f"{self._source!r}: there is no function {name}")
        return self._functions[name.lower()](*arguments)


def _property(value: Value, key: Value) -> Value:
    """What isn't there is null, as on GitHub."""
    if isinstance(value, Mapping):
        return next((value[name] for name in value if equal(name, text(key))), None)
    if isinstance(value, list) and isinstance(key, int):
        return value[key] if 0 <= key < len(value) else None
    return None


def evaluate(source: str, contexts: Mapping[str, Value], functions: Functions | None = None) -> Value:
    """The value of an expression without `${{ }}`."""
    return _Parser(source, contexts, functions or {}).value()


def fill(value: Value, contexts: Mapping[str, Value], functions: Functions | None = None) -> Value:
    """A value of the file with every `${{ }}` in it replaced; one that is nothing else keeps its type."""
    if isinstance(value, Mapping):
        return {str(key): fill(one, contexts, functions) for key, one in value.items()}
    if isinstance(value, list):
        return [fill(one, contexts, functions) for one in value]
    if not isinstance(value, str):
        return value
    whole = _EMBEDDED.fullmatch(value.strip())
    if whole is not None:
        return evaluate(whole[1], contexts, functions)
    return _EMBEDDED.sub(lambda match: text(evaluate(match[1], contexts, functions)), value)


def condition(source: Value, contexts: Mapping[str, Value], functions: Functions) -> bool:
    """Whether an `if:` holds; without a status function in it, only where nothing before failed."""
    if isinstance(source, bool):
        source = text(source)
    bare = str(source or "true").strip()
    whole = _EMBEDDED.fullmatch(bare)
    bare = whole[1] if whole is not None else bare
    if not re.search(rf"\b(?:{'|'.join(STATUS)})\s*\(", bare):
        bare = f"success() && ({bare})"
    return truthy(evaluate(bare, contexts, functions))


def matches(pattern: str, name: str) -> bool:
    """Whether a glob of the workflow fits (paths, artefacts' names)."""
    return fnmatch.fnmatchcase(name, pattern.replace("**", "*"))
