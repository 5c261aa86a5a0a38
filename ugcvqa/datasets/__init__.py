"""Labels and files of data sets: feature tables joined by id, label files as distributed, what is missing."""
