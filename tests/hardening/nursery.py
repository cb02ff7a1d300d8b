"""Starts server processes quickly: imports the program once, then forks for each.

Run as a program by `process.nursery`, which talks to it over the socket that is its standard input: a JSON
object and a descriptor for the server's output ask for a process, ``{"reap": pid}`` for an exit code.
A forked server is a process of its own in every respect; it only saves the second that imports take.
"""

from __future__ import annotations

import ctypes
import json
import os
import resource
import socket
import struct
import sys
from collections.abc import Sequence

from ntfyish import app
from ntfyish.cli import main, serve
from ntfyish.store.sqlite import failures

PRELOADED = (app, serve, failures)


def run(arguments: Sequence[str], output: int, limits: dict[str, int], environ: dict[str, str]) -> int:
    """Be the server; return the exit code."""
    os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
    os.dup2(output, 1)
    os.dup2(output, 2)
    os.close(output)
    os.environ.update(environ)
    drop_privileges()
    for name, limit in limits.items():
        resource.setrlimit(getattr(resource, name), (limit, limit))
    try:
        main(list(arguments), prog_name="ntfyish")
    except SystemExit as end:
        return end.code if isinstance(end.code, int) else 1
    return 0


def drop_privileges() -> None:
    """Let file modes hold for us even if we are root, as they do for everybody else."""
    if os.geteuid() == 0 and sys.platform == "linux":
        version_3, this_process = 0x20080522, 0
        nothing = bytes(24)
        ctypes.CDLL(None).capset(struct.pack("Ii", version_3, this_process), nothing)


def serve_requests(requests: socket.socket) -> None:
    """Answer requests until the other side has gone."""
    while True:
        data, descriptors, _, _ = socket.recv_fds(requests, 65536, 1)
        if not data:
            return
        request = json.loads(data)
        if "reap" in request:
            _, status = os.waitpid(request["reap"], 0)
            answer = os.waitstatus_to_exitcode(status)
        else:
            (output,) = descriptors
            answer = os.fork()
            if answer == 0:
                code = 1
                try:
                    requests.close()
                    code = run(request["arguments"], output, request["limits"], request["environ"])
                    sys.stdout.flush()
                    sys.stderr.flush()
                finally:
                    os._exit(code)
            os.close(output)
        requests.sendall(json.dumps(answer).encode())


if __name__ == "__main__":
    serve_requests(socket.socket(fileno=os.dup(0)))
