"""Ranks all items for every user and measures the lists."""
