"""The error that ends a command of data_prep. It is reported in one line."""


class PrepError(ValueError):
    """A command cannot do its work.

    The message says what was given, what was expected, and what to do.
    """
