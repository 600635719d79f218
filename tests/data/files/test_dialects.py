"""Texts as people write them: training, the commands and the doctor see one and the same matrix."""

import io
import re
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from vae_lightning.data.columns import Column
from vae_lightning.data.files.dialect import Dialect
from vae_lightning.data.files.reading import RowReader
from vae_lightning.data.sources.table import Table
from vae_lightning.doctor import examine_data
from vae_lightning.errors import ConfigError, DataError

ROWS = np.array([[17.29, 4275.95, 1], [4.68, 508.09, 0], [15.2, 2760.57, 1], [3.5, 91.25, 0], [8.125, 1234567.5, 1]])
NAMES = ["length", "price", "flag"]


def european(value: float) -> str:
    return f"{value:,.10g}".translate(str.maketrans(",.", ".,"))


def text(delimiter: str = ",", header: str | None = "length,price,flag", end: str = "\n", write: object = repr) -> str:
    lines = [delimiter.join(write(float(cell)) for cell in row) for row in ROWS]  # type: ignore[operator]
    first = [] if header is None else [header.replace(",", delimiter)]
    return end.join([*first, *lines]) + end


def quoted(rows: str) -> str:
    return "\n".join(",".join(f'"{field}"' for field in line.split(",")) for line in rows.splitlines()) + "\n"


def labelled(rows: str, first: str = "") -> str:
    head, *lines = rows.splitlines()
    return "\n".join([f"{first}{head}", *(f"{number},{line}" for number, line in enumerate(lines, 1))]) + "\n"


def framed(array: np.ndarray, **options: object) -> str:
    file = io.StringIO()
    pd.DataFrame(array).to_csv(file, **options)  # type: ignore[call-overload]
    return file.getvalue()


NUMBERED = ["0", "1", "2"]
WAVES = np.random.default_rng(0).random((6, 7)).round(4)
SALES = np.random.default_rng(0).integers(500, 5000, (9, 6))
BITS = np.array([[0, 1, 1], [1, 0, 1], [0, 0, 0], [1, 1, 0], [0, 1, 0]])


def ticked(ticks: list[object], rows: np.ndarray) -> tuple[str, list[str], np.ndarray]:
    names = [str(tick) for tick in ticks]
    return "\n".join([",".join(names), *(",".join(map(str, row)) for row in rows.tolist())]) + "\n", names, rows


def numbers(rows: np.ndarray) -> str:
    return "\n".join(",".join(map(str, row)) for row in rows.tolist()) + "\n"


