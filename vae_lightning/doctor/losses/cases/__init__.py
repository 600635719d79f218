"""Losses whose fault, or whose innocence, is known: what the doctor is measured against."""
