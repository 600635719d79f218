"""Delimited text: training, the commands and the doctor read the matrix that was written, or refuse it in one line."""

import math
from decimal import Decimal, InvalidOperation
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from hypothesis import strategies as st

from tests.fuzz.fuzzing import attempt, budgets, empty_folder, files_in, fuzz
from tests.fuzz.texts import Text, tables
from vae_lightning.data.columns import Column
from vae_lightning.data.files.dialect import Dialect, is_text
from vae_lightning.data.files.reading import RowReader
from vae_lightning.data.files.writing import RowWriter
from vae_lightning.data.sources.table import Table
from vae_lightning.doctor.runs.table import examine_data
from vae_lightning.errors import DataError, UserError

OUTPUTS = ["out.csv", "out.tsv", "out.csv.gz", "out.parquet", "out.feather", "out.npy"]


@pytest.mark.parametrize("examples", budgets(200))
def test_text_tables(examples: int, tmp_path: Path) -> None:
    cases = st.tuples(tables(), st.sampled_from(OUTPUTS))

    def check(case: tuple[Text, str]) -> str:
        text, output = case
        with empty_folder(tmp_path) as folder:
            (folder / text.name).write_bytes(text.content)
            trained = attempt(lambda: _matrix_to_train(folder / text.name, text))
            assert files_in(folder) == {text.name}
            streamed = attempt(lambda: _stream(folder / text.name, text, output))
            refused = isinstance(streamed, UserError)
            assert files_in(folder) == {text.name} | (set() if refused else {output}), "something was left behind"
            _judge(text, trained, None if refused else folder / output, output)
            return f"{'refused' if isinstance(trained, UserError) else 'read'}{f', {text.damage}' * bool(text.damage)}"

    fuzz("text tables", cases, check, examples)


@pytest.mark.parametrize("examples", budgets(40))
def test_the_doctor_reads_what_training_reads(examples: int, tmp_path: Path) -> None:
    def check(text: Text) -> str:
        with empty_folder(tmp_path) as folder:
            path = folder / text.name
            path.write_bytes(text.content)
            report = attempt(lambda: examine_data(path))
            assert not isinstance(report, UserError)
            trained = attempt(lambda: Table(str(path)).load_mixed())
            if isinstance(trained, UserError):
                assert report.exit_status, f"training refuses it and the doctor does not: {trained}"
            assert report.to_json()
            return f"exit status {report.exit_status}"

    fuzz("text tables of the doctor", tables(), check, examples)


def _matrix_to_train(path: Path, text: Text) -> np.ndarray:
    """All rows to train on in their order: companions of its own take none of them away."""
    drop = [name for name in text.labels if name in text.names]
    dataset = Table(str(path), drop=drop, valid_path=str(path), test_path=str(path), **text.told).load()
    if text.damage not in ("bytes", "cut"):
        assert [column.name for column in dataset.columns] == text.measured
    assert np.array_equal(dataset.train.x, dataset.valid.x, equal_nan=True)
    return dataset.train.x


def _stream(path: Path, text: Text, output: str) -> None:
    """As score and encode do it: batch by batch into another file."""
    dtypes = {"whole": "int64", "fraction": "float64", "truth": "bool"}
    columns = [Column(name, dtypes[text.column(name).kind]) for name in text.measured]
    reader = RowReader(str(path), columns, verbatim=is_text(output), dialects=[Dialect(**text.told)])
    with RowWriter(str(path.parent / output)) as writer:
        batches = [writer.write(rows) for rows in reader]
        if not batches:
            raise DataError("There are no rows, says whoever goes through them.")


def _judge(text: Text, trained: np.ndarray | UserError, written: Path | None, output: str) -> None:
    must_be_refused = text.damage in ("short", "long", "garbage", "twice")
    rows = len(text.columns[0].values)
    if must_be_refused:
        assert isinstance(trained, UserError), f"trained on a table with a bad row: {trained}"
        assert written is None, "scored a table with a bad row"
    elif text.damage == "cut":
        if isinstance(trained, np.ndarray) and len(trained) > 1:  # of one row nobody knows how wide it was
            _check_matrix(text, trained, cut=len(trained))
    elif text.damage == "":
        if not text.is_unusable:
            assert not isinstance(trained, UserError), f"refused to train on a sound table: {trained}"
            _check_matrix(text, trained)
        else:
            assert isinstance(trained, UserError), "trained on infinite values, or on a column without any"
        may_refuse = output.endswith(".npy") or text.labels
        assert written is not None or may_refuse, "refused to score a sound table"
        if written is not None:
            _check_written(text, written, rows)


def _check_matrix(text: Text, x: np.ndarray, cut: int | None = None) -> None:
    """Every value is the one that was meant; of a file that was cut the last number may be."""
    rows = len(text.columns[0].values) if cut is None else cut
    assert x.shape == (rows, len(text.measured)), f"{x.shape} of {rows} rows"
    for place, name in enumerate(text.measured):
        values = text.column(name).values[:rows]
        is_last = cut is not None and place == len(text.measured) - 1
        for row, (value, got) in enumerate(zip(values, x[:, place].tolist(), strict=True)):
            if not (is_last and row == rows - 1):
                right = math.isnan(got) if value is None else got == value or got == float(value)
                assert right, f"{name}, row {row}: {got!r} for {value!r}"


def _check_written(text: Text, path: Path, rows: int) -> None:
    """What came out of the stream, read by somebody else: numbers as numbers, everything else as it stood."""
    if path.suffix == ".npy":
        frame = pd.DataFrame(np.load(path, allow_pickle=False), columns=text.names)
    elif path.suffix == ".parquet":
        frame = pd.read_parquet(path)
    elif path.suffix == ".feather":
        frame = pd.read_feather(path)
    else:
        mark = "\t" if ".tsv" in path.name else ","
        frame = pd.read_csv(path, sep=mark, dtype=str, keep_default_na=False)
    assert list(frame.columns) == text.names
    assert len(frame) == rows
    for name in text.names:
        column = text.column(name)
        for row, (value, got) in enumerate(zip(column.values, frame[name].tolist(), strict=True)):
            where = f"{name}, row {row}: {got!r} for {value!r}"
            if column.kind == "label":
                assert _is_same_label(got, value), where
            elif value is None:
                assert got == "" or got is None or got is pd.NA or (isinstance(got, float) and math.isnan(got)), where
            else:
                got = {"True": 1, "False": 0}.get(got, got)
                assert float(got) == float(value), where


def _is_same_label(got: Any, text: str) -> bool:
    """A text, or a number with exactly the same digits."""
    if str(got) == text:
        return True
    try:
        return not isinstance(got, str) and Decimal(str(got)) == Decimal(text)
    except InvalidOperation:
        return False