SAME: dict[str, tuple[str | bytes, list[str], np.ndarray]] = {
    "plain": (text(), NAMES, ROWS),
    "quoted header": ('"length","price","flag"\n' + text(header=None), NAMES, ROWS),
    "everything quoted": (quoted(text()), NAMES, ROWS),
    "spaces after commas": (text().replace(",", ", "), NAMES, ROWS),
    "spaces around commas": (text().replace(",", " , "), NAMES, ROWS),
    "byte order mark": (text().encode("utf-8-sig"), NAMES, ROWS),
    "utf-16": (text("\t").encode("utf-16"), NAMES, ROWS),
    "utf-32": (text("\t").encode("utf-32"), NAMES, ROWS),
    "old line ends": (text(end="\r"), NAMES, ROWS),
    "line ends of DOS": (text(end="\r\n"), NAMES, ROWS),
    "no last line end": (text().rstrip("\n"), NAMES, ROWS),
    "empty lines": ("\n\n" + text().replace("\n", "\n\n") + "\n  \n", NAMES, ROWS),
    "tabs": (text("\t"), NAMES, ROWS),
    "bars": (text("|"), NAMES, ROWS),
    "aligned": ("\n".join("   ".join(line.split(",")) for line in text().splitlines()), NAMES, ROWS),
    "tabs and spaces": (text().replace(",", " \t "), NAMES, ROWS),
    "decimal commas": (text(";", write=lambda x: repr(x).replace(".", ",")), NAMES, ROWS),
    "decimal commas, no header": (text(";", None, write=lambda x: repr(x).replace(".", ",")), NUMBERED, ROWS),
    "decimal commas and thousands": (text(";", write=european), NAMES, ROWS),
    "decimal commas between commas": (
        quoted(text("#", write=european).replace(",", ";")).replace(";", ",").replace("#", '","'),
        NAMES,
        ROWS,
    ),
    "thousands": (text(";", write=lambda x: f"{x:,.10g}"), NAMES, ROWS),
    "apostrophes": (text(",", write=lambda x: f"{x:,.10g}".replace(",", "'")), NAMES, ROWS),
    "narrow spaces": (text(";", write=lambda x: f"{x:,.10g}".replace(",", "\u202f").replace(".", ",")), NAMES, ROWS),
    "signs and exponents": (text(write=lambda x: f"{x:+.12E}"), NAMES, ROWS),
    "each line ends in a comma": (text().replace("\n", ",\n"), NAMES, ROWS),
    "each row ends in a comma": (text(header=None).replace("\n", ",\n").join(["length,price,flag\n", ""]), NAMES, ROWS),
    "comments": ("# logger\n# station 12, hall\n" + text(), NAMES, ROWS),
    "header in a comment": ("# length,price,flag\n" + text(header=None), NAMES, ROWS),
    "numpy.savetxt": ("# length price flag\n" + text(" ", None), NAMES, ROWS),
    "sep=": ("sep=;\n" + text(";"), NAMES, ROWS),
    "first line of 0, 1, 2": (framed(ROWS, index=False), NUMBERED, ROWS),
    "two columns of pandas": (framed(WAVES[:, :2], index=False), ["0", "1"], WAVES[:, :2]),
    "one column of pandas": (framed(WAVES[:, :1], index=False), ["0"], WAVES[:, :1]),
    "no header": (text(header=None), NUMBERED, ROWS),
    "no header, whole numbers": (numbers(np.arange(30).reshape(10, 3) + 1), NUMBERED, np.arange(30).reshape(10, 3) + 1),
    "no header, 0 and 1": (numbers(BITS), NUMBERED, BITS),
    "wavelengths": ticked(list(range(400, 470, 10)), WAVES),
    "falling wavelengths": ticked([1650.5, 1600.25, 1550.1, 1500.9, 1450.3, 1400.2, 1350.7], WAVES),
    "wavelengths of rising spectra": ticked(list(range(400, 470, 10)), WAVES.cumsum(axis=1).round(4)),
    "years": ticked([2019, 2020, 2021], WAVES[:, :3] * 100),
    "years within the range of the values": ticked(list(range(2015, 2021)), SALES),
    "rows that rise": (numbers(np.sort(WAVES, axis=1)), [str(i) for i in range(7)], np.sort(WAVES, axis=1)),
    "one column": ("x\n" + "".join(f"{value}\n" for value in WAVES[:, 0]), ["x"], WAVES[:, :1]),
    "one column without a header": ("".join(f"{value}\n" for value in WAVES[:, 0]), ["0"], WAVES[:, :1]),
    "a column of one tab more": ("a\tb\n1\t2\n3\t4\n5\t6\n", ["a", "b"], np.array([[1, 2], [3, 4], [5, 6]])),
    "truth values": ("a,b\nTrue,1\nFALSE,2\ntrue,3\n", ["a", "b"], np.array([[1, 1], [0, 2], [1, 3]])),
    "more columns than fit into 131,072 characters": ticked(
        [f"column_number_{i}" for i in range(11_000)], np.arange(33_000.0).reshape(3, 11_000) / 7
    ),
}


def write(path: Path, content: str | bytes) -> Path:
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    return path


def sort(rows: np.ndarray) -> np.ndarray:
    return rows[np.lexsort(rows.T[:50])]


@pytest.mark.parametrize("case", SAME)
def test_training_commands_and_doctor_read_the_same_matrix(case: str, tmp_path: Path) -> None:
    content, names, rows = SAME[case]
    path = write(tmp_path / "rows.csv", content)
    data = Table(str(path)).load()
    assert [column.name for column in data.columns] == names
    trained = np.concatenate([data.train.x, data.valid.x, data.test.x]).astype(float)
    np.testing.assert_array_equal(sort(trained), sort(rows.astype(float)))
    # Twice: with what a run knows of its own columns, and for names that the file does not have.
    columns = [Column(name, "float64") for name in names]
    scored = pd.concat(list(RowReader(str(path), columns)))
    np.testing.assert_array_equal(scored[names].to_numpy(float), rows)
    others = pd.concat(list(RowReader(str(path), [Column("another", "float64")])))
    assert (others.shape, list(others.columns)) == (rows.shape, names)
    if len(names) < 1000:
        measured = examine_data(path).measured
        assert (measured["rows"], measured["columns"].split(":")[0]) == (len(rows), str(len(names)))


