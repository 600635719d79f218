"""A learned mixture of Gaussians as prior."""

import torch
from torch import Tensor, nn
from torch.distributions import Categorical, Independent, MixtureSameFamily, Normal

from vae_lightning.errors import check_parameter
from vae_lightning.likelihoods.bounds import smooth_bound
from vae_lightning.priors.base import Prior

LOG_VAR_BOUND = 10.0
SPREAD = 0.1


class Mixture(Prior):
    """``p(z) = Σ_k π_k N(z; m_k, diag s_k²)``, weights, means and variances learned with the networks.

    Its KL to a posterior has no closed form and is estimated from the draws of z. It starts close to N(0, I), its means
    apart by a tenth of a standard deviation, so that the components can part.

    Args:
        latent_dim: latent dimensions L.
        num_components: Gaussians K.

    Raises:
        ConfigError: when ``latent_dim`` or ``num_components`` is below 1.
    """

    def __init__(self, latent_dim: int, num_components: int = 10) -> None:
        super().__init__(latent_dim)
        check_parameter("Mixture", "num_components", num_components >= 1, "at least 1", num_components)
        self.num_components = num_components
        self.logits = nn.Parameter(torch.zeros(num_components))
        self.means = nn.Parameter(SPREAD * torch.randn(num_components, latent_dim))
        self.raw_log_vars = nn.Parameter(torch.zeros(num_components, latent_dim))

    def distribution(self, temperature: float = 1.0) -> MixtureSameFamily:
        """The mixture as a torch distribution over latent points, every standard deviation times ``temperature``."""
        stddev = temperature * torch.exp(0.5 * smooth_bound(self.raw_log_vars, LOG_VAR_BOUND))
        components = Independent(Normal(self.means, stddev, validate_args=False), 1, validate_args=False)
        weights = Categorical(logits=self.logits, validate_args=False)
        return MixtureSameFamily(weights, components, validate_args=False)

    def log_prob(self, z: Tensor) -> Tensor:
        return self.distribution().log_prob(z)

    @torch.no_grad()
    def sample(self, num_rows: int, temperature: float = 1.0) -> Tensor:
        # A mixture of standard deviation 0 is still one: its draws are the means.
        return self.distribution(max(temperature, 1e-12)).sample((num_rows,))
