"""Reading hostile JSON and base64: the right shape or one error, and text from strangers made safe to print."""

from __future__ import annotations

import base64
import binascii
import json
from collections.abc import Mapping
from typing import Any


class Unreadable(ValueError):
    """It isn't what it claims to be; the text says in which way, in one line."""


def clean(text: object, limit: int = 160) -> str:
    """`text` in one line of printable characters, cut at `limit`: strangers' names end up in terminals and comments."""
    line = " ".join(str(text)[: 4 * limit].split())
    line = "".join(char if char.isprintable() else "?" for char in line)
    return line if len(line) <= limit else line[: limit - 1] + "…"


def json_object(data: bytes | str, what: str) -> dict[str, Any]:
    """The JSON object that `data` holds; Unreadable where it isn't one, however deep or odd it is."""
    try:
        value = json.loads(data)
    except RecursionError:
        raise Unreadable(f"{what} is nested too deeply") from None
    except ValueError as error:
        raise Unreadable(f"{what} is no JSON: {clean(error, 80)}") from None
    if not isinstance(value, dict):
        raise Unreadable(f"{what} is no JSON object")
    return value


def member(value: Mapping[str, Any], name: str, what: str) -> dict[str, Any]:
    """The object under `name`; Unreadable where there is none."""
    inner = value.get(name)
    if not isinstance(inner, dict):
        raise Unreadable(f"{what} has no object {name!r}")
    return inner


def text(value: Mapping[str, Any], name: str, what: str) -> str:
    """The string under `name`; Unreadable where there is none."""
    inner = value.get(name)
    if not isinstance(inner, str):
        raise Unreadable(f"{what} has no text {name!r}")
    return inner


def items(value: Mapping[str, Any], name: str, what: str, cap: int) -> list[Any]:
    """The list under `name`, of at most `cap` items; Unreadable where there is none, or a longer one."""
    inner = value.get(name)
    if not isinstance(inner, list):
        raise Unreadable(f"{what} has no list {name!r}")
    if len(inner) > cap:
        raise Unreadable(f"{what} has {len(inner)} items in {name!r}, more than {cap}")
    return inner


def unbase64(encoded: object, what: str) -> bytes:
    """The bytes that standard base64 text stands for; Unreadable for anything else."""
    if not isinstance(encoded, str):
        raise Unreadable(f"{what} is no text")
    try:
        return base64.b64decode(encoded, validate=True)
    except (binascii.Error, ValueError):
        raise Unreadable(f"{what} is no base64") from None
