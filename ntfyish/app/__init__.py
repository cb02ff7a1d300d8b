"""The composition root: the only package that constructs services, opens sockets and ends the server.

`running` is a server as a context manager (tests use it with a clock of theirs); `serve` runs one until a
signal ends it.
"""

from ntfyish.app.extras import ExtraMissing, SettingUnusable, find_missing_extras
from ntfyish.app.lifetime import RunningServer, running
from ntfyish.app.pushes import find_push_faults
from ntfyish.app.serving import serve

__all__ = [
    "ExtraMissing",
    "RunningServer",
    "SettingUnusable",
    "find_missing_extras",
    "find_push_faults",
    "running",
    "serve",
]
