"""Preprocessing against scikit-learn, its own inverse, and the Jacobian by automatic differentiation."""

import numpy as np
import pytest
import torch
from sklearn.preprocessing import MinMaxScaler, StandardScaler
from torch.distributions import constraints

from vae_lightning.data.columns import Column
from vae_lightning.data.dataset import Dataset, Rows
from vae_lightning.data.preprocess.base import (
    KINDS,
    Binarize,
    Identity,
    MinMax,
    Preprocess,
    Standardize,
    build_preprocess,
)
from vae_lightning.errors import DataError

X = np.random.default_rng(0).normal(size=(9001, 4)) * [1, 1e-6, 1e6, 1] + [0, 0, 3e9, 5]
X[:, 3] = 0.1
KIND_CLASSES = [Identity, Standardize, MinMax, Binarize]


def dataset(x: np.ndarray, value_range: tuple[float, float] | None = None) -> Dataset:
    columns = tuple(Column(str(index), str(x.dtype)) for index in range(x.shape[1]))
    return Dataset("some", columns, Rows(x), Rows(x * 100), Rows(x * 100), value_range)


class TestLaws:
    @pytest.mark.parametrize("kind", [Identity, Standardize, MinMax])
    def test_inverse_undoes_transform(self, kind: type[Preprocess]) -> None:
        preprocess = kind(4).fit(X)
        x = torch.from_numpy(X)
        u = preprocess.transform(x)
        assert u.dtype == torch.float32
        back = preprocess.inverse(u)
        assert back.dtype == torch.float64
        spread = x.abs() if kind is Identity else (x - x.mean(0)).abs() + x.std(0)
        assert ((back - x).abs() <= 1e-5 * spread + 1e-9).all()

    @pytest.mark.parametrize("kind", KIND_CLASSES)
    def test_log_abs_det_is_that_of_the_inverse_map(self, kind: type[Preprocess]) -> None:
        preprocess = kind(4).fit(X)
        told = preprocess.log_abs_det()
        assert told.dtype == torch.float64
        assert told.ndim == 0
        jacobian = torch.autograd.functional.jacobian(preprocess.inverse, torch.zeros(4, dtype=torch.float64))
        truth = 0.0 if kind is Binarize else -torch.linalg.slogdet(jacobian).logabsdet
        assert told == pytest.approx(float(truth), abs=1e-9)

    @pytest.mark.parametrize("kind", KIND_CLASSES)
    def test_a_fresh_instance_loads_the_state(self, kind: type[Preprocess]) -> None:
        fitted = kind(4).fit(X)
        fresh = kind(4, **fitted.options())
        fresh.load_state_dict(fitted.state_dict())
        x = torch.from_numpy(X)
        assert torch.equal(fresh.transform(x), fitted.transform(x))
        assert all(value.dtype == torch.float64 for value in fitted.state_dict().values())

    @pytest.mark.parametrize("kind", KIND_CLASSES)
    @pytest.mark.parametrize("dtype", [np.uint8, np.uint16, np.int64, np.float32])
    def test_every_dtype(self, kind: type[Preprocess], dtype: type) -> None:
        x = np.arange(12).reshape(6, 2).astype(dtype)
        u = kind(2).fit(x).transform(torch.from_numpy(x))
        assert u.dtype == torch.float32
        assert torch.isfinite(u).all()

    @pytest.mark.parametrize("kind", KIND_CLASSES)
    @pytest.mark.parametrize("shape", [(3, 5), (0, 4), (4,)])
    def test_rows_of_another_width(self, kind: type[Preprocess], shape: tuple[int, ...]) -> None:
        with pytest.raises(DataError, match=r"\.fit must have shape \(N, 4\)"):
            kind(4).fit(np.zeros(shape))

    def test_identity_and_standardize_clip_nothing(self) -> None:
        assert Identity(4).fit(X).clipped(torch.from_numpy(X * 9)) == 0
        assert Standardize(4).fit(X).clipped(torch.from_numpy(X * 9)) == 0


