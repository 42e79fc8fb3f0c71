"""JSON from strangers: bounded, typed access that raises Malformed and nothing else."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from typing import Any, NoReturn

from reconciler.errors import Malformed

MAX_SIZE = 2**53  # what every JSON parser reads as an exact integer
_SURROGATE = re.compile(rb"\\u[dD][89a-fA-F]", re.ASCII)


def malformed(what: str, where: str) -> Malformed:
    """The error for an answer that can't be what it should be, with what to do about it."""
    return Malformed(what, where=where, todo="try again; if it stays, something is wrong at the registry or on the way")


def _refuse(text: str) -> NoReturn:
    raise ValueError(f"{text[:20]} is no JSON")


def load(data: bytes, where: str) -> Any:
    """The JSON value in `data`; Malformed where it is none, too deep, has huge numbers or text that can't be written.

    The caller caps the size of `data`; what comes out takes at most some thirty times as much memory.
    """
    try:
        value = json.loads(data.decode("utf-8"), parse_constant=_refuse)
        if _SURROGATE.search(data):
            # a lone surrogate can be read, but neither printed nor written to a file
            json.dumps(value, ensure_ascii=False).encode("utf-8")
    except RecursionError:
        raise malformed("its JSON is nested too deep", where) from None
    except ValueError as error:
        what = str(error).splitlines()[0][:120] if str(error) else type(error).__name__
        raise malformed(f"it isn't JSON as it should be: {what}", where) from None
    return value


def load_object(data: bytes, where: str) -> dict[str, Any]:
    """The JSON object in `data`; Malformed where it is anything else."""
    value = load(data, where)
    if not isinstance(value, dict):
        raise malformed("its JSON is no object", where)
    return value


def text(value: Mapping[str, Any], key: str, where: str) -> str:
    """The string at `key`, empty where there is none (or null); Malformed for another type."""
    found = value.get(key)
    if found is None:
        return ""
    if not isinstance(found, str):
        raise malformed(f"{key} is no text", where)
    return found


def texts(value: Mapping[str, Any], key: str, where: str) -> dict[str, str]:
    """The map of strings at `key`, empty where there is none (or null); Malformed for another type."""
    found = value.get(key)
    if found is None:
        return {}
    if not isinstance(found, dict) or not all(isinstance(v, str) for v in found.values()):
        raise malformed(f"{key} is no map of texts", where)
    return found


def items(value: Mapping[str, Any], key: str, where: str) -> list[Any]:
    """The list at `key`, empty where there is none (or null); Malformed for another type."""
    found = value.get(key)
    if found is None:
        return []
    if not isinstance(found, list):
        raise malformed(f"{key} is no list", where)
    return found


def size(value: Mapping[str, Any], key: str, where: str) -> int:
    """The whole number at `key`; Malformed where it isn't there, negative or absurd."""
    found = value.get(key)
    if not isinstance(found, int) or isinstance(found, bool) or not 0 <= found <= MAX_SIZE:
        raise malformed(f"{key} is no size in bytes", where)
    return found
