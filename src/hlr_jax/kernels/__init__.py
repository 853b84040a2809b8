"""Pure maths of one pair."""
