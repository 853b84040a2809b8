"""The models: one file each, with a factory of the file's name."""
