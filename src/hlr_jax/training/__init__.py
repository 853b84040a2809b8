"""Training: from a model and a data set to parameters."""
