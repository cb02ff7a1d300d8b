"""What strangers or a full disk can cause at will does not fill the log."""

from __future__ import annotations

import logging
from pathlib import Path

from ntfyish.logs import logging_to


def test_the_same_complaint_is_logged_a_few_times_a_minute_and_then_counted(tmp_path: Path) -> None:
    log = logging.getLogger("ntfyish.test")
    file = tmp_path / "log"

    def say(template: str, at: float, level: int = logging.WARNING) -> None:
        record = log.makeRecord(log.name, level, "", 0, template, (at,), None)
        record.created = at
        log.handle(record)

    with logging_to(file, level="info", format="text"):
        for second in range(100):
            say("trouble at %d", 1000 + second / 2)
            say("other trouble at %d", 1000)
            say("news at %d", 1000, logging.INFO)
        say("trouble at %d", 1070)
        say("trouble at %d", 500)  # the clock was put back
    lines = [line.split(": ", 1)[1] for line in file.read_text().splitlines()]
    assert [line for line in lines if line.startswith("trouble")] == [
        *[f"trouble at {1000 + second // 2}" for second in range(5)],
        "trouble at 1070 (and 95 more like this)",
        "trouble at 500",
    ]
    assert sum(line.startswith("other") for line in lines) == 5
    assert sum(line.startswith("news") for line in lines) == 100
