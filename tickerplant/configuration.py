"""File and environment → checked settings, with where each value came from and what to warn of."""

import json
import os
import stat
import tomllib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from types import UnionType
from typing import Any, Final, Union, get_args, get_origin

from pydantic import BaseModel, SecretStr, TypeAdapter, ValidationError

from tickerplant.connect.names import undotted
from tickerplant.errors import UserError
from tickerplant.local.identities import ADMIN, Identities
from tickerplant.masking import MASK, mask, remember
from tickerplant.secrets import FILE, is_reference, resolve
from tickerplant.security import check, risks
from tickerplant.settings import CONFIG_ENV, ENV_PREFIX, VENUES_ENV, VENUES_EXAMPLE, Settings

DEFAULT: Final = "default"
FILE_SUFFIX: Final = "_file"
TRUE: Final = (True, 1, "1", "true", "True", "yes", "on")
USERS: Final = {"registry.password": "username", "clickhouse.password": "user"}

Path_ = tuple[str, ...]
"""Where a setting stands: ("kafka", "partitions")."""


@dataclass(frozen=True, kw_only=True)
class Loaded:
    """Settings as read.

    Args:
        sources: dotted name of each setting that is not a default → where it came from, for people.
        warnings: what works but is risky, a line each.
    """

    settings: Settings
    sources: Mapping[str, str]
    warnings: tuple[str, ...]


def read_settings(path: Path | None = None, environment: Mapping[str, str] | None = None) -> Loaded:
    """Read, resolve references to secrets, and check; raises as `load_settings`."""
    environment = os.environ if environment is None else environment
    if path is None and CONFIG_ENV in environment:
        path = Path(environment[CONFIG_ENV])
    values = undotted(_read_toml(path)) if path else {}
    sources = {".".join(place): str(path) for place in _places(values)}
    warnings: list[str] = []
    _warn_of_open_file(path, values, warnings)
    for name, place, value in _environment_values(environment):
        _put(values, place, value)
        sources[".".join(place)] = name
    _follow_secure_stack(values, sources)
    _resolve_references(values, sources, environment, warnings)
    settings = _validated(values, path)
    remember_secrets(settings)
    check(settings)
    return Loaded(settings=settings, sources=sources, warnings=(*warnings, *risks(settings)))


def secret_places(section: type[BaseModel] = Settings, before: Path_ = ()) -> Iterator[Path_]:
    """Name the settings that are secrets, however deep, those of lists aside."""
    for name, field in section.model_fields.items():
        is_union = get_origin(field.annotation) in {Union, UnionType}
        for kind in get_args(field.annotation) if is_union else (field.annotation,):
            if kind is SecretStr:
                yield (*before, name)
            elif isinstance(kind, type) and issubclass(kind, BaseModel):
                yield from secret_places(kind, (*before, name))


def remember_secrets(settings: Settings) -> None:
    """Mask them from now on, wherever they stand, in lists too; defaults are no secrets."""
    defaults = {place: secret for place, _, secret in _held((), settings, type(settings)())}
    for place, section, secret in _held((), settings, settings):
        if secret != defaults.get(place):
            remember(secret.get_secret_value(), user=getattr(section, USERS.get(".".join(place), ""), None) or "")


def shown(loaded: Loaded) -> dict[str, Any]:
    """Make the settings as they may be shown: nested, secrets masked, with `sources` beside the sections."""
    return {**_shown(loaded.settings.model_dump()), "sources": dict(loaded.sources)}


def lines(loaded: Loaded, *, is_changed: bool = False) -> Iterator[str]:
    """Write a line a setting: its name, its value, and where that came from.

    Args:
        is_changed: only those that have another value than the default.
    """
    ours, usual = loaded.settings.model_dump(), Settings().model_dump()
    values = _shown(ours)
    for place in _places(values):
        name = ".".join(place)
        value = _at(values, place)
        if is_changed and _at(ours, place) == _at(usual, place):
            continue
        yield f"{name:<32} {'none' if value is None else value}  ({loaded.sources.get(name, DEFAULT)})"


def _shown(value: Any) -> Any:
    """Make what JSON can hold."""
    if isinstance(value, dict):
        return {name: _shown(each) for name, each in value.items()}
    if isinstance(value, list | tuple):
        return [_shown(each) for each in value]
    if isinstance(value, SecretStr):
        return MASK if value.get_secret_value() else ""
    return str(value) if isinstance(value, Path) else value


def _read_toml(path: Path) -> dict[str, Any]:
    try:
        return tomllib.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise UserError(f"no settings file at {path}; start from `tickerplant config --example`") from None
    except OSError as error:
        raise UserError(f"{path} cannot be read: {error.strerror}") from None
    except (tomllib.TOMLDecodeError, UnicodeDecodeError, RecursionError) as error:
        raise UserError(f"{path} is not valid TOML: {error}") from None


