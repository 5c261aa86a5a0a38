"""What scores are, for code that shows them."""

from typing import Protocol


class About(Protocol):
    """What the scores of a scorer, or of a file that it wrote, are.

    Attributes:
        label: what the score is: `MOS`, or the name of a synthetic score.
        scale: (lowest, highest) value of the label.
        name: what scores.
        trained_on: name of the training set.
        fingerprint: SHA-256 that differs between scorers whose scores differ.
    """

    @property
    def label(self) -> str: ...  # noqa: D102
    @property
    def scale(self) -> tuple[float, float]: ...  # noqa: D102
    @property
    def name(self) -> str: ...  # noqa: D102
    @property
    def trained_on(self) -> str: ...  # noqa: D102
    @property
    def fingerprint(self) -> str: ...  # noqa: D102
