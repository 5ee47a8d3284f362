"""How a command fails with a sentence in place of a traceback."""


class UsageError(Exception):
    """The command line or a file it names is wrong; the text says what to do."""