LINES = text().splitlines()
REFUSED: dict[str, tuple[str | bytes, str]] = {
    "a row too short": ("\n".join([*LINES[:3], "1,2", *LINES[3:]]), "Line 4 of .* has 2 fields, the first line has 3"),
    "a row too long": (
        "\n".join([*LINES[:3], "1,2,3,4", *LINES[3:]]),
        "Line 4 of .* has 4 fields, the first line has 3",
    ),
    "cut off": ("\n".join([*LINES, "1.5,2"]), "Line 7 of .* has 2 fields"),
    "short by an empty field": ("\n".join([*LINES, "1.5,"]), "Line 7 of .* has 2 fields"),
    "a title": ("Station 12\nHall\n" + text(), "has 3 fields, the first line has 1.*data.skip_rows=2"),
    "units": ("\n".join([LINES[0], "m,EUR,-", *LINES[1:]]), "'m' .*line 2|must hold numbers.*'m' in row 1"),
    "a total": ("\n".join([*LINES, "Total,5.5,2"]), "'Total' .*line 7|must hold numbers.*'Total' in row 6"),
    "yes and no": (text().replace(",1.0", ",Yes").replace(",0.0", ",No"), "'Yes'"),
    "decimal commas between commas": (text().replace(".", ","), "has 6 fields, the first line has 3"),
    "decimal commas in one column": ("x\n1,5\n2,5\n3,5\n", "Line 2 of .* has 2 fields, the first line has 1"),
    "points and commas": ("a;b\n1.5;1,25\n2.5;2,25\n3.5;3,5\n", "'1,25'"),
    "thousands or decimals": ("a;b\n1.5;1,250\n2.5;2,250\n3.5;3,500\n", "'1,250'"),
    "one name twice": (text(header="a,b,a"), "must name each column once"),
    "latin-1": (text(header="länge,price,flag").encode("latin-1"), "line 1 holds the byte 0xe4.*data.encoding=cp1252"),
    "utf-16 without its mark": (text().encode("utf-16-le"), "zero bytes.*data.encoding=utf-16-le"),
    "a quote without an end": (text() + '1,"2,3\n' * 3, "in the record after line 6, .*quote|after line 6"),
    "a field without an end": (text() + '1,"' + "x" * 200_000 + '",2\n', "field larger than field limit"),
    "nothing": ("\n \n", "is empty"),
    "only comments": ("# a\n# b\n", "is empty"),
    "a row too short of lines that end in the delimiter": (
        "a0,a1,\n-5,0,\n9,2,\n0,\n-7,0,",
        "Line 4 of .* has 1 field, the first line has 2. The line is '0'",
    ),
    "a row too short before a text, each line ends in the delimiter": (
        "a0,note,\n-5,x,\n9,y,\n0,\n-7,x,",
        "Line 4 of .* has 1 field, the first line has 2",
    ),
    "a row too long of lines that end in the delimiter": (
        "a0,a1,\n0,5,\n0,0,\n0,0,\n0,0,\n0,7,0,\n0,0,",
        "Line 6 of .* has 3 fields, the first line has 2",
    ),
    "a row whose word for a missing value stands after the last delimiter": (
        "a0,a1,\n" + "0,5,\n" * 250 + "0,0,NA\n0,0,",
        "Line 252 of .* has 3 fields, the first line has 2",
    ),
    "a line break in a quoted cell": (text() + '"two\nlines",2,1\n', r"'two\\nlines'"),
    "0 and 1 above whole numbers": ("0,1\n5,7\n6,0\n0,1\n", "The first line of .*, 0, 1, may hold names or be a row"),
    "0 above whole numbers": ("0\n5\n6\n0\n3\n", "The first line of .*, 0, .*data.header=false .*data.header=true"),
    "0 above fractions and whole numbers": ("0\n0.5\n1\n0.25\n", "The first line of .*, 0, may hold names"),
    "a time from 0 and its cosine": ("0,1\n0.1,0.995\n0.2,0.98\n0.3,0.955\n", "The first line of .*, 0, 1, may hold"),
    "hexadecimal": ("a,b\n0x1A,1\n0x2B,2\n3,3\n", "'0x1A'"),
    "digits in groups of Python": ("a,b\n1_000,1\n2_000,2\n3,3\n", "'1_000'"),
}


