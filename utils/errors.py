"""The one exception for a mistake that the user can mend."""


class UserError(ValueError):
    """Something the user gave cannot be used.

    The message is one line that says what was given, what is allowed and what to do next. Scripts print it
    after ``error:`` and exit with status 2; anything else that is raised is a fault of ours and keeps its
    traceback.
    """
