"""The settings: read from flags, environment and a YAML file, checked as a whole, and then immutable.

Precedence: flags, then the environment (``NTFYISH_`` and the key in upper snake case), then the file, then
the defaults. Keys are ntfy's where they mean the same. All mistakes are reported at once, each with its key
and where it came from; the values of secrets appear in no message and no `repr`.
"""

from ntfyish.settings.entries import (
    AccessEntry,
    AccountEntry,
    AliasEntry,
    ApnsEntry,
    AppEntry,
    GroupEntry,
    KeyEntry,
    OwnedTokenEntry,
    PushDeviceEntry,
    TopicDeviceEntry,
    find_sandbox,
)
from ntfyish.settings.loading import Loaded, SettingsError, find_config_file, load, read
from ntfyish.settings.schema import Settings, owned_tokens
from ntfyish.settings.values import ListenAddress

__all__ = [
    "AccessEntry",
    "AccountEntry",
    "AliasEntry",
    "ApnsEntry",
    "AppEntry",
    "GroupEntry",
    "KeyEntry",
    "ListenAddress",
    "Loaded",
    "OwnedTokenEntry",
    "PushDeviceEntry",
    "Settings",
    "SettingsError",
    "TopicDeviceEntry",
    "find_config_file",
    "find_sandbox",
    "load",
    "owned_tokens",
    "read",
]
