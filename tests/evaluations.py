"""The numbers of a test table that nothing is wrong with: better than both controls, beyond doubt."""

from vae_lightning.inference.evaluation import Evaluation

RESULT = Evaluation(
    nelbo=8.1,
    reconstruction=6.1,
    kl=2.0,
    nll=8.0,
    nll_standard_error=0.3,
    nll_per_column=1.0,
    bits_per_column=1.44,
    active_units=3,
    latent_dim=4,
    baseline=12.0,
    entropy_floor=-20.0,
    log_var_at_bound=0.0,
    variance_at_floor=0.0,
    num_rows=100,
    num_samples=1000,
    baseline_gain_standard_error=0.2,
    control=8.5,
    control_words="factor analysis, 4 latent dimensions",
    control_gain_standard_error=0.1,
)
