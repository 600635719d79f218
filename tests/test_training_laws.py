"""The laws of training and of randomness (docs/design.md), and those of masked cells and weighted rows."""

import ast
import logging
import math
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
from lightning.pytorch import Trainer
from torch import Tensor

import vae_lightning
from tests.models import every_likelihood, randomise, rows_for, small_vae
from vae_lightning.console import quiet_frameworks
from vae_lightning.controls.base import Control
from vae_lightning.controls.choice import fit_control
from vae_lightning.data.batch import Batch
from vae_lightning.data.loader import BatchLoader
from vae_lightning.data.seeds import generator, random_stream, stream_seed
from vae_lightning.data.store import RowsInMemory
from vae_lightning.inference import importance
from vae_lightning.inference.evaluation import evaluate
from vae_lightning.inference.metrics import ELBOMeter
from vae_lightning.inference.scoring import noise as scoring_noise
from vae_lightning.inference.scoring import scores
from vae_lightning.likelihoods.base import Likelihood
from vae_lightning.likelihoods.gaussian import Gaussian
from vae_lightning.model.vae import VAE
from vae_lightning.objectives.base import Weights
from vae_lightning.objectives.elbo import ELBO, elbo
from vae_lightning.objectives.iwae import IWAE
from vae_lightning.training.callbacks.early_stopping import EarlyStopping
from vae_lightning.training.callbacks.guard import LossGuard
from vae_lightning.training.module import VAEModule
from vae_lightning.training.step import loss_and_statistics

pytestmark = pytest.mark.usefixtures("one_thread")

PACKAGE = Path(vae_lightning.__file__).parent
SOURCES = sorted(path for path in PACKAGE.rglob("*.py") if "doctor" not in path.parts)


# Law 7: training, validation and test compute the same function; only noise and weights differ.


def test_a_training_step_and_an_evaluation_give_the_same_terms_for_the_same_noise() -> None:
    for name, likelihood in every_likelihood():
        vae = randomise(small_vae(likelihood), 0.3)
        batch = Batch(rows_for(likelihood, 30), torch.rand(30, 6) < 0.8, weight=torch.rand(30))
        noise = vae.noise(5, 30)
        step = loss_and_statistics(vae.train(), ELBO(), batch, noise, Weights())[1]
        meter = ELBOMeter(vae)
        meter.update(vae.eval()(batch, noise), batch, torch.zeros(()))
        found = meter.compute()
        measured = torch.stack([found["nelbo"], found["reconstruction"], found["kl"]])
        torch.testing.assert_close(
            step.terms.double(), measured, rtol=1e-5, atol=1e-5, msg=lambda t, n=name: f"{n}: {t}"
        )
        assert found["nelbo"].item() == pytest.approx((found["reconstruction"] + found["kl"]).item(), rel=1e-12)


def test_validation_and_test_are_one_function_of_the_rows() -> None:
    module = VAEModule(randomise(small_vae(Gaussian(6)), 0.3), seed=3)
    loader = BatchLoader(RowsInMemory(Batch(torch.randn(30, 6))), batch_size=30)
    with quiet_frameworks():
        trainer = Trainer(accelerator="cpu", logger=False, enable_progress_bar=False, enable_model_summary=False)
        (valid,), (test,) = (f(module, loader, verbose=False) for f in (trainer.validate, trainer.test))
    assert {f"test/{name.removeprefix('val/')}": value for name, value in valid.items()} == test
    with random_stream(3):
        terms = module.vae(next(iter(loader)), module.vae.noise(1, 30))
    assert valid["val/nelbo"] == pytest.approx(terms.nelbo.mean().item(), rel=1e-6)


# Law 8: NELBO at β = 1 is what is looked at, whatever trains.


