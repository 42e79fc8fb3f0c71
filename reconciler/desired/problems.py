"""What pydantic found, in words for people: where it stands, what is wrong, what to write instead."""

from __future__ import annotations

import re
from collections.abc import Mapping
from types import UnionType
from typing import Any, Union, get_args, get_origin

from pydantic import BaseModel, ValidationError

from reconciler.desired.nodes import LIST, MAPPING, NOTHING, NUMBER, SWITCH, TEXT, Node, Part, find, key_place, show
from reconciler.desired.schema.base import Wrong, exactly_one, nearest
from reconciler.errors import Problem

_EXPECTED = {
    "string_type": TEXT,
    "int_type": "a whole number",
    "int_from_float": "a whole number",
    "bool_type": SWITCH,
    "tuple_type": LIST,
    "dict_type": MAPPING,
    "model_type": MAPPING,
    "model_attributes_type": MAPPING,
}
_BOUNDS = {
    "greater_than_equal": "it must be at least {ge}",
    "less_than_equal": "it must be at most {le}",
    "too_short": "it needs at least {min_length}",
    "too_long": "it can have at most {max_length}",
    "string_too_short": "it needs at least {min_length} character",
    "string_too_long": "it can have at most {max_length} characters",
}
_EXPECTED_WORD = re.compile(r"'([^']*)'")
_KINDS = {
    TEXT: "text",
    NUMBER: "a number",
    SWITCH: "true or false",
    NOTHING: "empty",
    LIST: "a list",
    MAPPING: "a mapping",
}


def problems(file: str, root: Node, model: type[BaseModel], error: ValidationError) -> list[Problem]:
    """Every mistake in it, each at its place in `file`, whose nodes are `root`."""
    found: list[Problem] = []
    for one in error.errors(include_url=False, include_input=False):
        cause = (one.get("ctx") or {}).get("error")
        wrongs = (cause, *cause.others) if isinstance(cause, Wrong) else (cause,)
        found += [_problem(file, root, model, one, wrong) for wrong in wrongs]
    # a model's own check doesn't run where one of its keys is wrong: what is exclusive is checked on the nodes again
    found += _exclusive(file, root, model, ())
    return list(dict.fromkeys(found))


def _problem(file: str, root: Node, model: type[BaseModel], one: Mapping[str, Any], cause: object) -> Problem:
    loc: tuple[Part, ...] = one["loc"]
    kind: str = one["type"]
    key = bool(loc) and loc[-1] == "[key]"
    if isinstance(cause, Wrong):
        loc = (*loc, *cause.at)
    line, column, node, path = find(root, loc)
    if key or kind == "extra_forbidden":
        line, column = key_place(root, path)
    if kind == "extra_forbidden":
        owner = _type_at(model, loc[:-1])
        name = str(loc[-1])
        todo = nearest(name, sorted(_aliases(owner)) if _is_model(owner) else [])
        return Problem(file, line, column, show(path), f"unknown key {name[:60]!r}", todo)
    advice = "" if key else _advice(model, loc)
    if kind == "missing":
        return Problem(file, line, column, show((*path, loc[-1])), f"{loc[-1]} is missing", advice)
    what, todo = _words(kind, cause, one.get("ctx") or {}, node, key)
    return Problem(file, line, column, show(path), what, todo or advice)


def _exclusive(file: str, node: Node, annotation: Any, path: tuple[Part, ...]) -> list[Problem]:
    found: list[Problem] = []
    if node.kind == LIST and get_origin(annotation) is tuple:
        inner = _bare(get_args(annotation)[0])
        for at, item in enumerate(node.value):
            found += _exclusive(file, item, inner, (*path, at))
    if node.kind != MAPPING:
        return found
    for key, entry in node.value.items():
        found += _exclusive(file, entry.node, _step(annotation, key), (*path, key))
    if _is_model(annotation) and annotation.one_of:
        given = [k for k in annotation.one_of if k in node.value and node.value[k].node.kind != NOTHING]
        try:
            exactly_one(given, annotation.one_of)
        except Wrong as wrong:
            found.append(Problem(file, node.line, node.column, show(path), wrong.what, wrong.todo))
    return found


def _words(kind: str, cause: object, context: Mapping[str, Any], node: Node, key: bool) -> tuple[str, str]:
    """What is wrong and, where the field's own advice isn't it, what to write."""
    if isinstance(cause, Wrong):
        return cause.what, cause.todo
    if kind == "value_error":
        if key or node.kind == TEXT:
            wrong = Wrong.of(cause if isinstance(cause, ValueError) else ValueError("this can't stand here"))
            return wrong.what, wrong.todo
        kind = "string_type"  # a noun of ours, which is text
    if kind in _EXPECTED:
        todo = ""
        if kind == "string_type" and node.kind == MAPPING and node.flow:
            todo = 'put text that starts with { into quotes, like "{version}"'
        if kind == "string_type" and node.kind in (NUMBER, SWITCH):
            todo = f'put it into quotes: "{node.source[:60]}"'
        return f"this is {_KINDS[node.kind]}, not {_EXPECTED[kind]}", todo
    if kind == "literal_error":
        return f"{node.source[:60]!r} is none of {', '.join(_EXPECTED_WORD.findall(str(context['expected'])))}", ""
    for bound, text in _BOUNDS.items():
        if kind == bound:
            return text.format_map(context), ""
    return "this can't stand here", ""


def _is_model(annotation: Any) -> bool:
    return isinstance(annotation, type) and issubclass(annotation, BaseModel)


def _aliases(model: type[BaseModel]) -> dict[str, Any]:
    return {field.alias or name: field for name, field in model.model_fields.items()}


def _bare(annotation: Any) -> Any:
    """An annotation without Annotated and Optional around it."""
    while True:
        if hasattr(annotation, "__metadata__"):
            annotation = get_args(annotation)[0]
        elif get_origin(annotation) in (Union, UnionType):
            annotation = next(arg for arg in get_args(annotation) if arg is not type(None))
        else:
            return annotation


def _type_at(model: type[BaseModel], loc: tuple[Part, ...]) -> Any:
    """The type of what stands at `loc`; None where that can't be told."""
    current: Any = model
    for part in loc:
        current = _step(current, part)
    return current


def _step(current: Any, part: Part) -> Any:
    if _is_model(current):
        field = _aliases(current).get(str(part))
        return _bare(field.annotation) if field else None
    if get_origin(current) is dict:
        return _bare(get_args(current)[1])
    return _bare(get_args(current)[0]) if get_origin(current) is tuple else None


def _advice(model: type[BaseModel], loc: tuple[Part, ...]) -> str:
    """What to write at `loc`: the description of the nearest field that has one."""
    for length in range(len(loc), 0, -1):
        owner = _type_at(model, loc[: length - 1])
        if _is_model(owner) and (field := _aliases(owner).get(str(loc[length - 1]))) is not None:
            return field.description or ""
    return ""
