"""Complete trainings: from random parameters, from another run, or by fitting a scorer."""
