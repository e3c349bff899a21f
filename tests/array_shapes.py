"""Checks array types with shapes at every call, and nothing else: test doubles of other types stay possible."""

import functools
import inspect
from types import NoneType, UnionType
from typing import Union, get_args, get_origin

from jaxtyping import AbstractArray


def checked(function):
    """Check the arguments and the result of a function that are annotated with array types."""
    hints = {name: hint for name, hint in function.__annotations__.items() if array_hint(hint) is not None}
    if not hints:
        return function
    signature = inspect.signature(function)

    @functools.wraps(function)
    def wrapper(*positional, **named):
        for name, value in signature.bind(*positional, **named).arguments.items():
            if name in hints and not fits(value, hints[name]):
                raise TypeError(f"{function.__qualname__}: {name} is {told(value)}, not {hints[name]}")
        result = function(*positional, **named)
        if "return" in hints and not fits(result, hints["return"]):
            raise TypeError(f"{function.__qualname__}: returns {told(result)}, not {hints['return']}")
        return result

    return wrapper


def array_hint(hint):
    """Give an annotation back; None where it is of no array."""
    parts = get_args(hint) if get_origin(hint) in (Union, UnionType, tuple) else (hint,)
    return hint if any(isinstance(part, type) and issubclass(part, AbstractArray) for part in parts) else None


def fits(value, hint):
    if get_origin(hint) is tuple:
        parts = get_args(hint)
        return isinstance(value, tuple) and len(value) == len(parts) and all(map(fits, value, parts))
    if get_origin(hint) in (Union, UnionType):
        return any(fits(value, part) for part in get_args(hint))
    if hint is NoneType:
        return value is None
    return isinstance(value, hint) if isinstance(hint, type) and not get_origin(hint) else True


def told(value):
    return f"{value.dtype}{list(value.shape)}" if hasattr(value, "dtype") else type(value).__name__
