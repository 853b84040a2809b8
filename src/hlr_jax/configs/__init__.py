"""Settings by name: recipes, and the base of your own configs (``base.base_config``)."""
