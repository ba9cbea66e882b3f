"""Faults on the links of a target: what breaks, when, and that it is undone."""
