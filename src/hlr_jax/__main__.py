"""``python -m hlr_jax``: the same as ``hlr-jax``."""

from hlr_jax.cli.main import main

if __name__ == "__main__":
    main()
