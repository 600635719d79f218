"""Every family in every mode."""

import pytest
import torch

from tests.likelihoods.families import FAMILIES, MODES, C, Make
from vae_lightning.likelihoods.base import Likelihood


@pytest.fixture(params=MODES)
def make(request: pytest.FixtureRequest) -> Make:
    name, mode = request.param

    def build(num_columns: int = C, dtype: torch.dtype = torch.float32) -> Likelihood:
        return FAMILIES[name](num_columns, **mode).to(dtype)

    return build
