"""Reads or generates interactions, prepares data sets, and samples negatives and neighbors."""
