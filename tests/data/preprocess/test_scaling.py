"""Scalings against scikit-learn, their own inverse, and the Jacobian by automatic differentiation."""

import numpy as np
import pytest
import torch
from sklearn.preprocessing import MinMaxScaler, StandardScaler

from vae_lightning.data.batch import Batch
from vae_lightning.data.dataset import Rows
from vae_lightning.data.preprocess.base import Scaling
from vae_lightning.data.preprocess.binarize import Binarize
from vae_lightning.data.preprocess.gaussianize import Gaussianize
from vae_lightning.data.preprocess.minmax import MinMax
from vae_lightning.data.preprocess.none import Identity
from vae_lightning.data.preprocess.standardize import Standardize
from vae_lightning.data.store import RowsInMemory
from vae_lightning.errors import DataError

X = np.random.default_rng(0).normal(size=(9001, 4)) * [1, 1e-6, 1e6, 1] + [0, 0, 3e9, 5]
X[:, 3] = 0.1
ROWS = Rows(X)
KINDS = list(Scaling.families().values())


class TestLaws:
    def test_the_folder_is_the_closed_set(self) -> None:
        assert Scaling.families() == {
            "binarize": Binarize,
            "gaussianize": Gaussianize,
            "minmax": MinMax,
            "none": Identity,
            "standardize": Standardize,
        }

    @pytest.mark.parametrize("kind", [kind for kind in KINDS if kind.is_invertible])
    def test_inverse_undoes_transform(self, kind: type[Scaling]) -> None:
        scaling = kind(4).fit(ROWS)
        x = torch.from_numpy(X)
        u = scaling.transform(x)
        assert u.dtype == torch.float32
        back = scaling.inverse(u)
        assert back.dtype == torch.float64
        spread = x.abs() if kind is Identity else (x - x.mean(0)).abs() + x.std(0)
        assert ((back - x).abs() <= 1e-5 * spread + 1e-9).all()

    @pytest.mark.parametrize("kind", KINDS)
    def test_log_slopes_are_those_of_the_inverse_map(self, kind: type[Scaling]) -> None:
        # Of the map itself, where the inverse could keep to what training rows hold.
        options = {"bounded": False} if "bounded" in kind(4).options() else {}
        scaling = kind(4, **options).fit(ROWS)
        u = torch.tensor([[0.0, 0, 0, 0], [0.5, -0.25, 1, 0]], dtype=torch.float64)
        found = scaling.log_slopes(u)
        assert (found.dtype, found.shape) == (torch.float64, (2, 4))
        for row, slopes in zip(u, found, strict=True):
            jacobian = torch.autograd.functional.jacobian(scaling.inverse, row)
            assert torch.equal(jacobian, jacobian.diag().diag())
            # What makes bits has no slope: the density is one of the bits.
            truth = -jacobian.diag().abs().log() if kind.is_invertible else torch.zeros(4, dtype=torch.float64)
            torch.testing.assert_close(slopes, truth, rtol=1e-12, atol=1e-12)

    @pytest.mark.parametrize("kind", KINDS)
    def test_mean_and_greatest_slopes_are_those_of_the_training_rows(self, kind: type[Scaling]) -> None:
        scaling = kind(4).fit(ROWS)
        slopes = scaling.log_slopes(scaling.transform(torch.from_numpy(X)))
        torch.testing.assert_close(scaling.mean_log_slopes(), slopes.mean(0), rtol=1e-12, atol=1e-12)
        assert (slopes <= scaling.max_log_slopes() + 1e-12).all()

    @pytest.mark.parametrize("kind", [kind for kind in KINDS if kind is not Gaussianize])
    def test_a_deviation_is_the_difference_of_two_inverses(self, kind: type[Scaling]) -> None:
        scaling = kind(4).fit(ROWS)
        u, stddev = torch.rand(5, 4, dtype=torch.float64), torch.rand(5, 4, dtype=torch.float64)
        apart = scaling.inverse(u + stddev) - scaling.inverse(u)
        torch.testing.assert_close(scaling.inverse_stddev(stddev, u), apart, rtol=1e-6, atol=1e-6)

    @pytest.mark.parametrize("kind", KINDS)
    def test_a_fresh_instance_loads_the_state(self, kind: type[Scaling]) -> None:
        fitted = kind(4).fit(ROWS)
        fresh = Scaling.named(fitted.name(), "data.preprocess")(4, **fitted.options())
        fresh.load_state_dict(fitted.state_dict())
        x = torch.from_numpy(X)
        assert torch.equal(fresh.transform(x), fitted.transform(x))
        assert all(value.dtype == torch.float64 for value in fitted.state_dict().values())

    @pytest.mark.parametrize("kind", KINDS)
    def test_statistics_keep_their_digits_whatever_the_model_is_cast_to(self, kind: type[Scaling]) -> None:
        fitted, x = kind(4).fit(ROWS), torch.from_numpy(X)
        before = fitted.transform(x)
        for cast in (torch.nn.Module.half, torch.nn.Module.float, torch.nn.Module.bfloat16, torch.nn.Module.double):
            assert torch.equal(cast(fitted).transform(x), before), cast

    @pytest.mark.parametrize("kind", KINDS)
    @pytest.mark.parametrize("dtype", [np.uint8, np.uint16, np.int64, np.float32])
    def test_every_dtype(self, kind: type[Scaling], dtype: type) -> None:
        x = np.arange(12).reshape(6, 2).astype(dtype)
        u = kind(2).fit(Rows(x)).transform(torch.from_numpy(x))
        assert u.dtype == torch.float32
        assert torch.isfinite(u).all()

    @pytest.mark.parametrize("kind", KINDS)
    @pytest.mark.parametrize("shape", [(3, 5), (3, 1), (0, 4)])
    def test_rows_of_another_width_or_none(self, kind: type[Scaling], shape: tuple[int, ...]) -> None:
        with pytest.raises(DataError, match=r"\.fit must be rows of 4 columns, at least one"):
            kind(4).fit(Rows(np.zeros(shape)))

    @pytest.mark.parametrize("kind", KINDS)
    def test_statistics_are_a_fold_over_batches_that_leaves_out_what_is_masked(self, kind: type[Scaling]) -> None:
        """However the rows are cut, and whatever stands in a masked cell, they are those of the observed cells."""
        x, mask = torch.rand(50, 3, dtype=torch.float64) * torch.tensor([1.0, 5.0, 100.0]), torch.rand(50, 3) < 0.7
        batch = Batch(torch.where(mask, x, torch.nan), mask)
        whole = kind(3).fit(RowsInMemory(batch))

        class Pieces(RowsInMemory):
            def batches(self, num_rows: int = 7):
                return super().batches(num_rows)

        columns = [kind(1).fit(RowsInMemory(Batch(x[mask[:, i], i : i + 1]))) for i in range(3)]
        for name, value in whole.state_dict().items():
            cut = kind(3).fit(Pieces(batch)).state_dict()[name]
            torch.testing.assert_close(cut, value, rtol=1e-12, atol=1e-12)
            alone = torch.cat([one.state_dict()[name] for one in columns])
            torch.testing.assert_close(value, alone, rtol=1e-12, atol=1e-12)

    def test_identity_and_standardize_clip_nothing(self) -> None:
        assert Identity(4).fit(ROWS).count_clipped(torch.from_numpy(X * 9)).sum() == 0
        assert Standardize(4).fit(ROWS).count_clipped(torch.from_numpy(X * 9)).sum() == 0


