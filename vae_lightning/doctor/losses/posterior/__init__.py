"""The sampler and the KL: which σ(s) each of them uses, and whether the two agree."""
