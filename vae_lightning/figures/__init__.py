"""Pictures of a trained model: what to look at before believing a loss. Drawing only: no Lightning, no files."""