class TestStandardize:
    def test_agrees_with_scikit_learn(self) -> None:
        ours = Standardize(3).fit(Rows(X[:, :3]))
        theirs = StandardScaler().fit(X[:, :3])
        np.testing.assert_allclose(ours.mean, theirs.mean_, rtol=1e-12, atol=1e-15)
        np.testing.assert_allclose(ours.scale, theirs.scale_, rtol=1e-9)

    def test_a_constant_column_keeps_its_scale(self) -> None:
        scaling = Standardize(4).fit(ROWS)
        assert scaling.scale[3] == 1
        assert (scaling.transform(torch.from_numpy(X))[:, 3] == 0).all()

    def test_wide_values_do_not_overflow(self) -> None:
        x = np.array([[-1e300], [1e300], [5e299]])
        u = Standardize(1).fit(Rows(x)).transform(torch.from_numpy(x)).double()
        assert u.mean() == pytest.approx(0, abs=1e-6)
        assert u.std(correction=0) == pytest.approx(1, rel=1e-6)


class TestMinMax:
    def test_agrees_with_scikit_learn(self) -> None:
        u = MinMax(4).fit(ROWS).transform(torch.from_numpy(X))
        np.testing.assert_allclose(u[:, :3], MinMaxScaler().fit_transform(X[:, :3]), atol=1e-6)
        assert u.min() == 0
        assert u.max() == 1
        assert (u[:, 3] == 0).all()

    def test_values_beyond_the_range_are_clipped_and_counted(self) -> None:
        scaling = MinMax(2).fit(Rows(np.array([[0.0, 10.0], [4.0, 10.0]])))
        others = torch.tensor([[-1.0, 10.0], [2.0, 11.5], [5.0, 9.0]])
        assert scaling.count_clipped(others).sum() == 4
        assert scaling.transform(others).tolist() == [[0, 0], [0.5, 1], [1, 0]]

    def test_a_declared_range_holds_whatever_the_rows(self) -> None:
        scaling = MinMax(1, (0, 16)).fit(Rows(np.array([[3.0], [8.0]])))
        assert scaling.transform(torch.tensor([[0.0], [8.0], [16.0]])).flatten().tolist() == [0, 0.5, 1]
        assert scaling.count_clipped(torch.tensor([[16.0], [17.0]])).sum() == 1
        assert scaling.options() == {"value_range": [0, 16]}

    @pytest.mark.parametrize("value_range", [(1, 1), (2, 1), (0, float("inf")), (float("nan"), 1)])
    def test_illegal_ranges(self, value_range: tuple[float, float]) -> None:
        with pytest.raises(DataError, match="The 'value_range' parameter of MinMax must be"):
            MinMax(1, value_range)


