"""Whatever stands in a desired folder: loading it ends in the desired state or in explained mistakes."""

from __future__ import annotations

import json
import random
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from ruamel.yaml import YAML

from reconciler.desired.loader import load
from reconciler.desired.nodes import compose, plain
from reconciler.errors import DesiredError
from tests.desired.folder import APP, MIRROR

SHIPPED = Path(__file__).parents[2] / "desired"
SEEDS = [MIRROR, APP, *(path.read_text(encoding="utf-8") for path in sorted(SHIPPED.glob("*.yaml")))]

scalars = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(-5, 10**20),
    st.floats(),
    st.text(max_size=20),
    st.sampled_from(["v{version}", "{arch}", "..", "/etc/passwd", ">=1", "sha256:" + "0" * 64, "https://example.org"]),
)


def _loads_or_explains(**files: bytes) -> None:
    with TemporaryDirectory() as name:
        folder = Path(name)
        for stem, data in {"mirror": MIRROR.encode(), **files}.items():
            (folder / f"{stem}.yaml").write_bytes(data)
        problems = []
        try:
            load(folder)
        except DesiredError as error:
            problems = [*error.problems]
            assert problems
        for problem in problems:
            assert problem.line >= 1
            assert problem.column >= 1
            assert len(str(problem).splitlines()) == 1, "no file may forge a line of its own"


@settings(suppress_health_check=[HealthCheck.too_slow])
@given(st.binary(max_size=200))
def test_any_bytes_load_or_are_explained(data: bytes) -> None:
    """Bytes of any kind, as an app and as the mirror."""
    _loads_or_explains(app=data)
    _loads_or_explains(mirror=data)


def _paths(value: Any, path: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    inner = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    return [path, *(found for key, item in inner for found in _paths(item, (*path, key)))]


@settings(suppress_health_check=[HealthCheck.too_slow])
@given(
    seed=st.sampled_from(SEEDS),
    choice=st.integers(0, 2**32),
    value=st.one_of(scalars, st.lists(scalars, max_size=3), st.dictionaries(st.text(max_size=8), scalars, max_size=3)),
)
def test_a_valid_file_with_any_value_put_anywhere_loads_or_is_explained(seed: str, choice: int, value: Any) -> None:
    """Every field stands any type and any text."""
    data = YAML(typ="safe", pure=True).load(seed)
    path = random.Random(choice).choice(_paths(data))
    if not path:
        data = value
    else:
        at = data
        for part in path[:-1]:
            at = at[part]
        at[path[-1]] = value
    text = json.dumps(data).encode()
    _loads_or_explains(**{"mirror" if "registry" in seed else "app": text})


@settings(suppress_health_check=[HealthCheck.too_slow])
@given(seed=st.sampled_from(SEEDS), at=st.integers(0, 5000), cut=st.integers(0, 5), put=st.text(max_size=5))
def test_a_valid_file_with_any_edit_loads_or_is_explained(seed: str, at: int, cut: int, put: str) -> None:
    """A few characters taken away or put anywhere."""
    at %= len(seed) + 1
    text = (seed[:at] + put + seed[at + cut :]).encode("utf-8", "surrogatepass")
    _loads_or_explains(**{"mirror" if "registry" in seed else "app": text})


plain_text = st.text(st.characters(max_codepoint=0xD7FF), max_size=6)


@given(st.dictionaries(plain_text, st.one_of(plain_text, st.integers(-9, 9)), max_size=4))
def test_json_is_read_as_json_says(data: dict[str, Any]) -> None:
    """JSON is YAML: what it says comes out, text as text and numbers as numbers."""
    assert plain(compose(json.dumps(data))[0]) == data