TEXTS_TO_AUTO = ("yes and no", "hexadecimal", "digits in groups of Python")


@pytest.mark.parametrize("case", REFUSED)
def test_training_commands_and_doctor_refuse_the_same(case: str, tmp_path: Path) -> None:
    content, told = REFUSED[case]
    path = write(tmp_path / "rows.csv", content)
    with pytest.raises(DataError, match=told) as refusal:
        Table(str(path)).load()
    assert "\n" not in str(refusal.value)
    names = Table(str(path)).sheets()["train"].frame.columns if "line 7" in told or "Yes" in told else NAMES
    given = (content if isinstance(content, bytes) else content.encode()).splitlines()
    header = given[0].decode("latin-1").replace(";", ",").split(",") if given else NAMES
    columns = [Column(name, "float64") for name in (names if case in ("a title",) else header)]
    with pytest.raises(DataError, match=told if "'" not in told else "must hold numbers|" + told):
        list(RowReader(str(path), columns))
    # A family for each column takes texts, unless they are numbers that somebody has to say how to read.
    for likelihood in ("gaussian",) if case in TEXTS_TO_AUTO else ("gaussian", None):
        report = examine_data(path, likelihood)
        assert report.exit_status != 0
        assert any(finding.code in ("DATA", "COLUMNS") for finding in report)


def test_a_first_row_with_a_missing_value_is_a_row(tmp_path: Path) -> None:
    """A headerless table whose first row held NA, ? or - lost that row: it became the header."""
    for word in ("NA", "?", "-", "", "nan"):
        path = write(tmp_path / "rows.csv", f"7.5,{word},9\n1.5,2.25,1\n2.5,4.25,2\n3.5,6.25,3\n")
        data = Table(str(path)).load()
        found = np.concatenate([data.train.x, data.valid.x, data.test.x])
        np.testing.assert_array_equal(sort(found), [[1.5, 2.25, 1], [2.5, 4.25, 2], [3.5, 6.25, 3], [7.5, np.nan, 9]])
        assert [column.name for column in data.columns] == ["0", "1", "2"]


OPTIONS = [
    ("1,2\n3,4\n5,6\n7,8\n", {"header": True}, ["1", "2"], [[3, 4], [5, 6], [7, 8]]),
    ("0,1\n3,4\n5,6\n7,8\n", {"header": False}, ["0", "1"], [[0, 1], [3, 4], [5, 6], [7, 8]]),
    ("a;b\n1;1,250\n2;2,250\n3;3,500\n", {"decimal": "comma"}, ["a", "b"], [[1, 1.25], [2, 2.25], [3, 3.5]]),
    ("a;b\n1;1,250\n2;2,250\n3;3,500\n", {"thousands": ","}, ["a", "b"], [[1, 1250], [2, 2250], [3, 3500]]),
    ("a;b\n1;1.250\n2;22\n3;3.500\n", {"thousands": "point"}, ["a", "b"], [[1, 1250], [2, 22], [3, 3500]]),
    ("a;b\n1;1 250\n2;22\n3;3 500\n", {"thousands": "space"}, ["a", "b"], [[1, 1250], [2, 22], [3, 3500]]),
    ("t\nx\na,b\n1,2\n3,4\n5,6\n", {"skip_rows": 2}, ["a", "b"], [[1, 2], [3, 4], [5, 6]]),
    ("a,b\nm,s\n1,2\n3,4\n5,6\nsum,12\n", {"skip_rows": [2, 6]}, ["a", "b"], [[1, 2], [3, 4], [5, 6]]),
    ("größe,b\n1,2\n3,4\n5,6\n".encode("cp1252"), {"encoding": "cp1252"}, ["größe", "b"], [[1, 2], [3, 4], [5, 6]]),
    ("a~b\n1~2\n3~4\n5~6\n", {"delimiter": "~"}, ["a", "b"], [[1, 2], [3, 4], [5, 6]]),
]


@pytest.mark.parametrize(("content", "options", "names", "rows"), OPTIONS, ids=lambda value: str(value)[:40])
def test_what_is_said_of_a_text_goes_before_what_is_found(
    content: str | bytes, options: dict[str, object], names: list[str], rows: list[list[float]], tmp_path: Path
) -> None:
    path = write(tmp_path / "rows.csv", content)
    data = Table(str(path), **options).load()  # type: ignore[arg-type]
    assert [column.name for column in data.columns] == names
    trained = np.concatenate([data.train.x, data.valid.x, data.test.x]).astype(float)
    np.testing.assert_array_equal(sort(trained), sort(np.array(rows, dtype=float)))
    columns = [Column(name, "float64") for name in names]
    found = pd.concat(list(RowReader(str(path), columns, dialects=[Dialect(**options)])))  # type: ignore[arg-type]
    np.testing.assert_array_equal(found.to_numpy(float), rows)


