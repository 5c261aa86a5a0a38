"""Every setting that a command line or a config file can give, as plain dataclasses by owner; imports nothing heavy."""