def test_nelbo_is_reconstruction_plus_kl_whatever_the_weights() -> None:
    for name, likelihood in every_likelihood():
        vae = randomise(small_vae(likelihood), 0.3)
        batch, noise = Batch(rows_for(likelihood, 30)), vae.noise(5, 30)
        terms = vae(batch, noise)
        torch.testing.assert_close(-elbo(terms), terms.reconstruction + terms.kl.sum(-1), rtol=1e-6, atol=1e-5)
        torch.testing.assert_close(terms.nelbo, -elbo(terms), rtol=1e-6, atol=1e-5)
        for objective, beta in ((ELBO(), 4.0), (IWAE(), 1.0)):
            loss, step = loss_and_statistics(vae, objective, batch, noise, Weights(beta))
            _, reconstruction, kl = step.terms
            assert (reconstruction + kl).item() == pytest.approx(terms.nelbo.mean().item(), rel=1e-5), name
            assert step.terms[0] == loss.detach()
            assert abs(loss.item() - terms.nelbo.mean().item()) > 1e-3, "the loss is not what is monitored"


def test_nothing_stops_early_while_beta_is_warming_up() -> None:
    """At a rate of 0 nothing improves on the start: a run lasts its patience, after its warm-up where it has one."""
    for objective, epochs in (
        (ELBO(), 2),
        (ELBO(warmup="linear", warmup_epochs=5), 5 + 2),
        (ELBO(warmup="cosine", warmup_epochs=4.5), 5 + 2),
        (ELBO(warmup="cyclical", warmup_epochs=3), 3 + 2),
        (IWAE(), 2),
    ):
        module = VAEModule(small_vae(Gaussian(6)), objective, lambda p: torch.optim.SGD(p, lr=0.0))
        loader = BatchLoader(RowsInMemory(Batch(torch.randn(8, 6))), batch_size=8)
        with quiet_frameworks():
            trainer = Trainer(
                max_epochs=20,
                accelerator="cpu",
                logger=False,
                enable_checkpointing=False,
                enable_progress_bar=False,
                enable_model_summary=False,
                callbacks=[EarlyStopping("val/nelbo", patience=2, check_on_train_epoch_end=True)],
            )
            trainer.fit(module, loader, loader)
        assert trainer.current_epoch == epochs, objective


# Law 9: what a run says of itself is true of the weights that it keeps.


def warnings_after(*epochs: tuple[float, int], caplog: pytest.LogCaptureFixture) -> tuple[list[str], list[str]]:
    """Of a guard that has seen epochs of some NELBO and some active units: what it holds, and what it logged last."""
    guard, module = LossGuard(patience=3), VAEModule(small_vae(Gaussian(6)))
    rest = {"val/reconstruction": 4.0, "val/kl": 0.5, "val/variance_at_floor": 0.0}
    module.meter.rows.fill_(30)  # of a single row nothing could vary
    for epoch, (nelbo, active) in enumerate(epochs):
        values = {"val/nelbo": nelbo, "val/active_units": active, **rest}
        trainer = SimpleNamespace(
            sanity_checking=False, callback_metrics=values, current_epoch=epoch, max_epochs=99, datamodule=None
        )
        guard.on_validation_end(trainer, module)
    caplog.clear()
    guard.on_train_end(trainer, module)
    return [notice.message for notice in guard.warnings], caplog.messages


def test_a_warning_is_withdrawn_where_it_does_not_hold_of_the_best_epoch(
    caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    caplog.set_level("INFO", "vae_lightning")
    monkeypatch.setattr(logging.getLogger("vae_lightning"), "disabled", False)  # as Hydra leaves it
    collapsed, active = (5.0, 0), (4.0, 2)
    for epochs in ([collapsed] * 5 + [active], [active] + [collapsed] * 5):
        held, logged = warnings_after(*epochs, caplog=caplog)
        assert held == []
        assert len(logged) == 1
        assert logged[0].startswith("Withdrawn, as it does not hold of the best epoch: Posterior collapse")
    held, logged = warnings_after(*[collapsed] * 5, (6.0, 2), caplog=caplog)
    assert len(held) == 1
    assert held[0].startswith("Posterior collapse: none of the 3")
    assert logged == []


# Law 10: one derivation of seeds.


def test_seeds_are_derived_in_one_place_alone() -> None:
    """Sources are left out: the seed of a made-up data set is part of what the data are."""
    offenders = []
    for path in SOURCES:
        if path.relative_to(PACKAGE).as_posix() == "data/seeds.py" or "sources" in path.parts:
            continue
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.BinOp) and isinstance(node.op, ast.Add | ast.Mult | ast.BitXor):
                mixed = any(_name(part).endswith("seed") for part in (node.left, node.right))
            else:
                mixed = isinstance(node, ast.Call) and _name(node.func) in ("SeedSequence", "hash")
            if mixed:
                offenders.append(f"{path}:{node.lineno}")
    assert not offenders


