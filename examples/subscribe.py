"""Print the messages of a topic as they come, with nothing but the standard library.

A connection that breaks is opened again, from the last message on, so that none is lost.

    python subscribe.py alerts
"""

import http.client
import json
import os
import sys
import time
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Iterator

# The server sends a keepalive every 45 seconds. A connection that is silent for longer is dead.
SILENCE_S = 77


def lines(server: str, topic: str, since: str) -> Iterator[dict]:
    """Yield every event of one connection."""
    query = urllib.parse.urlencode({"since": since})
    with urllib.request.urlopen(f"{server}/{topic}/json?{query}", timeout=SILENCE_S) as stream:
        for line in stream:
            if line.endswith(b"\n"):  # the last line of a broken connection may be half a line
                yield json.loads(line)


def messages(server: str, topic: str, since: str = "none") -> Iterator[dict]:
    """Yield the messages, each once, without end."""
    pause_s = 1
    while True:
        try:
            for event in lines(server, topic, since):
                pause_s = 1
                if event["event"] == "message":
                    if event.get("expires"):  # else the server does not keep it, and knows no "after it"
                        since = event["id"]
                    yield event
                elif since == "none":
                    since = str(event["time"])  # from here on, nothing may be missed
        except urllib.error.HTTPError as error:
            if error.code < 500 and error.code != 429:
                raise
        except (OSError, http.client.HTTPException) as error:
            print(f"connection lost: {error}", file=sys.stderr)
        time.sleep(pause_s)
        pause_s = min(30, pause_s * 2)


def main() -> None:
    server = os.environ.get("SERVER", "http://127.0.0.1:8080")
    for message in messages(server, sys.argv[1], os.environ.get("SINCE", "none")):
        print(message["topic"], message.get("title", ""), message["message"], sep="\t", flush=True)


if __name__ == "__main__":
    try:
        main()
    except KeyboardInterrupt:
        pass
