"""One answer for data that nobody has tuned for: closed forms first, refinements after, and their blend."""
