"""What one forward pass says: all that a bound is made of."""

from dataclasses import dataclass

from torch import Tensor

from vae_lightning.likelihoods.base import Predictive
from vae_lightning.posteriors.base import Posterior


@dataclass(frozen=True, slots=True, eq=False)
class Pass:
    """One forward pass over B rows with S draws each, in nats and model units.

    Attributes:
        posterior: q(z|x) of the rows.
        z: the draws, shape ``(S, B, L)``.
        px: p(x|z), of shape ``(S, B, C)``.
        log_px: ``log p(x|z)`` of each column, ``(S, B, C)``; 0 where a cell is masked.
        kl: KL(q(z|x) ‖ p(z)), ``(B, L)`` where it is exact, ``(B, 1)`` by Monte Carlo.
        log_pz: ``log p(z)`` of the draws, ``(S, B)``; only where a bound needs it.
        log_qz: ``log q(z|x)`` of the draws, ``(S, B)``; only where a bound needs it.
    """

    posterior: Posterior
    z: Tensor
    px: Predictive
    log_px: Tensor
    kl: Tensor
    log_pz: Tensor | None = None
    log_qz: Tensor | None = None

    @property
    def reconstruction(self) -> Tensor:
        """``-E_q[log p(x|z)]`` of each row, shape ``(B,)``."""
        return -self.log_px.sum(-1).mean(0)

    @property
    def nelbo(self) -> Tensor:
        """``reconstruction + KL`` of each row, shape ``(B,)``: the negative ELBO, β = 1."""
        return self.reconstruction + self.kl.sum(-1)
