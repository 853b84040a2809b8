"""The best K items of every user among all that they have not seen."""
