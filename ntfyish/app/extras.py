"""What is said if a setting needs more than there is. Raised by whoever opens what it asks for."""

from __future__ import annotations


class ExtraMissing(Exception):
    """A setting asks for what comes with an extra of the package that is not installed."""

    def __init__(self, key: str, extra: str) -> None:
        super().__init__(f"{key} needs a package that is not installed: pip install 'ntfyish[{extra}]'")


class SettingUnusable(Exception):
    """A setting names a file that cannot be used; the text says which, and why."""
