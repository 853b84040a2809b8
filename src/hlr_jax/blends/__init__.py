"""Blends of runs: their weights, their workdirs, and the lists that weights are selected by."""
