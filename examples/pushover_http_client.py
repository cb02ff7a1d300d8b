"""Send a message with Pushover's API and nothing but the standard library.

Works with Pushover itself, too: only the host differs.

    APP_TOKEN=... USER_KEY=... python pushover_http_client.py "Backup done"
"""

import http.client
import json
import os
import sys
import urllib.parse


def send(server: str, token: str, user: str, message: str, **more: str) -> tuple[int, dict]:
    """Return the HTTP status and the decoded answer."""
    url = urllib.parse.urlsplit(server)
    connect = http.client.HTTPSConnection if url.scheme == "https" else http.client.HTTPConnection
    connection = connect(url.hostname, url.port, timeout=30)
    try:
        connection.request(
            "POST",
            url.path.rstrip("/") + "/1/messages.json",
            urllib.parse.urlencode({"token": token, "user": user, "message": message, **more}),
            {"Content-Type": "application/x-www-form-urlencoded"},
        )
        response = connection.getresponse()
        return response.status, json.loads(response.read())
    finally:
        connection.close()


def main() -> int:
    status, answer = send(
        os.environ.get("SERVER", "http://127.0.0.1:8080"),
        os.environ["APP_TOKEN"],
        os.environ["USER_KEY"],
        " ".join(sys.argv[1:]) or "hello world",
        title="From Python",
        priority="1",
    )
    if status == 200 and answer["status"] == 1:
        print("sent, request", answer["request"])
        return 0
    # 4xx: the same request will never work, so do not repeat it. 5xx: try again, after 5 seconds or more.
    print(f"HTTP {status}:", "; ".join(answer.get("errors", [])), file=sys.stderr)
    return 1 if status < 500 else 3


if __name__ == "__main__":
    sys.exit(main())
