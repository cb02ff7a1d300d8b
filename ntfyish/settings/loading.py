"""Puts the sources together, validates them and reports all mistakes at once."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from ntfyish.model.durations import format_duration, format_size
from ntfyish.settings.checks import CHECKS
from ntfyish.settings.entries import (
    DEVICE_KINDS,
    AccountEntry,
    AliasEntry,
    ApnsEntry,
    AppEntry,
    Entry,
    GroupEntry,
    KeyEntry,
    MemberEntry,
    PushDeviceEntry,
    SubscriptionEntry,
    TokenEntry,
    TopicDeviceEntry,
)
from ntfyish.settings.schema import LEGACY, Settings, key_of
from ntfyish.settings.sources import Source, from_environment, from_file, from_flags, suggest

SYSTEM_CONFIG = Path("/etc/ntfyish/config.yml")
SYSTEM_DATA = Path("/var/lib/ntfyish")

_KEYS = {key_of(attribute): attribute for attribute in Settings.model_fields}
_ENTRIES: dict[str, type[Entry]] = {
    "accounts": AccountEntry,
    "apps": AppEntry,
    "keys": KeyEntry,
    "groups": GroupEntry,
    "subscriptions": SubscriptionEntry,
    "apns": ApnsEntry,
    "topic-devices": TopicDeviceEntry,
}
_NESTED: dict[str, type[Entry]] = {
    "tokens": TokenEntry,
    "aliases": AliasEntry,
    "devices": PushDeviceEntry,
    "members": MemberEntry,
}


class SettingsError(Exception):
    """The settings are wrong.

    Attributes:
        mistakes: one line each: the key, where it is from, what is wrong, what is allowed. No secrets.
    """

    def __init__(self, mistakes: tuple[str, ...]) -> None:
        super().__init__(*mistakes)
        self.mistakes = mistakes


@dataclass(frozen=True, slots=True)
class Loaded:
    """Settings, and where each that is no default comes from, by key."""

    settings: Settings
    origins: Mapping[str, str]


def load(flags: Mapping[str, object], environ: Mapping[str, str], config_file: Path | None) -> Settings:
    """Return the settings.

    Args:
        flags: by key, in kebab or snake case; None is one that was not given.
        environ: the environment; only ``NTFYISH_*`` (and, for `data-dir`, ``XDG_DATA_HOME``) is looked at.
        config_file: a YAML file, or None for none (see `find_config_file`).

    Raises:
        SettingsError: with all mistakes.
    """
    return read(flags, environ, config_file).settings


def read(flags: Mapping[str, object], environ: Mapping[str, str], config_file: Path | None) -> Loaded:
    """Do as `load`, and return where the settings come from, too."""
    sources = [from_flags(flags, _KEYS), from_environment(environ, _KEYS, _ENTRIES)]
    if config_file is not None:
        sources.append(from_file(config_file, _KEYS))
    sources.append(Source({"data-dir": default_data_dir(environ)}))
    if _is_legacy(sources):
        sources.append(Source(dict(LEGACY), {(key,): "pushover-profile" for key in LEGACY}))
    mistakes = [mistake for source in sources for mistake in source.mistakes]

    layers = [source.values for source in sources]
    wrong: set[str] = set()
    try:
        settings = Settings(*layers)
    except ValidationError as error:
        faults = error.errors(include_url=False, include_input=False)
        mistakes += (_describe(fault, sources) for fault in faults)
        wrong = {str(fault["loc"][0]) for fault in faults}
        # What is left is valid by itself, so the checks between settings can still have their say.
        settings = Settings(*({k: v for k, v in layer.items() if k not in wrong} for layer in layers))
    mistakes += _check(settings, wrong, sources)
    if mistakes:
        raise SettingsError(tuple(map(_printable, mistakes))) from None
    return Loaded(settings, {key: place for key in _KEYS if (place := _origin((key,), sources))})


def find_config_file(environ: Mapping[str, str], system: Path = SYSTEM_CONFIG) -> Path | None:
    """Return the file to read where no flag says it: ``$NTFYISH_CONFIG``, or the system's if it exists."""
    if environ.get("NTFYISH_CONFIG"):
        return Path(environ["NTFYISH_CONFIG"])
    return system if system.exists() else None


def default_data_dir(environ: Mapping[str, str], system: Path = SYSTEM_DATA) -> str:
    """Return the folder of the data: for root the system's if it exists, else one of the user's own."""
    if os.geteuid() == 0 and system.is_dir():
        return str(system)
    xdg = environ.get("XDG_DATA_HOME", "")
    if os.path.isabs(xdg):  # others are to be ignored (XDG Base Directory Specification)
        return str(Path(xdg) / "ntfyish")
    home = environ.get("HOME") or "~"
    return str(Path(home) / ".local/share/ntfyish")


def _is_legacy(sources: Sequence[Source]) -> bool:
    profile = next((s.values["pushover-profile"] for s in sources if "pushover-profile" in s.values), "")
    return isinstance(profile, str) and profile.strip().lower() == "legacy"


def _origin(place: tuple[str | int, ...], sources: Sequence[Source]) -> str:
    """Return where the nearest enclosing place of the strongest source comes from; "" for a default."""
    source = next((source for source in sources if place[0] in source.values), Source())
    while place and place not in source.origins:
        place = place[:-1]
    return source.origins.get(place, "")


def _check(settings: Settings, wrong: set[str], sources: Sequence[Source]) -> Iterator[str]:
    for check in CHECKS:
        if wrong.isdisjoint(check.keys):
            given = [key for key in check.keys if _origin((key,), sources)]
            key = check.keys[0]
            where = _origin((key,), sources) or "default" + (
                f"; {_origin((given[0],), sources)}" if given else ""
            )
            yield from (f"{key} ({where}): {text}" for text in check.find(settings))


def _describe(fault: Any, sources: Sequence[Source]) -> str:
    place = tuple(part for part in fault["loc"] if part not in DEVICE_KINDS)
    key = str(place[0])
    name = key + "".join(f"[{part}]" if isinstance(part, int) else f".{part}" for part in place[1:])
    where = _origin(place, sources)
    return f"{name} ({where or 'default'}): {_explain(fault, place)}"


def _explain(fault: Any, place: tuple[str | int, ...]) -> str:
    key = str(place[0])
    context = fault.get("ctx", {})
    match fault["type"]:
        case "value_error":
            return str(context["error"])
        case "literal_error":
            return f"must be one of {context['expected']}"
        case "missing":
            return "is missing"
        case "extra_forbidden":
            # accounts, 0, [tokens, 0,] the unknown key
            entry = _NESTED[str(place[-3])] if len(place) > 3 else _ENTRIES[key]
            known = [name.replace("_", "-") for name in entry.model_fields]
            return f"there is no such key{suggest(str(place[-1]), known)}"
        case "greater_than_equal":
            return f"must be at least {_amount(key, context['ge'])}"
        case "less_than_equal":
            return f"must be at most {_amount(key, context['le'])}"
        case "model_type" | "model_attributes_type":
            return "must be a mapping of keys to values"
    return "has the wrong form"


def _amount(key: str, amount: float) -> str:
    attribute = _KEYS[key]
    if attribute.endswith("_s"):
        return format_duration(amount)
    return format_size(int(amount)) if attribute.endswith("_bytes") else str(amount)


def _printable(text: str) -> str:
    return "".join(
        c if c.isprintable() else c.encode("unicode_escape", "surrogatepass").decode() for c in text
    )
