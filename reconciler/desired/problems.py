"""What pydantic found, in words for people: where it stands, what is wrong, what to write instead."""

from __future__ import annotations

from collections.abc import Mapping
from types import UnionType
from typing import Any, Union, get_args, get_origin

from pydantic import BaseModel, ValidationError

from reconciler.desired.nodes import LIST, MAPPING, NOTHING, NUMBER, SWITCH, TEXT, Node, Part, find, key_place, show
from reconciler.desired.schema.base import Wrong, nearest
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
    return [_problem(file, root, model, found) for found in error.errors(include_url=False, include_input=False)]


def _problem(file: str, root: Node, model: type[BaseModel], found: Mapping[str, Any]) -> Problem:
    loc: tuple[Part, ...] = found["loc"]
    context: Mapping[str, Any] = found.get("ctx") or {}
    kind: str = found["type"]
    cause = context.get("error")
    if loc and loc[-1] == "[key]":
        loc = loc[:-1]
        line, column = key_place(root, find(root, loc)[3])
        what, todo = _words(kind, found, context, "", NOTHING)
        return Problem(file, line, column, show(find(root, loc)[3]), what, todo)
    if isinstance(cause, Wrong):
        loc = (*loc, *cause.at)
    line, column, node, path = find(root, loc)
    if kind == "extra_forbidden":
        line, column = key_place(root, path)
        owner = _type_at(model, loc[:-1])
        known = sorted(_aliases(owner)) if _is_model(owner) else []
        return Problem(
            file, line, column, show(path), f"unknown key {str(loc[-1])[:60]!r}", nearest(str(loc[-1]), known)
        )
    advice = _advice(model, loc)
    if kind == "missing":
        return Problem(file, line, column, show((*path, loc[-1])), f"{loc[-1]} is missing", advice)
    what, todo = _words(kind, found, context, advice, node.kind)
    if kind == "string_type" and node.kind == MAPPING and node.flow:
        todo = 'put text that starts with { into quotes, like "{version}"'
    if kind == "string_type" and node.kind in (NUMBER, SWITCH):
        todo = f'put it into quotes: "{node.source[:60]}"'
    return Problem(file, line, column, show(path), what, todo)


def _words(
    kind: str, found: Mapping[str, Any], context: Mapping[str, Any], advice: str, written: str
) -> tuple[str, str]:
    cause = context.get("error")
    if isinstance(cause, Wrong):
        return cause.what, cause.todo or advice
    if kind == "value_error":
        return str(cause), ""
    if kind in _EXPECTED:
        return f"this is {_KINDS[written]}, not {_EXPECTED[kind]}", advice
    if kind == "literal_error":
        return "this is none of the words that can stand here", advice
    bounds = {
        "greater_than_equal": "at least {ge}",
        "less_than_equal": "at most {le}",
        "too_short": "at least {min_length} of them",
        "too_long": "at most {max_length} of them",
        "string_too_short": "at least {min_length} characters",
        "string_too_long": "at most {max_length} characters",
    }
    if kind in bounds:
        return "there must be " * ("of them" in bounds[kind]) + "it must be " * (
            "of them" not in bounds[kind]
        ) + bounds[kind].format_map(context), advice
    return "this can't stand here", advice


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
        if _is_model(current):
            field = _aliases(current).get(str(part))
            current = _bare(field.annotation) if field else None
        elif get_origin(current) is dict:
            current = _bare(get_args(current)[1])
        elif get_origin(current) is tuple:
            current = _bare(get_args(current)[0])
        else:
            return None
    return current


def _advice(model: type[BaseModel], loc: tuple[Part, ...]) -> str:
    """What to write at `loc`: the description of the nearest field that has one."""
    for length in range(len(loc), 0, -1):
        owner = _type_at(model, loc[: length - 1])
        if _is_model(owner) and (field := _aliases(owner).get(str(loc[length - 1]))) is not None:
            return field.description or ""
    return ""
