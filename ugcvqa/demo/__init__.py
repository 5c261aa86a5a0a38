"""The built-in demo set: scenes, degradations, encoded files and their labels, made without any download."""
