"""JSON that every program reads."""

import json
import math
from pathlib import Path

import numpy as np
import pytest

from vae_lightning.files import parse_json, read_rows, to_json


def test_numbers_that_are_none_are_null() -> None:
    content = {"a": math.nan, "b": [math.inf, 1, (-math.inf,)], "c": {"d": np.float64("nan"), "e": "nan"}, "f": True}
    found = json.loads(to_json(content), parse_constant=lambda name: (_ for _ in ()).throw(ValueError(name)))
    assert found == {"a": None, "b": [None, 1, [None]], "c": {"d": None, "e": "nan"}, "f": True}


@pytest.mark.parametrize(
    "text",
    ["[" * 20_000, '{"a":' * 15_000, '{"a":' * 400 + "1" + "}" * 400, '{"a": ' + "9" * 400 + "}", "[1]", "", b"\xff"],
)
def test_json_that_nobody_can_work_with_is_one_kind_of_error(text: str | bytes) -> None:
    """Nested texts were a RecursionError, long numbers an OverflowError where they were used."""
    with pytest.raises(ValueError, match=r"."):
        parse_json(text)


def test_json_of_usual_depth_is_read() -> None:
    text = '{"a": ' + "[" * 90 + "1, NaN" + "]" * 90 + ', "b": -9007199254740993}'
    assert parse_json(text)["b"] == -9007199254740993


def test_rows_of_any_length_are_read_by_name(tmp_path: Path) -> None:
    (tmp_path / "x.csv").write_text("a,b\n1\n1,2,3\n")
    assert read_rows(tmp_path / "x.csv") == [{"a": "1", "b": ""}, {"a": "1", "b": "2"}]
    (tmp_path / "x.csv").write_text(f"a,b\n1,{'2' * 200_000}\n")
    with pytest.raises(ValueError, match="limit"):
        read_rows(tmp_path / "x.csv")
