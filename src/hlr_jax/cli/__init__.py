"""The commands of ``hlr-jax``, one per module: the docstring is the help, and ``main`` runs the command.

Modules import JAX only within ``main``, so that checking flags and showing help does not load it.
"""