class TestBinarize:
    def test_threshold(self) -> None:
        x = torch.tensor([[0.0], [8.0], [8.1], [16.0], [20.0]])
        scaling = Binarize(1, (0, 16))
        assert scaling.transform(x).flatten().tolist() == [0, 0, 1, 1, 1]
        assert Binarize(1, (0, 16), threshold=4).transform(x).flatten().tolist() == [0, 1, 1, 1, 1]
        assert scaling.count_clipped(x).sum() == 1
        assert scaling.inverse(torch.tensor([[0.0], [0.25], [1.0]])).flatten().tolist() == [0, 4, 16]

    def test_resampled_bits_have_their_levels_as_frequencies(self) -> None:
        scaling = Binarize(3, (0, 4), resample=True)
        x = torch.tensor([[0.0, 1.0, 4.0]]).expand(20_000, 3)
        levels = scaling.levels(x)
        assert levels[0].tolist() == [0, 0.25, 1]
        bits = scaling.transform(x, torch.Generator().manual_seed(0))
        assert set(bits.unique().tolist()) == {0.0, 1.0}
        assert bits.mean(0).tolist() == [0, pytest.approx(0.25, abs=0.015), 1]
        assert torch.equal(bits, scaling.draw(levels, torch.Generator().manual_seed(0)))
        assert not torch.equal(bits, scaling.transform(x, torch.Generator().manual_seed(1)))

    def test_nothing_is_random_without_a_generator(self) -> None:
        scaling = Binarize(1, (0, 4), resample=True)
        assert scaling.transform(torch.full((50, 1), 3.0)).unique().tolist() == [1]
        # Nor with one, unless re-sampling was asked for.
        fixed = Binarize(1, (0, 4))
        assert fixed.transform(torch.full((50, 1), 3.0), torch.Generator()).unique().tolist() == [1]

    def test_a_threshold_is_in_data_units(self) -> None:
        """Of counts up to 50, a threshold of 0.5 meant 25: half of each column's range."""
        x = torch.tensor([[0.0, 3.0], [1.0, 0.0], [50.0, 900.0]])
        scaling = Binarize(2, threshold=0.5).fit(Rows(x.numpy()))
        assert scaling.transform(x).tolist() == [[0, 1], [1, 0], [1, 1]]
        assert scaling.description == "binarized at 0.5"

    @pytest.mark.parametrize("threshold", [float("nan"), float("inf")])
    def test_illegal_thresholds(self, threshold: float) -> None:
        with pytest.raises(DataError, match="The 'threshold' parameter of Binarize must be a finite number"):
            Binarize(1, threshold=threshold)

    @pytest.mark.parametrize("threshold", [-0.1, 50, 1e9])
    def test_a_threshold_beyond_the_data_is_refused(self, threshold: float) -> None:
        with pytest.raises(DataError, match=r"must lie within the data, 0 to 50: it is in their units\. Got"):
            Binarize(1, threshold=threshold).fit(Rows(np.array([[0.0], [50.0]])))
