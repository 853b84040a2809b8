"""A trained model with its data and settings as one object, and the call that trains it."""
