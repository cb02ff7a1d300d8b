"""Where settings come from: flags, the environment, a YAML file. Each becomes a `Source`, unvalidated.

Unknown keys are mistakes, with the nearest known one as a suggestion. A blank value is one that is not set.
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from ntfyish.settings.yaml_text import Document, Place, read_yaml

PREFIX = "NTFYISH_"

# Variables of the command line's own, which are no settings.
CLIENT_VARIABLES = frozenset(
    PREFIX + name
    for name in (
        *("CONFIG", "PASSWORD", "PASSWORD_HASH", "SERVER", "USER", "TOKEN", "TOPIC"),
        *("MESSAGE", "TITLE", "PRIORITY", "TAGS", "DELAY", "CLICK", "ICON", "ACTIONS", "ATTACH", "MARKDOWN"),
        *("NO_CACHE", "SEQUENCE_ID", "QUIET", "SINCE", "POLL", "SCHEDULED"),
    )
)
# Kubernetes sets these in every pod where a service is called "ntfyish".
_KUBERNETES = re.compile(
    r"NTFYISH_(?:SERVICE_(?:HOST|PORT\w*)|PORT|PORT_[0-9]+_(?:TCP|UDP|SCTP)(?:_(?:PROTO|PORT|ADDR))?)"
)


@dataclass(frozen=True, slots=True)
class Source:
    """What one source says.

    Attributes:
        values: by key; texts, lists and dicts.
        origins: by key, or by the path of what is inside it: where it is from, for people.
        mistakes: what is wrong with it whatever the values mean.
    """

    values: dict[str, object] = field(default_factory=dict, repr=False)
    origins: Mapping[Place, str] = field(default_factory=dict)
    mistakes: tuple[str, ...] = ()


def from_flags(flags: Mapping[str, object], known: Collection[str]) -> Source:
    """Take flags by their names, in kebab or snake case; None is one that was not given."""
    values: dict[str, object] = {}
    mistakes = []
    for name, value in flags.items():
        key = name.replace("_", "-")
        if value is None or value == "":
            continue
        if key in known:
            values[key] = value
        else:
            mistakes.append(f"--{key}: there is no such setting{suggest(key, known)}")
    return Source(values, {(key,): f"--{key}" for key in values}, tuple(mistakes))


def from_environment(
    environ: Mapping[str, str], known: Collection[str], structured: Collection[str]
) -> Source:
    """Take the variables that begin with ``NTFYISH_``; those of `structured` keys are YAML or JSON."""
    variables = {PREFIX + key.replace("-", "_").upper(): key for key in known}
    values: dict[str, object] = {}
    mistakes: list[str] = []
    for name in sorted(environ):
        if not name.startswith(PREFIX) or name in CLIENT_VARIABLES or _KUBERNETES.fullmatch(name):
            continue
        key = variables.get(name)
        if key is None:
            mistakes.append(f"{name}: there is no such setting{suggest(name, variables)}")
        elif not environ[name].strip():
            continue
        elif key in structured:
            document = read_yaml(environ[name])
            mistakes += (f"{key} ({name}): {text}" for text, _ in document.mistakes)
            if document.value is not None:
                values[key] = document.value
        else:
            values[key] = environ[name]
    origins: dict[Place, str] = {(key,): name for name, key in variables.items() if key in values}
    return Source(values, origins, tuple(mistakes))


def from_file(path: Path, known: Collection[str]) -> Source:
    """Read a YAML file."""
    try:
        text = path.read_text("utf-8-sig")
    except UnicodeDecodeError:
        return Source(mistakes=(f"{path}: is not UTF-8",))
    except (OSError, ValueError) as error:
        reason = error.strerror if isinstance(error, OSError) else None
        return Source(mistakes=(f"{path}: cannot be read: {reason or 'not a path'}",))
    document = read_yaml(text)
    mistakes = [f"{path} line {line}: {text}" for text, line in document.mistakes]
    if document.value is None:
        return Source(mistakes=tuple(mistakes))
    if not isinstance(document.value, dict):
        return Source(mistakes=(*mistakes, f"{path}: must be a mapping of keys to values"))
    values = {}
    for key, value in document.value.items():
        if key in known:
            values[key] = value
        else:
            where = _line(path, document, (key,))
            mistakes.append(f"{key} ({where}): there is no such setting{suggest(key, known)}")
    origins = {place: _line(path, document, place) for place in document.lines}
    return Source(values, origins, tuple(mistakes))


def suggest(name: str, known: Collection[str]) -> str:
    """Return ``; did you mean ...?`` or ""."""
    near = difflib.get_close_matches(name, list(known), n=1, cutoff=0.7)
    return f"; did you mean {near[0]}?" if near else ""


def _line(path: Path, document: Document, place: Place) -> str:
    return f"{path} line {document.lines[place]}"
