"""Sweeps: sweepers that resume, a search on Optuna, and the one table that they end in."""
