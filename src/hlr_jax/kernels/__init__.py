"""Pure mathematical functions of one pair."""
