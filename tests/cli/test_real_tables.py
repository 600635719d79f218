"""Round trips of public tables through the commands, and how well draws match them."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from click.testing import CliRunner

from vae_lightning import load
from vae_lightning.cli.main import main

SharedData = Callable[[str], dict[str, np.ndarray]]
NAMES = {
    "hivae_wine.npz": "fixed volatile citric sugar chlorides free total density ph sulphates alcohol quality colour",
    "hivae_adult.npz": "age work weight education marital occupation relation race sex gain loss hours",
}


@pytest.mark.parametrize("ending", ["csv", "parquet"])
@pytest.mark.parametrize("archive", NAMES)
def test_whole_numbers_fractions_and_texts_come_back_as_they_went_in(
    train: Callable[..., Any], shared_data: SharedData, archive: str, ending: str, tmp_path: Path
) -> None:
    x = shared_data(archive)["x"]
    x = x[np.isfinite(x).all(axis=1)][:500]
    frame = pd.DataFrame(x, columns=NAMES[archive].split())
    whole = [name for name in frame.columns if (frame[name] % 1 == 0).all()]
    assert 0 < len(whole) < len(frame.columns) or archive == "hivae_adult.npz"
    frame = frame.astype(dict.fromkeys(whole, np.int64))
    frame.insert(3, "label", np.where(x[:, 0] > np.median(x[:, 0]), "high", "low, or so"))
    write, read = (getattr(frame, f"to_{ending}"), getattr(pd, f"read_{ending}"))
    write(tmp_path / f"rows.{ending}", index=False)
    words = [f"data.path={tmp_path / f'rows.{ending}'}", "data.label=label", "trainer.max_epochs=2"]
    run = train(tmp_path / "run", "data=table", *words).run_dir

    again = _through(["reconstruct", run, tmp_path / f"rows.{ending}", "-o", tmp_path / f"again.{ending}"], read)
    assert again.columns.tolist() == frame.columns.tolist()
    assert again.dtypes.to_dict() == read(tmp_path / f"rows.{ending}").dtypes.to_dict()
    assert again["label"].tolist() == frame["label"].tolist()

    new = _through(["sample", run, "-n", 500, "-o", tmp_path / f"new.{ending}"], read)
    assert new.dtypes.to_dict() == frame.drop(columns="label").dtypes.to_dict()

    for command in ("encode", "score"):
        out = _through([command, run, tmp_path / f"rows.{ending}", "-o", tmp_path / f"out.{ending}"], read)
        assert out["label"].tolist() == frame["label"].tolist()


def _through(words: list[object], read: Callable[[object], pd.DataFrame]) -> pd.DataFrame:
    result = CliRunner().invoke(main, [str(word) for word in words])
    assert result.exit_code == 0, result.output
    return read(words[-1])


def test_draws_have_the_means_and_spreads_of_the_table(
    train: Callable[..., Any], shared_data: SharedData, tmp_path: Path
) -> None:
    """Within a tenth in every one of 76 columns; means of p(x|z) in place of draws would fall far short."""
    x = shared_data("mfeat.npz")["fourier"]
    np.savez(tmp_path / "fourier.npz", x=x)
    words = [
        "model.latent_dim=8",
        "model.hidden_dims=[64]",
        "model.activation=tanh",
        "optimizer.lr=",
        "data.batch_size=",
    ]
    run = train(
        tmp_path / "run", "data=table", f"data.path={tmp_path / 'fourier.npz'}", "trainer.max_epochs=60", *words
    )
    model = load(run.run_dir)
    draws, means = (model.sample(20_000, seed=0, mean=mean).to_numpy() for mean in (False, True))
    np.testing.assert_allclose(draws.mean(0), x.mean(0), rtol=0.1)
    np.testing.assert_allclose(draws.std(0), x.std(0), rtol=0.1)
    assert (means.std(0) < 0.9 * x.std(0)).mean() > 0.9