class TestStandardize:
    def test_agrees_with_scikit_learn(self) -> None:
        ours = Standardize(3).fit(X[:, :3])
        theirs = StandardScaler().fit(X[:, :3])
        np.testing.assert_allclose(ours.mean, theirs.mean_, rtol=1e-12, atol=1e-15)
        np.testing.assert_allclose(ours.scale, theirs.scale_, rtol=1e-9)

    def test_a_constant_column_keeps_its_scale(self) -> None:
        preprocess = Standardize(4).fit(X)
        assert preprocess.scale[3] == 1
        assert (preprocess.transform(torch.from_numpy(X))[:, 3] == 0).all()

    def test_wide_values_do_not_overflow(self) -> None:
        x = np.array([[-1e300], [1e300], [5e299]])
        u = Standardize(1).fit(x).transform(torch.from_numpy(x)).double()
        assert u.mean() == pytest.approx(0, abs=1e-6)
        assert u.std(correction=0) == pytest.approx(1, rel=1e-6)


class TestMinMax:
    def test_agrees_with_scikit_learn(self) -> None:
        u = MinMax(4).fit(X).transform(torch.from_numpy(X))
        np.testing.assert_allclose(u[:, :3], MinMaxScaler().fit_transform(X[:, :3]), atol=1e-6)
        assert u.min() == 0
        assert u.max() == 1
        assert (u[:, 3] == 0).all()

    def test_values_beyond_the_range_are_clipped_and_counted(self) -> None:
        preprocess = MinMax(2).fit(np.array([[0.0, 10.0], [4.0, 10.0]]))
        others = torch.tensor([[-1.0, 10.0], [2.0, 11.5], [5.0, 9.0]])
        assert preprocess.clipped(others) == 4
        assert preprocess.transform(others).tolist() == [[0, 0], [0.5, 1], [1, 0]]

    def test_a_declared_range_holds_whatever_the_rows(self) -> None:
        preprocess = MinMax(1, (0, 16)).fit(np.array([[3.0], [8.0]]))
        assert preprocess.transform(torch.tensor([[0.0], [8.0], [16.0]])).flatten().tolist() == [0, 0.5, 1]
        assert preprocess.clipped(torch.tensor([[16.0], [17.0]])) == 1
        assert preprocess.options() == {"value_range": [0, 16]}

    @pytest.mark.parametrize("value_range", [(1, 1), (2, 1), (0, float("inf")), (float("nan"), 1)])
    def test_illegal_ranges(self, value_range: tuple[float, float]) -> None:
        with pytest.raises(DataError, match="The 'value_range' parameter of MinMax must be"):
            MinMax(1, value_range)


class TestBinarize:
    def test_threshold(self) -> None:
        x = torch.tensor([[0.0], [8.0], [8.1], [16.0], [20.0]])
        preprocess = Binarize(1, (0, 16))
        assert preprocess.transform(x).flatten().tolist() == [0, 0, 1, 1, 1]
        assert Binarize(1, (0, 16), threshold=0.25).transform(x).flatten().tolist() == [0, 1, 1, 1, 1]
        assert preprocess.clipped(x) == 1
        assert preprocess.inverse(torch.tensor([[0.0], [0.25], [1.0]])).flatten().tolist() == [0, 4, 16]

    def test_resampled_bits_have_their_levels_as_frequencies(self) -> None:
        preprocess = Binarize(3, (0, 4), resample=True)
        x = torch.tensor([[0.0, 1.0, 4.0]]).expand(20_000, 3)
        levels = preprocess.levels(x)
        assert levels[0].tolist() == [0, 0.25, 1]
        bits = preprocess.transform(x, torch.Generator().manual_seed(0))
        assert set(bits.unique().tolist()) == {0.0, 1.0}
        assert bits.mean(0).tolist() == [0, pytest.approx(0.25, abs=0.015), 1]
        assert torch.equal(bits, preprocess.draw(levels, torch.Generator().manual_seed(0)))
        assert not torch.equal(bits, preprocess.transform(x, torch.Generator().manual_seed(1)))

    def test_nothing_is_random_without_a_generator(self) -> None:
        preprocess = Binarize(1, (0, 4), resample=True)
        assert preprocess.transform(torch.full((50, 1), 3.0)).unique().tolist() == [1]
        # Nor with one, unless re-sampling was asked for.
        fixed = Binarize(1, (0, 4))
        assert fixed.transform(torch.full((50, 1), 3.0), torch.Generator()).unique().tolist() == [1]

    @pytest.mark.parametrize("threshold", [-0.1, 1, float("nan")])
    def test_illegal_thresholds(self, threshold: float) -> None:
        with pytest.raises(DataError, match="The 'threshold' parameter of Binarize must be at least 0 and below 1"):
            Binarize(1, threshold=threshold)