def _environment_values(environment: Mapping[str, str]) -> Iterator[tuple[str, Path_, object]]:
    """Yield name, place and value; `..._FILE` of a secret is a reference to that file."""
    secrets = set(secret_places())
    for name, value in sorted(environment.items()):
        if not name.startswith(ENV_PREFIX) or name == CONFIG_ENV:
            continue
        place = tuple(name.removeprefix(ENV_PREFIX).lower().split("__"))
        secret = (*place[:-1], place[-1].removesuffix(FILE_SUFFIX))
        if secret == place or secret not in secrets:
            yield name, place, _read_venues(value) if name == VENUES_ENV else value
        elif name.removesuffix(FILE_SUFFIX.upper()) in environment:
            raise UserError(f"{name} and {name.removesuffix(FILE_SUFFIX.upper())} are both set: keep one of them")
        elif value:
            yield name, secret, FILE + value


def _read_venues(text: str) -> list[object]:
    try:
        venues = json.loads(text)
    except ValueError as error:
        raise UserError(f"{VENUES_ENV} is not JSON: {error}; {VENUES_EXAMPLE}") from None
    if not isinstance(venues, list):
        raise UserError(f"{VENUES_ENV} is not a list; {VENUES_EXAMPLE}")
    return venues


def _put(values: dict[str, Any], place: Path_, value: object) -> None:
    for depth, key in enumerate(place[:-1], 1):
        values = values.setdefault(key, {})
        if not isinstance(values, dict):
            raise UserError(
                f"setting {'.'.join(place[:depth])} is a section, not a value; see `tickerplant config --example`"
            )
    values[place[-1]] = value


def _places(values: Mapping[str, Any], before: Path_ = ()) -> Iterator[Path_]:
    """Name the leaves; a list is one."""
    for name, value in values.items():
        if isinstance(value, dict):
            yield from _places(value, (*before, name))
        else:
            yield (*before, name)


def _at(values: Any, place: Path_) -> Any:
    """Return what stands there; None = nothing, or the way there is no section."""
    for name in place:
        values = values.get(name) if isinstance(values, dict) else None
    return values


def _resolve_references(
    values: dict[str, Any], sources: dict[str, str], environment: Mapping[str, str], warnings: list[str]
) -> None:
    for place in secret_places():
        name, value = ".".join(place), _at(values, place)
        if not is_reference(value):
            continue
        try:
            found = resolve(value, environment, warnings.append)
        except UserError as error:
            raise UserError(f"setting {name}: {error}") from None
        _put(values, place, found)
        if not value.startswith("literal:"):
            sources[name] += f", {value}"


def _follow_secure_stack(values: dict[str, Any], sources: dict[str, str]) -> None:
    """With `local.secure`, let `[kafka]` be what that broker asks for, where nothing else is set."""
    secure = _at(values, ("local", "secure"))
    kafka = values.get("kafka", {})
    if secure not in TRUE or not isinstance(kafka, dict) or "security_protocol" in kafka:
        return
    home = _at(values, ("local", "home")) or Settings().local.home
    found = Identities.of(Path(str(home))).client_values(str(kafka.get("sasl_username") or ADMIN))
    for name, value in found.items():
        if name not in kafka:
            _put(values, ("kafka", name), value)
            sources[f"kafka.{name}"] = "local.secure"


def _warn_of_open_file(path: Path | None, values: Mapping[str, Any], warnings: list[str]) -> None:
    plain = [".".join(place) for place in secret_places() if (value := _at(values, place)) and not is_reference(value)]
    if path is not None and plain and stat.S_IMODE(path.stat().st_mode) & stat.S_IROTH:
        warnings.append(f"{path} may be read by every user of this machine and holds {plain[0]}: chmod 600")


def _validated(values: Mapping[str, Any], path: Path | None) -> Settings:
    try:
        return TypeAdapter(Settings).validate_python(values)
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False)[0]
        where = ".".join(str(part) for part in first["loc"])
        source = f" in {path}" if path else ""
        reason = "unknown setting" if first["type"] == "extra_forbidden" else first["msg"]
        raise UserError(mask(f"setting {where}{source}: {reason}; see `tickerplant config --example`")) from None


def _held(place: Path_, section: BaseModel, value: object) -> Iterator[tuple[Path_, BaseModel, SecretStr]]:
    """Find the secrets in a value of a section: place, the section it stands in, itself."""
    if isinstance(value, SecretStr):
        yield place, section, value
    elif isinstance(value, BaseModel):
        for name in type(value).model_fields:
            yield from _held((*place, name), value, getattr(value, name))
    elif isinstance(value, Mapping):
        for name, each in value.items():
            yield from _held((*place, str(name)), section, each)
    elif isinstance(value, list | tuple):
        for number, each in enumerate(value):
            yield from _held((*place, str(number)), section, each)
