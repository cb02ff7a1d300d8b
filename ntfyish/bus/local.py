"""The bus of a single node: announcing is dispatching."""

from __future__ import annotations

from collections.abc import Sequence

from ntfyish.core.hub import Hub
from ntfyish.model.message import Published


class LocalBus:
    """Hands every visible message to the one hub of this process."""

    def __init__(self, hub: Hub) -> None:
        self._hub = hub

    def announce(self, published: Sequence[Published]) -> None:
        """Dispatch, in order."""
        self._hub.announce(published)
