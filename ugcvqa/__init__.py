"""No-reference quality assessment of user-generated video."""

__version__ = "0.1.0"
