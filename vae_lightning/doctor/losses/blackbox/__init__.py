"""Somebody else's function as a black box: arrays in, a float64 array out, within a time limit."""
