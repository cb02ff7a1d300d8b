"""Pushover's built-in sounds, in the order and with the labels of its API."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

SOUNDS: Mapping[str, str] = MappingProxyType(
    {
        "pushover": "Pushover (default)",
        "bike": "Bike",
        "bugle": "Bugle",
        "cashregister": "Cash Register",
        "classical": "Classical",
        "cosmic": "Cosmic",
        "falling": "Falling",
        "gamelan": "Gamelan",
        "incoming": "Incoming",
        "intermission": "Intermission",
        "magic": "Magic",
        "mechanical": "Mechanical",
        "pianobar": "Piano Bar",
        "siren": "Siren",
        "spacealarm": "Space Alarm",
        "tugboat": "Tug Boat",
        "alien": "Alien Alarm (long)",
        "climb": "Climb (long)",
        "persistent": "Persistent (long)",
        "echo": "Pushover Echo (long)",
        "updown": "Up Down (long)",
        "vibrate": "Vibrate Only",
        "none": "None (silent)",
    }
)