def _name(node: ast.expr) -> str:
    return str(getattr(node, "id", getattr(node, "attr", "")))


def test_seeds_of_any_two_purposes_have_nothing_in_common() -> None:
    seeds = [stream_seed(seed, *purpose) for seed in range(20) for purpose in PURPOSES]
    assert len(set(seeds)) == len(seeds)
    assert all(0 <= seed < 2**63 for seed in seeds)
    assert seeds == [stream_seed(seed, *purpose) for seed in range(20) for purpose in PURPOSES]
    draws = torch.stack([torch.randn(200, generator=generator("cpu", s, *p)) for s in range(8) for p in PURPOSES])
    likeness = torch.corrcoef(draws).fill_diagonal_(0).abs()
    assert likeness.max() < 6 / math.sqrt(200)


PURPOSES = [(), ("order",), ("noise",), *((word, epoch) for word in ("order", "noise", "draw") for epoch in range(4))]


# Masks and weights.


def test_a_masked_cell_changes_nothing_whatever_stands_in_it() -> None:
    offenders = []
    for name, likelihood in every_likelihood():
        for sees_mask in (False, True):
            x, mask = rows_for(likelihood, 20), torch.rand(20, 6) < 0.7
            mask[0], mask[:, 0] = False, False  # a row and a column of which nothing is known
            results = []
            for junk in (0.0, -7.5, 1e30, torch.nan):
                torch.manual_seed(1)
                results.append(everything(likelihood, Batch(torch.where(mask, x, junk), mask), sees_mask))
            for part, value in results[0].items():
                same = all(torch.equal(value, other[part]) for other in results[1:])
                if not same or not value.isfinite().all():
                    offenders.append(f"{name}, sees_mask={sees_mask}: {part}")
    assert not offenders


def everything(likelihood: Likelihood, batch: Batch, sees_mask: bool) -> dict[str, Tensor]:
    """All that is computed from a batch: statistics of columns, losses and gradients, measurements, scores."""
    vae = randomise(small_vae(likelihood, sees_mask=sees_mask), 0.3)
    rows = RowsInMemory(batch)
    vae.start_from(rows)
    for parameter in vae.parameters():
        parameter.grad = None
    noise = vae.noise(3, batch.num_rows)
    loss, step = loss_and_statistics(vae, ELBO(), batch, noise, Weights())
    loss.backward()
    bound, _ = loss_and_statistics(vae, IWAE(), batch, noise, Weights())
    meter = ELBOMeter(vae)
    terms = vae(batch, noise)
    meter.update(terms, batch, likelihood.at_floor(terms.px))
    found = {f"meter {name}": value for name, value in meter.compute().items()}
    found |= {f"scores {i}": part for i, part in enumerate(scores(vae, batch, scoring_noise(vae, 8)))}
    found |= {f"importance {i}": part for i, part in enumerate(importance.log_prob(vae, batch, 10))}
    result = evaluate(vae, [batch], rows, 10, control=fit_control(likelihood, rows, None, 2)).as_dict()
    # Rows of noise: whether there is a way from the baseline to the control at all is for chance to say.
    del result["control_words"], result["explained"]
    found |= {f"evaluation {name}": torch.tensor(value) for name, value in result.items()}
    found |= {f"gradient of {name}": p.grad for name, p in vae.named_parameters() if p.grad is not None}
    found |= {f"state {name}": value for name, value in vae.state_dict().items()}
    found |= {"loss": loss.detach(), "importance-weighted loss": bound.detach(), "terms": step.terms}
    if step.fitted is not None:
        found["fitted"] = step.fitted
    return found


