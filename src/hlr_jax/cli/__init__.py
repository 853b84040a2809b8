"""The commands of ``hlr-jax``, one a module: its docstring is the help, and ``main`` runs it.

Modules import what computes only within ``main``: flags are checked, and help is shown, before JAX is loaded.
"""
