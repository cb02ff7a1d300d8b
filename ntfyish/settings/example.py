"""Shows settings to people: the example configuration, the help of the flags, the report of a check.

In the example, text lines begin with ``# `` and settings with ``#`` alone, so that a setting is switched on
by removing one character.
"""

from __future__ import annotations

import textwrap
from pathlib import Path
from typing import Any

from pydantic.fields import FieldInfo

from ntfyish.model.durations import format_duration, format_size
from ntfyish.settings.loading import Loaded
from ntfyish.settings.schema import Settings, key_of

_WIDTH = 100

_HEAD = """\
# The configuration of ntfyish. Every setting is here, commented out, with its default or an example.
#
# Put it at /etc/ntfyish/config.yml, or name it with --config or $NTFYISH_CONFIG. Each setting can also be
# given as a flag (--keepalive-interval 30s; not the lists of people and what is theirs) or as an environment
# variable (NTFYISH_KEEPALIVE_INTERVAL=30s; lists are comma-separated, and accounts, apps, keys and groups are
# JSON). Flags win over the environment, the environment over this file.
#
# Durations are written like 500ms, 45s, 1h30m or 2d, sizes like 4096, 4K, 15M or 1G (in powers of 1024).
# `ntfyish serve --check-config` says what is wrong."""


def example() -> str:
    """Return the example configuration: `config.example.yml`."""
    parts = [_HEAD]
    for attribute, field in Settings.model_fields.items():
        extra = extra_of(field)
        if extra["section"]:
            parts.append(f"\n\n# ---- {extra['section']} ".ljust(_WIDTH + 2, "-"))
        description = textwrap.wrap(field.description or "", _WIDTH, break_on_hyphens=False)
        lines = [f"# {line}" for line in description]
        if extra["example"]:
            lines.append("# Not set by default. For example:")
        lines += [f"#{line}" for line in f"{key_of(attribute)}: {_yaml(attribute, field)}".splitlines()]
        parts.append("\n" + "\n".join(line.rstrip() for line in lines))
    return "\n".join(parts) + "\n"


def default_text(attribute: str, field: FieldInfo) -> str:
    """Return the default for people; "" if there is none."""
    if shown := extra_of(field)["shown"]:
        return str(shown).strip('"')
    return "" if extra_of(field)["example"] else value_text(attribute, field.default)


def value_text(attribute: str, value: object) -> str:
    """Return the value of a setting that is no secret, as it could be written."""
    if value is None:
        return "-"
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, int | float) and attribute.endswith("_s"):
        return format_duration(value)
    if isinstance(value, int) and attribute.endswith("_bytes"):
        return format_size(value)
    if isinstance(value, int) and attribute == "listen_unix_mode":
        return f"{value:04o}"
    return ", ".join(map(str, value)) if isinstance(value, tuple) else str(value)


def report(loaded: Loaded, config_file: Path | None) -> str:
    """Return what the settings are and where they come from: one line each, no secrets."""
    lines = [f"configuration file: {config_file or 'none'}"]
    for attribute, field in Settings.model_fields.items():
        key = key_of(attribute)
        value = getattr(loaded.settings, attribute)
        if not extra_of(field)["secret"]:
            text = value_text(attribute, value)
        elif isinstance(value, str):
            text = "set, and not shown" if value else ""
        else:
            text = f"{len(value)} declared"
        lines.append(f"{key}: {text}  ({loaded.origins.get(key) or 'default'})")
    return "\n".join(lines)


def extra_of(field: FieldInfo) -> dict[str, Any]:
    """Return what is said about a setting besides pydantic's own: section, example, shown, secret."""
    extra = field.json_schema_extra
    assert isinstance(extra, dict)
    return extra


def _yaml(attribute: str, field: FieldInfo) -> str:
    extra = extra_of(field)
    if given := extra["example"] or extra["shown"]:
        return str(given).replace("\n", "\n  ")
    text = value_text(attribute, field.default)
    return f'"{text}"' if isinstance(field.default, str) or ":" in text else text
