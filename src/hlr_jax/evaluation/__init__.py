"""Full ranking, and how good it is."""
