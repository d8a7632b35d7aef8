"""From run folders to numbers: tidy tables, statistics, normalised scores, verdicts."""
