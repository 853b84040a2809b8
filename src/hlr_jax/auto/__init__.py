"""The ``auto`` recipe for new data: closed forms first, then models trained from them, then their blend."""
