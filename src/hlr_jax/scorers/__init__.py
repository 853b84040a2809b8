"""Scorers: recommenders that represent a user by the user's items, fitted and scored on the host."""
