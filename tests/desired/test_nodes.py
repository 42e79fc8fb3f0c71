"""YAML with places, within bounds."""

from __future__ import annotations

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from reconciler.desired.nodes import MAX_DEPTH, MAX_NODES, NotYaml, compose, find, key_place, plain, show


def test_scalars_are_read_as_yaml_1_2_says_and_keys_always_as_text() -> None:
    """`yes` and `0o7x` are text, `10.30` is a number but never as a key."""
    root, complaints = compose("a: yes\nb: 10.30\nc: ~\n10.30: true\ne: '7'\nf: [1, -2, 0x1F]\n")
    assert plain(root) == {"a": "yes", "b": 10.3, "c": None, "10.30": True, "e": "7", "f": (1, -2, "0x1F")}
    assert complaints == ()


def test_every_node_knows_where_it_starts() -> None:
    """Places count from 1, for keys and for values, in block and in flow style."""
    root, _ = compose("images:\n  outline:\n    edits: [{file: a, count: 2}]\n")
    path = ("images", "outline", "edits", 0, "count")
    line, column, node, real = find(root, path)
    assert (line, column, node.value, real) == (3, 30, 2, path)
    assert key_place(root, path) == (3, 23)
    assert show(path) == "$.images.outline.edits[0].count"


def test_what_is_not_in_the_file_is_left_out_of_the_path() -> None:
    """A branch of a union or a missing key gives the place of what is around it."""
    root, _ = compose("a:\n  b: 1\n")
    assert find(root, ("a", "branch", "b"))[3] == ("a", "b")
    assert find(root, ("a", "missing"))[:2] == (2, 3)


def test_odd_keys_are_quoted_in_a_path_and_cannot_break_a_line() -> None:
    """A key with a newline in it stays in its line."""
    assert show(("a\nb", "10.3")) == "$['a\\nb']['10.3']"


def test_aliases_stand_for_what_they_name() -> None:
    """An alias is as good as what it names, written out."""
    assert plain(compose("a: &x [1, 2]\nb: *x\n")[0]) == {"a": (1, 2), "b": (1, 2)}


def test_duplicate_keys_and_tags_are_told_without_giving_up() -> None:
    """Both are mistakes, but the rest of the file is still read, the first value of a key counting."""
    root, complaints = compose("a: 1\nb: !!python/name:os.system x\na: 2\n")
    assert plain(root) == {"a": 1, "b": "x"}
    assert [(c.line, c.column, c.what) for c in complaints] == [
        (2, 4, "a tag: 'tag:yaml.org,2002:python/name:os.system'"),
        (3, 1, "the key 'a' is here twice, first in line 1"),
    ]


@pytest.mark.parametrize(
    ("text", "place", "what"),
    [
        ("", (1, 1), "the file is empty"),
        ("# only a comment\n", (1, 1), "the file is empty"),
        ("a: 1\n---\nb: 2\n", (2, 1), "a second document"),
        ("a:\n\tb: 1\n", (2, 1), "a tab where YAML expects spaces"),
        ("a: b: c\n", (1, 5), "a colon that YAML doesn't expect here"),
        ("a: {version}-x\n", (1, 13), "text that YAML doesn't expect here"),
        ("a: 1\nb:\n  c: 1\n d: 2\n", (4, 2), "this line doesn't fit the indentation above it"),
        ("{version}: 1\n", (1, 1), "a key that isn't text"),
        ("a: *nobody\n", (1, 4), "the alias 'nobody' stands for nothing that ends before it"),
        ("a: &x [*x]\n", (1, 8), "the alias 'x' stands for nothing that ends before it"),
        ('a: "\\ud800"\n', (1, 4), "half of a character (a surrogate)"),
        ("a: \x00\n", (1, 4), "a control character"),
        ("[" * 100_000, (1, MAX_DEPTH + 2), f"nested deeper than {MAX_DEPTH} levels"),
    ],
)
def test_what_cannot_be_read_is_told_with_its_place(text: str, place: tuple[int, int], what: str) -> None:
    """Text that isn't one YAML document is refused, in words for people."""
    with pytest.raises(NotYaml) as caught:
        compose(text)
    assert ((caught.value.line, caught.value.column), caught.value.what) == (place, what)


def test_an_alias_bomb_is_refused_before_it_expands() -> None:
    """Nine lists of nine aliases each would be 387 million nodes: refused at the bound, with the place."""
    lines = ["a0: &a0 [x, x, x, x, x, x, x, x, x]"]
    lines += [f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 9)}]" for n in range(1, 9)]
    with pytest.raises(NotYaml) as caught:
        compose("\n".join(lines))
    assert caught.value.what == f"more than {MAX_NODES} values, aliases counted"
    assert caught.value.line == 5


@given(st.text(alphabet=st.sampled_from(list("ab:- \n\t[]{}*&!|>'\"#%@`,?~0.\\x\x00\x85\ufeff\ud800")), max_size=60))
@example("%YAML 1.1\n%TAG ! tag:x,2000:\n--- !a b")
@example("? \n: \n? [")
@example('"\\x')
def test_any_text_gives_nodes_or_one_explained_refusal(text: str) -> None:
    """Whatever stands in a file, composing it ends in nodes or in NotYaml with a place."""
    refusal = None
    try:
        plain(compose(text)[0])
    except NotYaml as error:
        refusal = error
    assert refusal is None or (refusal.line >= 1 and refusal.column >= 1 and refusal.what)