def test_words_and_codes_for_what_is_missing(tmp_path: Path) -> None:
    path = write(tmp_path / "rows.csv", "a,b\n1,-999\n2,-999.0\n3,4\nnil,5\n")
    data = Table(str(path), missing=["nil", -999]).load()
    found = np.concatenate([data.train.x, data.valid.x, data.test.x])
    np.testing.assert_array_equal(sort(found), sort(np.array([[1, np.nan], [2, np.nan], [3, 4], [np.nan, 5]])))


@pytest.mark.parametrize(
    ("options", "told"),
    [
        ({"decimal": "x"}, "'decimal' parameter of Table must be point or comma"),
        ({"thousands": "1"}, "'thousands' parameter of Table must be one mark"),
        ({"thousands": "comma", "decimal": "comma"}, "another mark than the decimal mark"),
        ({"encoding": "utf-99"}, "'encoding' parameter of Table must be an encoding that Python knows"),
        ({"skip_rows": -1}, "'skip_rows' parameter of Table must be a number of lines"),
        ({"skip_rows": [0]}, "'skip_rows' parameter of Table must be a number of lines"),
        ({"delimiter": "::"}, "'delimiter' parameter of Table must be one character"),
    ],
)
def test_settings_that_make_no_sense(options: dict[str, object], told: str) -> None:
    with pytest.raises(ConfigError, match=told):
        Table("rows.csv", **options)  # type: ignore[arg-type]


def test_lines_that_are_no_rows_can_be_left_out_as_the_message_says(tmp_path: Path) -> None:
    """Units, a total and cells of other words ended in the advice to drop whole columns."""
    content = ["a,b", "m,s", *(f"{i},{i * i}" for i in range(60)), "n/k,7", "5,", "Total,99", "1,2,3"]
    path = write(tmp_path / "rows.csv", "\n".join(content))
    lines: list[int] = []
    for told in ([66], [2, 63, 64, 65, 66]):
        with pytest.raises(DataError, match=re.escape(f"data.skip_rows=[{','.join(map(str, told))}]")):
            Table(str(path), skip_rows=lines).load()
        lines = told
    assert len(Table(str(path), skip_rows=lines).sheets()["train"].frame) == 60


TEXTS = [
    "x",
    "a b",
    'say "no"',
    "1,5",
    "semi;colon",
    "tab\tin",
    "two\nlines",
    "007",
    "NA",
    "",
    "#tag",
    "'",
    "ünï",
    "0x1F",
]


def draw_text(seed: int) -> tuple[str, list[str], np.ndarray, list[str]]:
    """A text in a drawn dialect, its columns of numbers and its column of texts, "note"."""
    draws = np.random.default_rng(seed)
    comma, groups = draws.random(2) < 0.4
    decimal, mark = (",", ".") if comma else (".", ",")
    choices = [";", "\t", "|"] if comma or groups else [",", ";", "\t", "|"]
    delimiter, end = str(draws.choice(choices)), str(draws.choice(["\n", "\r\n", "\r"]))
    num_rows, width = int(draws.integers(3, 400)), int(draws.integers(2, 7))
    rows = draws.normal(0, 10.0 ** draws.integers(-2, 7), (num_rows, width)).round(int(draws.integers(2, 6)))
    whole = draws.random(width) < 0.3
    rows[:, whole] = rows[:, whole].round()
    if groups:
        rows[0, 0] = 1234567.25  # that no other reading is possible
    notes = [str(draws.choice(TEXTS)) if draws.random() < draws.choice([0.0, 0.5]) else "plain" for _ in rows]

    def number(value: float, is_whole: bool) -> str:
        told = f"{value:,}" if groups else repr(value)
        told = told.removesuffix(".0") if is_whole else told
        return told.translate(str.maketrans(".,", f"{decimal}{mark}"))

    def field(told: str) -> str:
        quote = told.startswith((" ", '"')) or any(mark in told for mark in (delimiter, '"', "\n", "\r"))
        return '"' + told.replace('"', '""') + '"' if quote or draws.random() < 0.02 else told

    names = [f"c{i}" for i in range(width)]
    lines = [[*map(number, row.tolist(), whole), note] for row, note in zip(rows, notes, strict=True)]
    lines = [[field(told) for told in line] for line in lines]
    told = end.join(delimiter.join(line) for line in [[*names, "note"], *lines]) + end * int(draws.integers(0, 3))
    return told, names, rows, notes


