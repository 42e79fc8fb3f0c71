"""Edits match exactly as often as they say, or block the release and say where."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from reconciler.apply.edits import apply, unpin
from reconciler.errors import BuildError
from reconciler.model.recipe import Edit

TEXT = "FROM node:20\nRUN yarn build\nRUN yarn test\n"


def test_exact_text_and_regular_expression() -> None:
    """Both replace what they find; a regular expression may use its groups."""
    assert apply(Edit("Dockerfile", "yarn build", "true"), TEXT, "x") == TEXT.replace("yarn build", "true")
    edit = Edit("Dockerfile", r"^RUN yarn (\w+)$", r"RUN npm \1", regex=True, count=2)
    assert apply(edit, TEXT, "x") == TEXT.replace("yarn", "npm")


def test_no_match_names_file_release_and_nearest_line() -> None:
    """Upstream changed a word: the error shows where to look."""
    with pytest.raises(BuildError) as caught:
        apply(Edit("Dockerfile", "RUN yarn biuld", ""), TEXT, "outline:1.9.2")
    assert caught.value.where == "outline:1.9.2"
    assert "must match once, and matches 0 times" in caught.value.what
    assert "nearest is Dockerfile:2, 'RUN yarn build'" in caught.value.what


def test_too_many_matches_name_their_lines() -> None:
    """Every place is named, and nothing is changed."""
    with pytest.raises(BuildError, match=r"matches 2 times \(at Dockerfile:2, Dockerfile:3\)"):
        apply(Edit("Dockerfile", "yarn", "npm"), TEXT, "x")


@pytest.mark.parametrize(("find", "put"), [("(", ""), ("a", r"\9"), ("*", "")])
def test_a_broken_expression_is_a_build_error(find: str, put: str) -> None:
    """Nothing of re's own comes out."""
    with pytest.raises(BuildError, match="can't be used"):
        apply(Edit("Dockerfile", find, put, regex=True), "aaa", "x")


@given(st.text(), st.text(min_size=1), st.text(), st.integers(1, 3))
def test_changes_only_what_counts(text: str, find: str, put: str, count: int) -> None:
    """Either it matches so often and all are replaced, or it is refused."""
    try:
        assert apply(Edit("f", find, put, count=count), text, "x") == text.replace(find, put)
    except BuildError:
        assert text.count(find) != count


@pytest.mark.parametrize(
    ("line", "unpinned"),
    [
        ("FROM a@sha256:" + "0" * 64, "FROM a"),
        ("FROM a:1@sha256:" + "0" * 64 + " AS b", "FROM a:1 AS b"),
        ("from --platform=$BUILDPLATFORM h/a:1@sha256:" + "0" * 64, "from --platform=$BUILDPLATFORM h/a:1"),
        ("RUN echo FROM a@sha256:" + "0" * 64, "RUN echo FROM a@sha256:" + "0" * 64),
        ("COPY --from=a@sha256:" + "0" * 64 + " / /", "COPY --from=a@sha256:" + "0" * 64 + " / /"),
        ("FROM a:1", "FROM a:1"),
    ],
)
def test_unpin(line: str, unpinned: str) -> None:
    """Only FROM lines lose their pins."""
    assert unpin(f"# x\n{line}\nRUN true\n") == f"# x\n{unpinned}\nRUN true\n"
