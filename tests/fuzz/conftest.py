"""What the fuzzed runs and commands share."""

from collections.abc import Callable

import numpy as np
import pandas as pd
import pytest

from tests.conftest import Run


@pytest.fixture(scope="session")
def small_run(train: Callable[..., Run], tmp_path_factory: pytest.TempPathFactory) -> Run:
    """A finished run on a table of three columns, with the rows beside it. Read only."""
    folder = tmp_path_factory.mktemp("small")
    rows = np.random.default_rng(0).normal(size=(40, 3)).round(3)
    pd.DataFrame(rows, columns=["a", "b", "c"]).to_csv(folder / "rows.csv", index=False)
    words = ["data=table", f"data.path={folder / 'rows.csv'}", "trainer.max_epochs=1", "data.batch_size=16"]
    return train(folder / "run", *words)