def test_a_weight_of_two_is_the_row_twice_and_one_of_zero_is_no_row() -> None:
    offenders = []
    for name, likelihood in every_likelihood():
        x, noise, weight = rows_for(likelihood, 30), torch.randn(4, 30, 3), torch.ones(30)
        weight[:3], weight[20:] = 2, 0
        order = torch.cat([torch.arange(20), torch.arange(3)])
        vae = randomise(small_vae(likelihood), 0.3)
        weighted, plain = Batch(x, weight=weight), Batch(x[order])
        first, second = measured(vae, weighted, noise), measured(vae, plain, noise[:, order])
        # The last: it sets the likelihood's own parameters.
        first, second = first | fitted(likelihood, weighted), second | fitted(likelihood, plain)
        offenders += [
            f"{name}: {part}"
            for part, value in first.items()
            if not torch.allclose(value, second[part], rtol=1e-5, atol=1e-5)
        ]
    assert not offenders


def test_weights_need_not_have_the_precision_of_the_model() -> None:
    for name, likelihood in every_likelihood():
        vae, x, noise = randomise(small_vae(likelihood), 0.3), rows_for(likelihood, 10), torch.randn(2, 10, 3)
        batch = Batch(x, torch.rand(10, 6) < 0.7, weight=torch.rand(10))
        single = measured(vae, batch, noise)
        double = measured(vae.double(), batch.cast(vae.output.weight.double()), noise.double())
        for part, value in single.items():
            assert torch.allclose(value.double(), double[part].double(), rtol=1e-4, atol=1e-4), f"{name}: {part}"


def test_the_numbers_of_an_evaluation_count_rows_by_their_weights() -> None:
    """A decoder that ignores z: the draws change nothing, so that only the rows do."""
    offenders = []
    for name, likelihood in every_likelihood():
        x, weight = rows_for(likelihood, 30), torch.ones(30)
        weight[:3], weight[20:] = 2, 0
        vae = small_vae(likelihood).eval()
        vae.heads.weight.data.zero_()
        weighted, plain = Batch(x, weight=weight), Batch(torch.cat([x[:20], x[:3]]))
        control = fit_control(likelihood, RowsInMemory(plain), None, 2)
        first, second = (evaluated(vae, b, b, control) for b in (weighted, plain))
        for part in first.keys() - {"num_rows", *ERRORS}:
            if first[part] != pytest.approx(second[part], rel=1e-6, abs=1e-6, nan_ok=True):
                offenders.append(f"{name}: {part}")
        # Nor does the scale of the weights matter, nor a row that counts for nothing, to the error.
        less = Batch(x[:20], weight=weight[:20] / 1000)
        without = evaluated(vae, less, weighted, control)
        for part in first.keys() - {"num_rows"}:
            if first[part] != pytest.approx(without[part], rel=1e-6, abs=1e-6, nan_ok=True):
                offenders.append(f"{name}: {part} without them")
    assert not offenders


ERRORS = (
    "nll_standard_error",
    "baseline_gain_standard_error",
    "control_gain_standard_error",
    "extreme_share",
    "explained",  # where the control is better beyond doubt
)
"""What a row of weight two and the same row twice do not agree on: two rows say more than one."""


def evaluated(vae: VAE, batch: Batch, train: Batch, control: Control) -> dict[str, float]:
    numbers = evaluate(vae, batch.split(8), RowsInMemory(train), 5, control=control).as_dict()
    return {name: value for name, value in numbers.items() if name != "control_words"}


def measured(vae: VAE, batch: Batch, noise: Tensor) -> dict[str, Tensor]:
    meter, terms = ELBOMeter(vae), vae(batch, noise)
    meter.update(terms, batch, torch.zeros(()))
    loss, step = loss_and_statistics(vae, IWAE(), batch, noise, Weights())
    found = {"loss": loss.detach(), "terms": step.terms, **meter.compute()}
    return found if step.fitted is None else {**found, "fitted": step.fitted.float()}


def fitted(likelihood: Likelihood, batch: Batch) -> dict[str, Tensor]:
    rows = RowsInMemory(batch)
    p = likelihood.independent_columns(rows)
    return {"start": likelihood.start_from(rows), "mean": p.mean, "stddev": p.stddev}
