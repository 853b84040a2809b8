"""Sweeps: many settings trained on one data set and compared by a validation metric."""
