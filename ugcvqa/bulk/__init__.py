"""Scoring of many videos: lists, worker processes, shards, resumable outputs, printed rows."""
