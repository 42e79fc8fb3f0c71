"""The base of all models, and the texts in them."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Callable, Iterable, Sequence
from difflib import get_close_matches
from typing import Annotated, Any, ClassVar, Self

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, PlainValidator, StringConstraints, model_validator

from reconciler.model.evidence import ANNOTATION, Kind
from reconciler.model.template import PLACEHOLDERS, RELEASE_PLACEHOLDERS, placeholders

# a placeholder is a word in braces; anything else in braces (JSON, say) is text
_WORD = re.compile(r"[A-Za-z0-9_ .-]{0,40}", re.ASCII)
_ENVIRONMENT = re.compile(r"[A-Za-z_][A-Za-z0-9_]{0,127}", re.ASCII)
# what reconcile itself says of every image
OURS = frozenset(f"org.opencontainers.image.{name}" for name in ("source", "version", "revision", "created"))
_KEY = re.compile(r"[A-Za-z0-9](?:[A-Za-z0-9._/-]{0,253}[A-Za-z0-9])?", re.ASCII)


class Wrong(ValueError):
    """A value that can't be: `what` is wrong with it, `todo` about it; `at`: where in it, if it isn't all of it.

    `others`: what else is wrong with the same value.
    """

    def __init__(self, what: str, todo: str = "", at: tuple[str | int, ...] = ()) -> None:
        self.what, self.todo, self.at = what, todo, at
        self.others: tuple[Wrong, ...] = ()
        super().__init__(what)

    @classmethod
    def of(cls, error: ValueError, at: tuple[str | int, ...] = ()) -> Self:
        """What a noun's `parse` says, taken apart."""
        what, _, todo = str(error).partition(": write ")
        return cls(what, f"write {todo}" if todo else "", at)


def raise_all(wrongs: Iterable[Wrong]) -> None:
    """Raises them as one, if there are any."""
    found = list(wrongs)
    if found:
        found[0].others = tuple(found[1:])
        raise found[0]


class Entry(BaseModel):
    """A mapping in a desired file: strict, frozen, no key but its own.

    Of the keys in `one_of`, where a model names some, exactly one is given.
    """

    one_of: ClassVar[tuple[str, ...]] = ()

    model_config = ConfigDict(
        strict=True,
        frozen=True,
        extra="forbid",
        alias_generator=lambda name: name.replace("_", "-"),
        arbitrary_types_allowed=True,
        hide_input_in_errors=True,
    )

    @model_validator(mode="after")
    def _exactly_one(self) -> Self:
        if self.one_of:
            exactly_one([key for key in self.one_of if getattr(self, key.replace("-", "_")) is not None], self.one_of)
        return self


def nearest(word: str, known: Sequence[str]) -> str:
    """What to write instead of an unknown `word`: the nearest known one, or all of them."""
    close = get_close_matches(word[:80], known, n=1, cutoff=0.6)
    return f"did you mean {close[0]}?" if close else f"known are {', '.join(known)}"


def exactly_one(given: Sequence[str], keys: Sequence[str]) -> None:
    """Wrong unless exactly one of `keys` is `given`."""
    if len(given) != 1:
        what = f"{' and '.join(given)} exclude each other" if given else f"one of {', '.join(keys)} is missing"
        raise Wrong(what, f"write exactly one of {', '.join(keys)}")


def _printable(text: str) -> str:
    if not text.strip():
        raise Wrong("the text is empty", "write something, or remove the key")
    for character in text:
        # controls, line separators and what reorders text: they would forge lines in a plan or a comment
        if unicodedata.category(character) in ("Cc", "Cf", "Zl", "Zp", "Cs", "Co"):
            raise Wrong(
                f"the text holds U+{ord(character):04X}, which nobody sees", "write it in one line of visible text"
            )
    return text


def known_placeholders(allowed: Sequence[str]) -> Callable[[str], str]:
    """A check that a text holds no placeholder but the allowed ones."""

    def check(text: str) -> str:
        for name in placeholders(text):
            if name not in allowed and (name in PLACEHOLDERS or _WORD.fullmatch(name)):
                if name in PLACEHOLDERS:
                    what, todo = (
                        f"{{{name}}} can't be used here",
                        f"usable are {', '.join(allowed)}" if allowed else "write it out",
                    )
                else:
                    what, todo = (
                        f"{{{name}}} is no placeholder",
                        nearest(name, allowed) if allowed else "none can be used here",
                    )
                raise Wrong(what, todo)
        return text

    return check


def _environment_name(text: str) -> str:
    if not _ENVIRONMENT.fullmatch(text):
        raise Wrong(f"{text[:80]!r} is no name of a build argument", "letters, digits and _, no digit first")
    if text == "SOURCE_DATE_EPOCH":
        raise Wrong("SOURCE_DATE_EPOCH is set from the release's commit", "remove it")
    return text


def _label_name(text: str) -> str:
    if not _KEY.fullmatch(text):
        raise Wrong(
            f"{text[:80]!r} is no key of a label", "letters, digits, . _ / -, like org.opencontainers.image.vendor"
        )
    # a desired file that said otherwise would be believed; GHCR links a package by its source
    if text in OURS or text.startswith(ANNOTATION):
        raise Wrong(f"{text} is set by reconcile", "remove it")
    return text


def _kind(value: Any) -> Kind:
    kinds = [kind.value for kind in Kind]
    if not isinstance(value, str) or value not in kinds:
        raise Wrong(f"{str(value)[:80]!r} is no kind of evidence", nearest(str(value), kinds))
    return Kind(value)


def unique(values: tuple[Any, ...]) -> tuple[Any, ...]:
    """The values, if none is there twice."""
    seen = [str(value) for value in values]
    for value in seen:
        if seen.count(value) > 1:
            raise Wrong(f"{value[:80]!r} is here twice", "keep one of them")
    return values


Line = Annotated[str, StringConstraints(max_length=500), AfterValidator(_printable)]
EvidenceKind = Annotated[Kind, PlainValidator(_kind)]
EnvironmentName = Annotated[str, AfterValidator(_environment_name)]
LabelName = Annotated[str, AfterValidator(_label_name)]

Template = Annotated[
    str,
    StringConstraints(max_length=2000),
    AfterValidator(_printable),
    AfterValidator(known_placeholders(PLACEHOLDERS)),
]
ReleaseTemplate = Annotated[
    str,
    StringConstraints(max_length=2000),
    AfterValidator(_printable),
    AfterValidator(known_placeholders(RELEASE_PLACEHOLDERS)),
]
Text = Annotated[str, StringConstraints(max_length=20_000, min_length=1)]
Count = Annotated[int, Field(ge=1, le=1000)]
