"""Scorers: recommenders that know a user by what they have met, fitted and scored on the host."""
