"""What stops a training run that the user can mend."""


class TrainingError(Exception):
    """A run can not begin or go on; the message says what to do."""
