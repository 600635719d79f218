"""What every objective promises."""

import dataclasses
import inspect
from pathlib import Path

import pytest
import torch
import yaml

from tests.objectives.passes import LinearGaussian, random_terms, repeated
from vae_lightning.config.overrides import CONF
from vae_lightning.objectives.base import Objective, Weights

pytestmark = pytest.mark.usefixtures("one_thread")

FAMILIES = Objective.families()
OF_THE_FOLDER = {"base", "contract", "schedules", "terms"}


@pytest.fixture(params=FAMILIES)
def objective(request: pytest.FixtureRequest) -> Objective:
    return FAMILIES[request.param]()


def test_an_objective_is_one_file_one_yaml_and_one_test_file() -> None:
    files = {path.stem for path in Path(inspect.getfile(Objective)).parent.glob("*.py")} - OF_THE_FOLDER - {"__init__"}
    yamls = {path.stem: yaml.safe_load(path.read_text())["name"] for path in (CONF / "objective").glob("*.yaml")}
    tests = {path.stem.removeprefix("test_") for path in Path(__file__).parent.glob("test_*.py")} - OF_THE_FOLDER
    assert yamls == {name: name for name in FAMILIES}
    assert files == tests == set(FAMILIES)


def test_it_gives_one_bound_a_row_and_needs_densities_only_where_it_says_so(objective: Objective) -> None:
    for num_samples in (1, 5):
        terms = random_terms(num_samples, densities=objective.needs_densities)
        bound = objective(terms, Weights())
        assert bound.shape == (7,)
        assert torch.isfinite(bound).all()


def test_a_rows_bound_is_its_own(objective: Objective) -> None:
    """Doubling the batch does not move the loss."""
    terms = random_terms()
    bound = objective(terms, Weights(0.5))
    torch.testing.assert_close(objective(repeated(terms, 2), Weights(0.5)), torch.cat([bound, bound]))


def test_the_order_of_draws_and_columns_changes_nothing(objective: Objective) -> None:
    terms = random_terms()
    parts = {name: getattr(terms, name).flip(0) for name in ("log_px", "log_pz", "log_qz")}
    parts["log_px"] = parts["log_px"].flip(-1)
    turned = dataclasses.replace(terms, kl=terms.kl.flip(-1), **parts)
    torch.testing.assert_close(objective(turned, Weights()), objective(terms, Weights()))


def test_at_beta_one_it_is_a_lower_bound_of_log_p(objective: Objective) -> None:
    """Its expectation never exceeds log p(x), here known in closed form."""
    truth = LinearGaussian()
    for num_samples in (1, 5):
        mean, error = truth.means(objective(truth.passes(num_samples, 4000), Weights()))
        assert (mean < truth.log_px + 5 * error).all()


def test_rows_thousands_of_nats_away_stay_finite_with_their_gradient(objective: Objective) -> None:
    terms = random_terms(scale=1e4)
    log_px = terms.log_px.requires_grad_()
    bound = objective(terms, Weights())
    bound.sum().backward()
    assert torch.isfinite(bound).all()
    assert torch.isfinite(log_px.grad).all()
    torch.testing.assert_close(log_px.grad.sum(0), torch.ones(7, 4), msg="it is a mean or a soft maximum over draws")


def test_its_weights_are_numbers_at_every_moment(objective: Objective) -> None:
    for epoch in (0, 0.5, 10, 1e6):
        assert 0 <= objective.weights_at(epoch).beta < float("inf")


def test_no_draws_are_an_error_in_one_sentence(objective: Objective) -> None:
    with pytest.raises(ValueError, match=r"^The 'num_samples' parameter of \w+ must be at least 1\. Got 0 instead\.$"):
        type(objective)(num_samples=0)


def test_it_does_not_change_once_it_is_made(objective: Objective) -> None:
    with pytest.raises(dataclasses.FrozenInstanceError):
        objective.num_samples = 3  # type: ignore[misc]
