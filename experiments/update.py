"""``hlr-jax update``, from a checkout."""

from hlr_jax.cli.main import main

if __name__ == "__main__":
    main("update")
