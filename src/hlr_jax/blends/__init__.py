"""Blends of runs: their weights, their workdirs, and the lists that choose among weights."""
