"""What is said if a setting needs more than is installed. Raised by `sending` and `mail`."""

from __future__ import annotations


class ExtraMissing(Exception):
    """A setting asks for what comes with an extra of the package that is not installed."""

    def __init__(self, key: str, extra: str) -> None:
        super().__init__(f"{key} needs a package that is not installed: pip install 'ntfyish[{extra}]'")
