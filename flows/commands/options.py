"""Options of a command, made from its settings: each is described, typed and checked where the setting is."""

import functools
import inspect
import sys
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from enum import Enum
from pathlib import Path
from typing import Annotated, Any, Literal, get_args, get_origin

from cyclopts import Group, Parameter
from pydantic import BaseModel
from pydantic.fields import FieldInfo

from multitalk.flows.commands.faults import logged
from multitalk.flows.commands.shown_settings import model_in, settings_yaml

Command = Callable[..., int]

_COMMON = Group("Configuration", sort_key=9)
_SIMPLE = (bool, int, float, str, Path)


@dataclass(frozen=True, slots=True)
class Option:
    """A setting that a command's help shows as an option."""

    setting: str
    """Its name; within settings of settings dotted, as `reading.beam`."""
    name: str = ""
    """The option's name without dashes in front; none: the setting's own."""
    metavar: str | None = None
    positional: bool = False
    """All arguments without an option are its values."""
    read: Callable[[str, list[str]], Any] | None = None
    """Makes the setting's value of the option's name and what was given; none: the settings do."""
    several: bool = False
    """Takes all values that follow it; else one, and may be repeated where the setting is a list."""
    adds: bool = False
    """Its values come in addition to the configuration's, or the default's."""

    @property
    def flag(self) -> str:
        """As it is written on the command line."""
        return "--" + (self.name or self.setting.rpartition(".")[2].replace("_", "-"))


def takes(settings: type[BaseModel], *options: Option) -> Callable[[Command], Command]:
    """Make a command of a function whose first parameter is its settings.

    The command has the given options, those of the function's own parameters, ``--config`` and ``--show-config``;
    and every other setting as an option by its dotted name, which the help does not list. A parameter of the
    function without a default is needed, unless the configuration is only to be shown.

    Parameters
    ----------
    settings
        A pydantic model; what the user gives is laid over a ``--config`` file, and that over its defaults.
    options
        Settings that the help shows, in its order.
    """

    def decorate(run: Command) -> Command:
        own = list(inspect.signature(run, eval_str=True).parameters.values())[1:]
        given = _all_options(settings, options)
        example = next((option.flag for option, shown in given if not shown and "." in option.setting), "")
        signature = _signature(own, {_key(o): _parameter(settings, o, shown=s) for o, s in given}, example)

        @functools.wraps(run)
        def command(*arguments: Any, **named: Any) -> int:
            from multitalk.ground.settings import read_settings, validated

            bound = signature.bind(*arguments, **named).arguments
            config, show = bound.pop("config", None), bound.pop("show_config", False)
            values = read_settings(config) if config else {}
            for option, _ in given:
                value = bound.pop(_key(option), None)
                if value is not None and value != ():
                    _put(values, settings, option, value)
            if show:
                sys.stdout.write(settings_yaml(settings, values))
                return 0
            _check_needed(settings, values, options, own, bound)
            checked = validated(settings, values)
            with logged(getattr(checked, "root", None)):
                plain = [bound.pop(p.name) for p in own if p.kind is p.POSITIONAL_ONLY]
                return run(checked, *plain, **bound)

        command.__signature__ = signature  # type: ignore[attr-defined]
        # Types are in the signature; those of the function are not the command's.
        command.__annotations__ = {}
        del command.__wrapped__
        return command

    return decorate


def setting_help(settings: type[BaseModel], name: str) -> str:
    """Describe a setting for the help, with its default."""
    field = _field(settings, name)
    text = (field.description or "").strip().removesuffix(".")
    first = text.partition(" ")[0]
    if first.removesuffix(",").isalpha():  # else it is a name, or a value and what it means
        text = text[:1].upper() + text[1:]
    return text + _default_text(field)


def _default_text(field: FieldInfo) -> str:
    if field.is_required():
        return " [required]"
    if field.default_factory is not None and model_in(field.annotation) is None:
        return ""  # differs from machine to machine: the description says how
    default = field.get_default(call_default_factory=True)
    if default is None or default is False or default in ((), [], {}) or isinstance(default, BaseModel):
        return ""
    if isinstance(default, tuple):
        return f" [default: {', '.join(map(str, default))}]"
    return f" [default: {'yes' if default is True else default}]"


def _all_options(settings: type[BaseModel], shown: tuple[Option, ...]) -> list[tuple[Option, bool]]:
    """All settings that can be options, and whether the help shows them."""
    named = {option.setting for option in shown}
    rest = [name for name, field in _leaves(settings) if name not in named and _type(field) is not None]
    hidden = [Option(name, name=name.replace("_", "-")) for name in rest]
    return [*((option, True) for option in shown), *((option, False) for option in hidden)]


def _leaves(settings: type[BaseModel], prefix: str = "") -> Iterator[tuple[str, FieldInfo]]:
    """Yield dotted names and fields of all settings that hold no further settings."""
    for name, field in settings.model_fields.items():
        inner = model_in(field.annotation)
        if inner is None:
            yield prefix + name, field
        else:
            yield from _leaves(inner, f"{prefix}{name}.")


def _field(settings: type[BaseModel], name: str) -> FieldInfo:
    first, _, rest = name.partition(".")
    field = settings.model_fields[first]
    if not rest:
        return field
    inner = model_in(field.annotation)
    assert inner is not None
    return _field(inner, rest)


def _key(option: Option) -> str:
    """Name of the option's parameter: the help shows it of arguments; else nothing of the function's own."""
    return option.setting if option.positional else "setting_" + option.setting.replace(".", "__")