@pytest.mark.parametrize("seed", range(60))
def test_drawn_texts(seed: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    content, names, rows, notes = draw_text(seed)
    monkeypatch.setattr("vae_lightning.data.files.text.CELLS_AT_ONCE", 1)  # 64 rows at once
    monkeypatch.setattr("vae_lightning.data.files.reading.MAX_ROWS", 17)
    path = write(tmp_path / "rows.csv", content)
    data = Table(str(path), label="note").load()
    trained = np.concatenate([data.train.x, data.valid.x, data.test.x]).astype(float)
    np.testing.assert_array_equal(sort(trained), sort(rows))
    found = pd.concat(list(RowReader(str(path), [Column(name, "float64") for name in names])))
    np.testing.assert_array_equal(found[names].to_numpy(float), rows)
    assert found["note"].tolist() == notes
    labels = [part.labels for part in (data.train, data.valid, data.test)]
    assert sorted(np.concatenate(labels)) == sorted(notes)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    "content",
    [
        '"a" "b"\n"1" 1.5 2\n"2" 3 4.5\n"3" 5 6\n',
        '"a","b"\n"x",1.5,2\n"y",3,4.5\n"z",5,6\n',
        ",a,b\n0,1.5,2\n1,3,4.5\n2,5,6\n",
        "a,b,\nx,1.5,2,\ny,3,4.5,\nz,5,6,\n",
    ],
    ids=["row.names of R", "labels of R", "row numbers of pandas", "each line ends in a comma"],
)
def test_row_labels_are_no_column_to_train_on(content: str, tmp_path: Path) -> None:
    """The doctor passed a table whose row numbers training refuses."""
    path = write(tmp_path / "rows.csv", content)
    with pytest.raises(DataError, match="1 column without a name, Unnamed: 0: row numbers") as refused:
        Table(str(path)).load()
    assert "\"data.drop=['Unnamed: 0']\"" in str(refused.value)
    (finding,) = [one for one in examine_data(path) if one.code == "COLUMNS"]
    assert "1 column without a name, Unnamed: 0" in finding.says
    assert len(Table(str(path), drop="Unnamed: 0").load().columns) == 2
    found = pd.concat(list(RowReader(str(path), [Column("a", "float64"), Column("b", "float64")])))
    np.testing.assert_array_equal(found.to_numpy(), [[1.5, 2], [3, 4.5], [5, 6]])
    assert len(set(found.index)) == 3


@pytest.mark.parametrize("seed", range(40))
def test_a_table_that_grows_row_by_row_loses_none(seed: int, tmp_path: Path) -> None:
    """Its first row lies outside the range of the others, as years and wavelengths above a table do."""
    draws = np.random.default_rng(seed)
    rows = draws.random((int(draws.integers(5, 30)), int(draws.integers(1, 7)))).cumsum(axis=0).round(3)
    frame = Table(str(write(tmp_path / "rows.csv", numbers(rows)))).sheets()["train"].frame
    np.testing.assert_array_equal(frame.to_numpy(), rows)


def test_a_row_of_positions_is_not_taken_for_names_of_columns(tmp_path: Path) -> None:
    """A file without a header, whose first row was 1,0, lost that row, and its two columns changed places."""
    columns = [Column("0", "float64"), Column("1", "float64")]
    path = write(tmp_path / "rows.csv", "1,0\n0,0\n1,1\n")
    assert pd.concat(list(RowReader(str(path), columns))).to_numpy().tolist() == [[1, 0], [0, 0], [1, 1]]
    for content in ("0,1\n0,0\n1,1\n", "1,0,1\n0,0,1\n1,1,0\n"):
        with pytest.raises(DataError, match="may hold names or be a row of values: say which"):
            list(RowReader(str(write(path, content)), columns))
    rows = pd.concat(list(RowReader(str(path), columns, dialects=[Dialect(header=False)])))
    assert rows[["0", "1"]].to_numpy().tolist() == [[1, 0], [0, 0], [1, 1]]