UNIT = np.array([[0.0, 0.5], [1.0, 0.2]])
BITS = np.array([[0, 1], [1, 1]], dtype=np.uint8)
WIDE = np.array([[-3.1, 0.5], [4.2, 0.2]])


class TestChoice:
    @pytest.mark.parametrize(
        ("support", "discrete", "x", "value_range", "kind", "words"),
        [
            (constraints.real, False, WIDE, None, "standardize", "all real numbers"),
            (constraints.real_vector, False, WIDE, None, "standardize", "all real numbers"),
            (constraints.real, False, BITS, (0, 1), "standardize", "all real numbers"),
            (constraints.unit_interval, True, UNIT, None, "none", "lie in [0, 1] already"),
            (constraints.boolean, True, BITS, None, "none", "lie in [0, 1] already"),
            (constraints.independent(constraints.boolean, 1), True, BITS, None, "none", "already"),
            (constraints.unit_interval, True, WIDE, (-5, 5), "minmax", "grey levels from -5 to 5"),
            (constraints.boolean, True, WIDE, (-5, 5), "minmax", "grey levels"),
            (constraints.unit_interval, False, WIDE, None, "minmax", "takes values in [0, 1]"),
            (constraints.unit_interval, True, WIDE, None, "none", "never binarised or squeezed"),
            (constraints.boolean, True, WIDE, None, "none", "never binarised"),
            (constraints.nonnegative_integer, True, WIDE, None, "none", "as it is"),
            (constraints.positive, False, WIDE, None, "none", "as it is"),
            (constraints.interval(-1.0, 1.0), False, WIDE, None, "none", "as it is"),
        ],
    )
    def test_by_support(
        self,
        support: constraints.Constraint,
        discrete: bool,
        x: np.ndarray,
        value_range: tuple[float, float] | None,
        kind: str,
        words: str,
    ) -> None:
        data = dataset(x, value_range)
        preprocess, reason = build_preprocess(None, num_columns=2, support=support, discrete=discrete, data=data)
        assert preprocess.kind == kind
        assert words in reason
        assert reason.startswith("as ")

    @pytest.mark.parametrize("kind", KINDS)
    def test_as_asked_for_and_fitted_on_the_training_rows(self, kind: str) -> None:
        data = dataset(WIDE)
        preprocess, reason = build_preprocess(
            kind, num_columns=2, support=constraints.real, discrete=False, data=data, threshold=0.3, resample=True
        )
        assert preprocess.kind == kind
        assert reason == "as asked for"
        if isinstance(preprocess, Standardize):
            np.testing.assert_allclose(preprocess.mean, WIDE.mean(0))
        if isinstance(preprocess, MinMax):
            np.testing.assert_allclose(preprocess.low, WIDE.min(0))
        if isinstance(preprocess, Binarize):
            assert preprocess.options() == {"value_range": None, "threshold": 0.3, "resample": True}

    def test_unknown_kind(self) -> None:
        with pytest.raises(DataError, match=r"Got 'standardise' instead\. Did you mean 'standardize'\?"):
            build_preprocess("standardise", num_columns=2, support=constraints.real, discrete=False, data=dataset(WIDE))
