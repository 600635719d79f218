"""Lines of a text one by one and many at once: the same lines with the same numbers, whatever ends them."""

import io

import pytest
from hypothesis import given
from hypothesis import strategies as st

from vae_lightning.data.files import lines as lines_module
from vae_lightning.data.files.dialect import Dialect
from vae_lightning.data.files.lines import Lines
from vae_lightning.data.files.text import TextRows
from vae_lightning.errors import DataError


@given(st.text("ab,\r\n", max_size=60), st.lists(st.integers(1, 5)))
def test_whole_lines_are_taken_and_counted(text: str, counts: list[int]) -> None:
    whole = io.StringIO(text, newline="").readlines()
    lines = Lines(io.StringIO(text, newline=""), "it")
    seen: list[str] = []
    for count in counts:
        seen += [line for _, line in [next(lines, (0, ""))] if line]
        seen += io.StringIO(lines.take(count), newline="").readlines()
        assert seen == whole[: len(seen)]
        assert lines.number == len(seen)
    assert seen + [line for _, line in lines] == whole


def test_all_lines_that_are_asked_for_are_taken() -> None:
    """Their length is estimated from those before, which may have been far longer or shorter."""
    texts = ["a" * 50 + "\n", *["b\n"] * 500, *["c" * 80 + "\n"] * 500]
    lines = Lines(io.StringIO("".join(texts), newline=""), "it")
    next(lines)
    assert lines.take(700).count("\n") >= 700
    lines.take(1000)
    assert lines.number == 1001
    assert lines.take(1) == ""


@pytest.mark.parametrize("before", [0, 3])
def test_a_line_without_an_end_is_refused(monkeypatch: pytest.MonkeyPatch, before: int) -> None:
    monkeypatch.setattr(lines_module, "MAX_LINE", 100)
    lines = Lines(io.StringIO("a,b\n" * before + "1" * 500, newline=""), "It")
    with pytest.raises(DataError, match=f"It is no table: line {before + 1} is longer than 100 characters"):
        lines.take(10)


@pytest.mark.parametrize("end", ["\n", "\r\n"])
@pytest.mark.parametrize("rows_at_once", [7, 64, 5000])
def test_blocks_hold_every_row_in_order(end: str, rows_at_once: int) -> None:
    """Long and short rows, quoted and left out ones: whichever way a block is read, the next begins behind it."""
    rows = [f"{i},{'9' * (i % 19)}{i % 10}" for i in range(3000)]
    rows[1234] = '1234,"4"'
    text = end.join(["a,b", *rows]) + end
    skip = [302, 2501]
    read = TextRows(io.StringIO(text, newline=""), "it", [Dialect(skip_rows=skip)])
    blocks = list(read.blocks(rows_at_once))
    assert max(len(block["a"]) for block in blocks) <= rows_at_once
    found = [value for block in blocks for value in block["a"].to_pylist()]
    assert found == [i for i in range(3000) if i + 2 not in skip]


@pytest.mark.parametrize("line", [900, 2999])
def test_a_ragged_row_is_told_with_its_line(line: int) -> None:
    rows = [f"{i},{'9' * (i % 7)}" for i in range(3000)]
    rows[line - 2] += ",1"
    read = TextRows(io.StringIO("a,b\n" + "\n".join(rows), newline=""), "it", [Dialect()])
    with pytest.raises(DataError, match=f"Line {line} of it has 3 fields"):
        list(read.blocks(500))
