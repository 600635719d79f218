"""Shapes, trends and distances against SDMetrics, where that package is installed."""

import warnings

import numpy as np
import pandas as pd
import pytest

from tests.comparison.test_compare import related
from vae_lightning.comparison.privacy import closest_distances, column_ranges
from vae_lightning.comparison.shapes import column_shapes
from vae_lightning.comparison.tables import Coded, code_tables
from vae_lightning.comparison.trends import choose_pairs, pair_trends

with warnings.catch_warnings():
    warnings.simplefilter("ignore")
    sdmetrics = pytest.importorskip("sdmetrics", reason="needs the package sdmetrics (pip install sdmetrics)")
    from sdmetrics.column_pairs import ContingencySimilarity, CorrelationSimilarity
    from sdmetrics.single_column import KSComplement, TVComplement
    from sdmetrics.single_table.privacy.dcr_utils import calculate_dcr

pytestmark = pytest.mark.filterwarnings("ignore")


@pytest.fixture(params=[False, True], ids=["whole", "holes"])
def frames(request: pytest.FixtureRequest) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Two tables that differ in everything."""
    real, other = related(400, 0), related(300, 1)
    other["size"], other["weight"] = 1.3 * other["size"] + 0.2, -other["weight"]
    other.loc[::7, "city"] = "Lima"
    if not request.param:
        real, other = (frame.fillna({"city": "none", "weight": 0.25}) for frame in (real, other))
    return real, other


def coded(frames: tuple[pd.DataFrame, pd.DataFrame]) -> list[Coded]:
    return code_tables({"real rows": frames[0], "others": frames[1]})


def as_floats(frame: pd.DataFrame) -> pd.DataFrame:
    """Dates as days: the metrics of pairs want numbers."""
    (table,) = code_tables({"rows": frame})
    return frame.assign(**{name: table.column(name) for name in table.kinds.numbers})


def test_shapes(frames: tuple[pd.DataFrame, pd.DataFrame]) -> None:
    """SDMetrics leaves empty cells out; as a value of their own they are the same formula."""
    real, other = frames
    found = column_shapes(*coded(frames))
    for name in ("size", "weight", "visits", "born"):
        filled = [as_floats(frame)[name].fillna(1e9) for frame in (real, other)]
        assert found[name] == pytest.approx(KSComplement.compute(*filled), abs=1e-12)
    for name in ("city", "member"):
        filled = [frame[name].where(frame[name].notna(), "empty") for frame in (real, other)]
        # They give a category that the real rows lack a millionth of a row.
        assert found[name] == pytest.approx(TVComplement.compute(*filled), abs=1e-8)


def test_trends(frames: tuple[pd.DataFrame, pd.DataFrame]) -> None:
    tables = coded(frames)
    kinds = tables[0].kinds
    pairs = choose_pairs(kinds, 100, np.random.default_rng(0))
    found = pair_trends(*tables, pairs)
    assert len(found) == len(pairs) == 15
    for pair in pairs:
        real, other = (as_floats(frame)[list(pair)] for frame in frames)
        numbers = [name for name in pair if kinds.is_number(name)]
        if len(numbers) == 2:
            theirs = CorrelationSimilarity.compute(real, other)
        else:
            theirs = ContingencySimilarity.compute(real.copy(), other.copy(), continuous_column_names=numbers)
        assert found[pair] == pytest.approx(theirs, abs=1e-12), pair


def test_distances(frames: tuple[pd.DataFrame, pd.DataFrame]) -> None:
    train, rows = (as_floats(frame) for frame in frames)
    train_table, table = coded((train, rows))
    kinds = {"city": "categorical", "member": "boolean"}
    metadata = {"columns": {name: {"sdtype": kinds.get(name, "numerical")} for name in train.columns}}
    theirs = calculate_dcr(dataset=rows, reference_dataset=train, metadata=metadata)
    ours = closest_distances(table, train_table, column_ranges(train_table))
    np.testing.assert_allclose(ours, theirs, atol=1e-12)
