"""Exceptions for user errors."""


class UserError(Exception):
    """Something that was typed or given is wrong: one sentence that names it, its value, and what is allowed.

    The scripts print the sentence alone; every other exception is a fault of the program and keeps its traceback.
    """


class Refusal(BaseException):
    """Carries an error out of Hydra, which lets no Exception pass: it turns those of callbacks into warnings and
    prints a line of its own about those of jobs. `makemore.cli.main` takes the error out again.
    """

    def __init__(self, error: Exception) -> None:
        super().__init__(str(error))
        self.error = error


class UnknownKeyError(UserError):
    """A configuration key, dotted, that does not exist."""

    def __init__(self, key: str) -> None:
        super().__init__(f"{key} is not a key")
        self.key = key
