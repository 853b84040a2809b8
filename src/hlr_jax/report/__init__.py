"""A page about trained runs: ``page`` reads the runs and writes it; each other module renders a section or two."""
