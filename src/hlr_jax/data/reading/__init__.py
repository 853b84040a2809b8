"""Reads files of interactions into rows of user, item, rating, timestamp and split."""
