"""The report of a run of scores: one HTML page or one picture."""
