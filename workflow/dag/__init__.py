"""What a budget makes from what, what of it is up to date, and digests of all of it."""
