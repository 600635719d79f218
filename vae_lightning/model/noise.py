"""Standard normal draws, the argument of a forward pass."""

import torch
from torch import Tensor
from torch.quasirandom import SobolEngine


def normal_noise(num_draws: int, num_rows: int, num_dims: int, like: Tensor) -> Tensor:
    """Standard normal draws (S, B, N) from torch's global random stream, in device and dtype of ``like``."""
    return torch.randn(num_draws, num_rows, num_dims, device=like.device, dtype=like.dtype)


def even_normals(num_draws: int, num_dims: int, seed: int = 0) -> Tensor:
    """Standard normal draws that fill the space evenly: scrambled Sobol points through the normal quantile.

    Their mean of a smooth function lies much closer to the expectation than that of as many random draws; scrambling
    makes each of them a normal draw, so the mean is unbiased (Owen 1997).

    Returns:
        Shape ``(num_draws, num_dims)``, float64.
    """
    points = SobolEngine(num_dims, scramble=True, seed=seed).draw(num_draws, dtype=torch.float64)
    return torch.special.ndtri(points.clamp(1e-10, 1 - 1e-10))
