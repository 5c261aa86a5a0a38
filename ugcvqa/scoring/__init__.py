"""Scores of video files: the saved model, UVQ, and known answers of both."""
