"""The protocol: splits, the four metrics, tests between rows, and published figures."""
