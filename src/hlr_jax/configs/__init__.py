"""Settings by name: recipes, and what a config of one's own starts from (``base.base_config``)."""
