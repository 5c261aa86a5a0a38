"""Features of videos: rows as data, families, the store, and extraction under Lightning."""
