"""The models: one module per model, with a factory of the same name."""
