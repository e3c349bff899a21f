"""The nearest right name to a wrong one, for messages."""

import difflib
from collections.abc import Iterable


def nearest_name(name: str, choices: Iterable[str]) -> str | None:
    """Return the choice that is most like `name`, in any case of letters; None where none is like it."""
    by_lower = {choice.lower(): choice for choice in choices}
    found = difflib.get_close_matches(name.lower(), by_lower, n=1)
    return by_lower[found[0]] if found else None


def did_you_mean(name: str, choices: Iterable[str]) -> str:
    """Return `; did you mean ...?` with the nearest choice, or nothing; to be put after a message."""
    found = nearest_name(name, choices)
    return f"; did you mean {found}?" if found else ""
