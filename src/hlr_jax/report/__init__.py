"""A page about trained runs: ``page`` reads the runs and writes it, the other modules draw a section or two each."""
