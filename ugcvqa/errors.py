"""The errors that a user can fix. Verbs print them as one line and exit with code 2."""

from collections.abc import Iterable


def did_you_mean(word: str, known: Iterable[str]) -> str:
    """`; did you mean X?` for the nearest of the known words, empty if none is near."""
    import difflib  # takes a while, and most commands end without an error

    near = difflib.get_close_matches(word, list(known), 1, 0.6)
    return f"; did you mean {near[0]}?" if near else ""


class UgcvqaError(Exception):
    """Base of every error that is about the input, not about a bug in the package."""


class ConfigError(UgcvqaError):
    """A setting, flag or config file cannot be used as given."""


class VideoError(UgcvqaError):
    """A video file cannot be opened or decoded as a whole."""


class LabelError(UgcvqaError):
    """A label or feature table does not hold what it should."""


class WeightsError(UgcvqaError):
    """Network weights are missing, or are not the expected file."""


class StoreError(UgcvqaError):
    """The feature store holds something unreadable or cannot be written."""


class NoFeaturesError(StoreError):
    """The feature store holds no features of a kind."""


class CheckpointError(UgcvqaError):
    """A saved model is missing, damaged or from another version."""


class DeviceError(UgcvqaError):
    """A GPU has failed for good, as far as this process is concerned; another process may continue."""
