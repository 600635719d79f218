"""The reconstruction: its layout, family, sign and factor, and whether it is a likelihood at all."""
