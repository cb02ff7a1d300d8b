"""Runs a server as a process: until a signal ends it, with a log and a garbage collector tuned for it.

Called by the command line.
"""

from __future__ import annotations

import asyncio
import gc
import logging
import os
import signal
import sys
from collections.abc import Callable

from ntfyish import __version__
from ntfyish.app.lifetime import RunningServer, running
from ntfyish.app.listeners import raise_file_limit
from ntfyish.logs import logging_to
from ntfyish.settings import Settings

_log = logging.getLogger(__package__)


async def serve(settings: Settings, announce: Callable[[RunningServer], None] = lambda server: None) -> int:
    """Run a server until SIGTERM or SIGINT, then end it; a second signal ends the process at once.

    Args:
        announce: called once the server answers.

    Returns the exit code.
    """
    stop = _stop_signal()
    with logging_to(settings.log_file, level=settings.log_level, format=settings.log_format):
        raise_file_limit()
        async with running(settings) as server:
            figures = f", metrics on {server.metrics_url}" if server.metrics_url else ""
            _log.info(
                "ntfyish %s listens on %s, data in %s%s", __version__, server.url, settings.data_dir, figures
            )
            announce(server)
            _favour_serving()
            await stop.wait()
            _log.info("Stopping")
        _log.info("Stopped")
    return 0


def _stop_signal() -> asyncio.Event:
    """Return an event that the first signal sets; a second one ends the process."""
    loop = asyncio.get_running_loop()
    stop = asyncio.Event()

    def on_signal() -> None:
        if stop.is_set():
            os._exit(1)
        stop.set()

    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, on_signal)
    return stop


def _favour_serving() -> None:
    # What has been made so far stays for good: the collector need not look at it again.
    gc.collect()
    gc.freeze()
    gc.set_threshold(50_000, 20, 20)
    sys.setswitchinterval(0.0001)
