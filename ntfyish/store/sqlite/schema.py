"""The tables of both databases, as the steps that lead from an empty file to the newest version.

A step is never changed once it is released: append another one. `migration` runs them.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Callable
from dataclasses import dataclass

Step = tuple[str, ...] | Callable[[sqlite3.Connection], None]


@dataclass(frozen=True, slots=True, kw_only=True)
class Schema:
    """What a file must be, and how it comes to be it.

    Attributes:
        name: what the file is, for messages.
        application_id: SQLite's mark of the owning application, at byte 68 of the file.
        journal: SQLite's journal mode.
        steps: each leads from version N to N + 1; SQL statements, or a function.
    """

    name: str
    application_id: int
    journal: str
    steps: tuple[Step, ...]


# `messages_by_topic` holds (topic, rowid), and the rowid is `seq`: naming `seq` would store it twice.
# `stored` never falls as `seq` rises, so that a moment is found by halving, without an index.
MESSAGES = Schema(
    name="message database",
    application_id=0x6E74666D,  # "ntfm"
    journal="WAL",
    steps=(
        (
            """CREATE TABLE messages (
                 seq INTEGER PRIMARY KEY,
                 id TEXT NOT NULL UNIQUE,
                 topic TEXT NOT NULL,
                 stored INTEGER NOT NULL,
                 expires INTEGER NOT NULL,
                 line BLOB NOT NULL)""",
            "CREATE INDEX messages_by_topic ON messages (topic)",
            "CREATE INDEX messages_by_expires ON messages (expires)",
            """CREATE TABLE scheduled (
                 entry INTEGER PRIMARY KEY,
                 id TEXT NOT NULL UNIQUE,
                 topic TEXT NOT NULL,
                 sequence_id TEXT NOT NULL,
                 due INTEGER NOT NULL,
                 expires INTEGER NOT NULL,
                 line BLOB NOT NULL)""",
            "CREATE INDEX scheduled_by_due ON scheduled (due)",
            "CREATE INDEX scheduled_by_topic ON scheduled (topic, due)",
            "CREATE INDEX scheduled_by_sequence ON scheduled (topic, sequence_id)",
            """CREATE TABLE counters (
                 subject TEXT NOT NULL,
                 period TEXT NOT NULL,
                 amount INTEGER NOT NULL,
                 PRIMARY KEY (subject, period)) WITHOUT ROWID""",
            "CREATE TABLE meta (name TEXT PRIMARY KEY, value INTEGER NOT NULL) WITHOUT ROWID",
        ),
    ),
)

# A rollback journal, not a write-ahead log: the command line writes to this file beside the server, maybe as
# another user, whose log files the server could not open afterwards; and SQLite before 3.51.3 can damage a
# database whose log two processes write and check-point at once. It is small and seldom written.
# `recipients` is the one name space of what messages can be addressed to.
PEOPLE = Schema(
    name="people database",
    application_id=0x6E746670,  # "ntfp"
    journal="DELETE",
    steps=(
        (
            """CREATE TABLE accounts (
                 name TEXT PRIMARY KEY NOT NULL,
                 user_key TEXT NOT NULL UNIQUE,
                 password_hash TEXT NOT NULL,
                 role TEXT NOT NULL,
                 email TEXT NOT NULL,
                 devices TEXT NOT NULL,
                 stream INTEGER NOT NULL,
                 declared INTEGER NOT NULL)""",
            """CREATE TABLE apps (
                 token TEXT PRIMARY KEY NOT NULL,
                 name TEXT NOT NULL,
                 account TEXT NOT NULL REFERENCES accounts (name) ON DELETE CASCADE,
                 flavour TEXT NOT NULL,
                 monthly_limit INTEGER NOT NULL,
                 enabled INTEGER NOT NULL,
                 declared INTEGER NOT NULL)""",
            "CREATE INDEX apps_by_account ON apps (account)",
            """CREATE TABLE topic_keys (
                 key TEXT PRIMARY KEY NOT NULL,
                 topic TEXT NOT NULL,
                 declared INTEGER NOT NULL)""",
            """CREATE TABLE access_tokens (
                 token_hash TEXT PRIMARY KEY NOT NULL,
                 account TEXT NOT NULL REFERENCES accounts (name) ON DELETE CASCADE,
                 label TEXT NOT NULL,
                 hint TEXT NOT NULL,
                 expires_at INTEGER NOT NULL,
                 declared INTEGER NOT NULL)""",
            "CREATE INDEX access_tokens_by_account ON access_tokens (account)",
            """CREATE VIEW recipients (key) AS
                 SELECT user_key FROM accounts UNION ALL SELECT key FROM topic_keys""",
        ),
    ),
)
