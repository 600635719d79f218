"""JSON that is nearly what a program wrote."""

import copy
import json
from typing import Any

from hypothesis import strategies as st

FOREIGN = "foreign_code_of_a_record"
"""A module that no record may have imported."""
SCALARS = [
    *(None, True, False, 0, -1, 1, 3, 2**70, 10**7, 10**12, 0.5, -0.0, 1e308, float("nan"), float("inf")),
    *(
        "",
        "x",
        "nan",
        "1",
        "none",
        "gaussian",
        "minmax",
        "\0",
        "é" * 200,
        "os.system",
        "../../x",
        "${oc.env:HOME}",
        "[x]",
    ),
]
ODD = st.sampled_from(SCALARS) | st.sampled_from(
    [[], {}, [1], [[]], ["a", "b"], {"x": 1}, {"_target_": f"{FOREIGN}.run"}, {"name": "gaussian"}, [None], [1e400]]
)
Path = tuple[Any, ...]


def places(tree: Any, here: Path = ()) -> list[Path]:
    """Where something stands in a tree; the tree itself comes first."""
    children = tree.items() if isinstance(tree, dict) else enumerate(tree[:3]) if isinstance(tree, list) else ()
    return [here, *(place for key, child in children for place in places(child, (*here, key)))]


@st.composite
def changed(draw: st.DrawFn, tree: Any) -> tuple[Any, Path]:
    """``tree`` with something else in one place, and which place that is."""
    tree = copy.deepcopy(tree)
    place = draw(st.sampled_from(places(tree)))
    if not place:
        return draw(ODD), ()
    *path, key = place
    parent = tree
    for step in path:
        parent = parent[step]
    what = draw(st.sampled_from(["other", "other", "other", "away", "renamed", "more"]))
    if what == "other":
        parent[key] = draw(ODD)
    elif what == "away":
        del parent[key]
    elif isinstance(parent, dict):
        parent[draw(st.sampled_from(["_target_", "name", "x", "", "self", "class"]))] = (
            parent.pop(key) if what == "renamed" else f"{FOREIGN}.run"
        )
    else:
        parent.append(draw(ODD))
    return tree, place


@st.composite
def documents(draw: st.DrawFn, tree: Any) -> tuple[bytes, Path | None]:
    """The bytes of a file, and which place was changed: ``None`` where nothing was; () where all may have been."""
    what = draw(st.sampled_from(["sound", "changed", "changed", "changed", "changed", "bytes", "deep"]))
    if what == "deep":
        return draw(st.sampled_from([b"[" * 20_000, b'{"a":' * 15_000, b"", b"\xff\xfe", b"null", b"9" * 5000])), ()
    if what == "changed":
        other, place = draw(changed(tree))
        return json.dumps(other).encode(), place
    content = json.dumps(tree).encode()
    if what == "sound":
        return content, None
    at, new = draw(st.integers(0, len(content) - 1)), draw(st.binary(max_size=3))
    return content[:at] + new + content[at + draw(st.integers(0, 3)) :], ()
