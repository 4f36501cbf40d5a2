"""What ends a command of data_prep: one line that says what was given, what was expected, and what to do."""


class PrepError(ValueError):
    """The command cannot do its work; the message is the whole story."""
