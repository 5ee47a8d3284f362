"""The error that a command reports as a sentence instead of a traceback."""


class UsageError(Exception):
    """The command line, or a file it names, is wrong. The message says how to fix it."""