def _signature(
    own: list[inspect.Parameter], options: Mapping[str, inspect.Parameter], example: str
) -> inspect.Signature:
    """Put the parameters in the order that Python asks for; the function's own become optional."""
    optional = [_made_optional(p) if p.default is p.empty else p for p in own]
    positional = [p for p in optional if p.kind is p.POSITIONAL_ONLY]
    rest = [p for p in optional if p.kind is p.KEYWORD_ONLY]
    config = Annotated[
        Path | None,
        Parameter(
            name="--config", metavar="FILE", help="YAML with any setting; options win over it", group=_COMMON
        ),
    ]
    show = Annotated[
        bool,
        Parameter(
            name="--show-config",
            help="Print every setting with its meaning and the value in effect, as YAML for --config, and end"
            + (f". Each is an option, too: {example}" if example else ""),
            negative=(),
            show_default=False,
            group=_COMMON,
        ),
    ]
    kind = inspect.Parameter.KEYWORD_ONLY
    common = [
        inspect.Parameter("config", kind, default=None, annotation=config),
        inspect.Parameter("show_config", kind, default=False, annotation=show),
    ]
    free = [p for p in options.values() if p.kind is p.VAR_POSITIONAL]
    named = [p for p in options.values() if p.kind is kind]
    return inspect.Signature([*positional, *free, *named, *rest, *common])


def _made_optional(parameter: inspect.Parameter) -> inspect.Parameter:
    kind, described = get_args(parameter.annotation)
    described = Parameter.combine(described, Parameter(help=f"{described.help} [required]"))
    return parameter.replace(default=None, annotation=Annotated[kind | None, described])


def _parameter(settings: type[BaseModel], option: Option, *, shown: bool) -> inspect.Parameter:
    field = _field(settings, option.setting)
    kind = _type(field) if option.read is None else list[str]
    element = get_args(kind)[0] if get_origin(kind) is list else kind
    choices = _choices(field.annotation) or None
    if option.positional:
        described = Parameter(help=setting_help(settings, option.setting))
        return inspect.Parameter(
            option.setting, inspect.Parameter.VAR_POSITIONAL, annotation=Annotated[element, described]
        )
    described = Parameter(
        name=option.flag,
        help=setting_help(settings, option.setting),
        show=shown,
        choices=choices,
        metavar=option.metavar,
        consume_multiple=1 if option.several else None,
        negative=None if kind is bool else (),
    )
    return inspect.Parameter(
        _key(option),
        inspect.Parameter.KEYWORD_ONLY,
        default=None,
        annotation=Annotated[kind | None, described],
    )


def _type(field: FieldInfo) -> Any:
    """Type that the command line reads a setting as; None where only YAML can say it."""
    (kind, *others) = [a for a in _members(field.annotation) if a is not type(None)]
    if others:
        return None
    if kind in _SIMPLE:
        return kind
    if get_origin(kind) is tuple and get_args(kind)[-1] is Ellipsis:
        element = get_args(kind)[0]
        return list[element if element in _SIMPLE else str]  # type: ignore[misc]
    if get_origin(kind) is tuple:
        return kind
    return None if get_origin(kind) in (dict, list) or kind is Any else str


def _members(annotation: Any) -> tuple[Any, ...]:
    """Members of a union; a type that is none is its only one."""
    return get_args(annotation) if type(None) in get_args(annotation) else (annotation,)


def _choices(annotation: Any) -> tuple[str, ...]:
    """Values of a Literal or an enumeration, also within an optional or a tuple of them."""
    for kind in _members(annotation):
        inner = get_args(kind)[0] if get_origin(kind) is tuple else kind
        if get_origin(inner) is Literal:
            return tuple(map(str, get_args(inner)))
        if isinstance(inner, type) and issubclass(inner, Enum):
            return tuple(str(member.value) for member in inner)
    return ()


def _put(values: dict[str, Any], settings: type[BaseModel], option: Option, value: Any) -> None:
    """Lay what was given over the configuration; what is no mapping there is left for the settings to refuse."""
    *path, last = option.setting.split(".")
    for name in path:
        inner = values.get(name) or {}
        if not isinstance(inner, dict):
            return
        values[name] = dict(inner)
        values = values[name]
    if option.read is not None:
        value = option.read(option.flag, list(value))
    if option.adds:
        default = _field(settings, option.setting).get_default(call_default_factory=True)
        value = [*(values.get(last, default) or ()), *value]
    values[last] = value


def _check_needed(
    settings: type[BaseModel],
    values: Mapping[str, Any],
    options: tuple[Option, ...],
    own: list[inspect.Parameter],
    given: Mapping[str, Any],
) -> None:
    """Raise SettingsError with a line for all that is needed and missing."""
    from multitalk.ground.settings import SettingsError

    shown = {option.setting: option for option in options}
    lines = []
    for name, field in settings.model_fields.items():
        if field.is_required() and name not in values:
            option = shown.get(name, Option(name))
            how = name.upper() if option.positional else option.flag
            lines.append(f"{name} is needed: {how}, or `{name}` in a --config file")
    for parameter in own:
        if parameter.default is parameter.empty and given.get(parameter.name) is None:
            plain = parameter.kind is parameter.POSITIONAL_ONLY
            name = parameter.name
            lines.append(f"{name.upper() if plain else '--' + name.replace('_', '-')} is needed")
    if lines:
        raise SettingsError("\n".join(lines))
