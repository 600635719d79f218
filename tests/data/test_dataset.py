"""Splits, fingerprints, and the words that messages are made of."""

import zipfile
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from vae_lightning.data.columns import Column, pixel_names
from vae_lightning.data.dataset import Dataset, Rows
from vae_lightning.data.files.archives import Archive
from vae_lightning.data.split import check_seed, split_off, split_rows
from vae_lightning.data.wording import count, shorten
from vae_lightning.errors import DataError


def dataset(x: np.ndarray) -> Dataset:
    columns = tuple(Column(f"c{index}", str(x.dtype)) for index in range(x.shape[1]))
    return Dataset("some", columns, Rows(x[:-2]), Rows(x[-2:-1]), Rows(x[-1:]))


class TestSplit:
    @pytest.mark.parametrize("num_rows", [3, 10, 1797])
    @pytest.mark.parametrize("seed", [0, 7])
    def test_every_row_is_in_one_part_with_its_label(self, num_rows: int, seed: int) -> None:
        x = np.arange(num_rows)[:, None]
        parts = split_rows(Rows(x, x[:, 0] * 2), 0.1, 0.2, seed)
        assert sorted(np.concatenate([part.x[:, 0] for part in parts])) == list(range(num_rows))
        for part in parts:
            assert len(part) >= 1
            assert part.labels is not None
            np.testing.assert_array_equal(part.labels, part.x[:, 0] * 2)
        again = split_rows(Rows(x), 0.1, 0.2, seed)
        np.testing.assert_array_equal(again[0].x, parts[0].x)

    def test_sizes_are_rounded(self) -> None:
        sizes = [len(part) for part in split_rows(Rows(np.zeros((1797, 1))), 0.1, 0.2, 0)]
        assert sizes == [1258, 180, 359]

    def test_seeds_differ(self) -> None:
        rows = Rows(np.arange(50)[:, None])
        assert (split_rows(rows, 0.1, 0.1, 0)[0].x != split_rows(rows, 0.1, 0.1, 1)[0].x).any()

    def test_one_part(self) -> None:
        rest, part = split_off(Rows(np.arange(6)[:, None]), 1 / 6, 0, "valid")
        assert (len(rest), len(part)) == (5, 1)

    @pytest.mark.parametrize(("valid", "test"), [(0.5, 0.5), (0.9, 0.2)])
    def test_fractions_that_leave_nothing(self, valid: float, test: float) -> None:
        with pytest.raises(DataError, match="must sum to less than 1"):
            split_rows(Rows(np.zeros((9, 1))), valid, test, 0)

    @pytest.mark.parametrize("fraction", [0, -0.1, float("nan")])
    def test_illegal_fractions(self, fraction: float) -> None:
        with pytest.raises(DataError, match=r"The 'valid_fraction' parameter must be above 0 and below 1.*9 rows"):
            split_rows(Rows(np.zeros((9, 1))), fraction, 0.1, 0)

    @pytest.mark.parametrize("num_rows", [0, 1, 2])
    def test_too_few_rows(self, num_rows: int) -> None:
        with pytest.raises(DataError, match=f"have only {num_rows} row"):
            split_rows(Rows(np.zeros((num_rows, 1))), 0.1, 0.1, 0)

    @pytest.mark.parametrize("seed", [-1, 0.5, True])
    def test_illegal_seeds(self, seed: int) -> None:
        with pytest.raises(DataError, match="The 'seed' parameter must be a whole number from 0 on"):
            check_seed(seed)


class TestDataset:
    def test_fingerprint_sees_every_change(self) -> None:
        x = np.arange(12.0).reshape(4, 3)
        data = dataset(x)
        changed = x.copy()
        changed[3, 2] += 1e-12
        others = [
            dataset(changed),
            dataset(x.astype(np.float32)),
            dataset(x.reshape(6, 2)),
            replace(data, columns=(Column("d0", "float64"), *data.columns[1:])),
            replace(data, train=data.valid, valid=data.train),
        ]
        prints = {each.fingerprint for each in (data, *others)}
        assert len(prints) == 6
        assert all(len(each) == 16 and int(each, 16) >= 0 for each in prints)
        assert dataset(np.asfortranarray(x)).fingerprint == data.fingerprint
        assert replace(data, test=Rows(np.empty((0, 3)))).fingerprint != data.fingerprint

    def test_rows_fingerprint_sees_every_row_but_not_the_split(self) -> None:
        x = np.arange(60.0).reshape(20, 3)
        columns = tuple(Column(name, "float64") for name in "abc")
        splits = [split_rows(Rows(x), fraction, 0.2, seed) for fraction, seed in ((0.1, 0), (0.1, 1), (0.3, 0))]
        data = [Dataset("some", columns, *parts) for parts in splits]
        assert len({each.fingerprint for each in data}) == 3
        assert len({each.rows_fingerprint for each in data}) == 1
        changed, twice, swapped = x.copy(), x.copy(), x[:, [1, 0, 2]]
        changed[19, 2] += 1e-12
        twice[19] = twice[18]
        others = [dataset(x), *(replace(dataset(rows), columns=columns) for rows in (changed, twice, swapped, x[1:]))]
        prints = {each.rows_fingerprint for each in (data[0], *others)}
        assert len(prints) == 6
        assert all(len(each) == 16 and int(each, 16) >= 0 for each in prints)

    def test_constant_columns_look_at_the_training_rows_only(self) -> None:
        x = np.array([[1, 2, 3], [1, 2, 4], [1, 5, 4], [1, 2, 4]])
        assert dataset(x).constant_columns == ["c0", "c1"]


class TestWords:
    def test_count(self) -> None:
        assert [count(number, "row") for number in (0, 1, 12000)] == ["0 rows", "1 row", "12,000 rows"]

    def test_listed(self) -> None:
        assert shorten("abc") == "a, b, c"
        assert shorten("abcdef") == "a, b, c, d, e, f"
        assert shorten([str(index) for index in range(36)]) == "0, 1, 2, 3, 4 and 31 more"

    def test_pixel_names(self) -> None:
        assert pixel_names(2, 2) == ["pixel_0_0", "pixel_0_1", "pixel_1_0", "pixel_1_1"]


def test_read_arrays_never_unpickles(tmp_path: Path) -> None:
    np.savez(tmp_path / "my.npz", x=np.ones(3), objects=np.array([{}]))
    arrays = Archive(tmp_path / "my.npz")
    assert arrays["objects"] is None
    assert arrays["x"] is not None


def test_read_arrays_refuses_a_damaged_member(tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "my.npz", "w") as archive:
        archive.writestr("x.npy", b"\x93NUMPY\x01\x00\x05\x00nope\n")
    with pytest.raises(DataError, match="cannot be read as an NPZ archive"):
        Archive(tmp_path / "my.npz")
