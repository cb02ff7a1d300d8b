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
        (
            """CREATE TABLE receipts (
                 id TEXT PRIMARY KEY NOT NULL,
                 owner TEXT NOT NULL,
                 secret TEXT NOT NULL,
                 started_at REAL NOT NULL,
                 retry_s INTEGER NOT NULL,
                 expires_at INTEGER NOT NULL,
                 ends_at REAL NOT NULL,
                 next_at REAL NOT NULL,
                 sends INTEGER NOT NULL,
                 last_delivered_at INTEGER NOT NULL,
                 acknowledged_at INTEGER NOT NULL,
                 acknowledged_by TEXT NOT NULL,
                 acknowledged_by_device TEXT NOT NULL,
                 cancelled_at INTEGER NOT NULL,
                 called_back_at INTEGER NOT NULL,
                 callback TEXT NOT NULL,
                 tags TEXT NOT NULL,
                 addressees TEXT NOT NULL,
                 line BLOB NOT NULL)""",
            "CREATE INDEX receipts_by_next ON receipts (next_at) WHERE next_at > 0",
            "CREATE INDEX receipts_by_start ON receipts (started_at)",
            """CREATE TABLE receipt_tags (
                 owner TEXT NOT NULL,
                 tag TEXT NOT NULL,
                 receipt TEXT NOT NULL REFERENCES receipts (id) ON DELETE CASCADE,
                 PRIMARY KEY (owner, tag, receipt)) WITHOUT ROWID""",
            "CREATE INDEX receipt_tags_by_receipt ON receipt_tags (receipt)",
            """CREATE TABLE errands (
                 entry INTEGER PRIMARY KEY AUTOINCREMENT,
                 kind TEXT NOT NULL,
                 key TEXT NOT NULL,
                 destination TEXT NOT NULL,
                 payload BLOB NOT NULL,
                 created_at REAL NOT NULL,
                 due REAL NOT NULL,
                 attempts INTEGER NOT NULL DEFAULT 0,
                 UNIQUE (kind, key))""",
            "CREATE INDEX errands_by_due ON errands (due)",
        ),
        (
            """CREATE TABLE client_queue (
                 device TEXT NOT NULL,
                 id INTEGER NOT NULL,
                 umid INTEGER NOT NULL,
                 queued INTEGER NOT NULL,
                 expires INTEGER NOT NULL,
                 receipt TEXT NOT NULL,
                 line BLOB NOT NULL,
                 PRIMARY KEY (device, id)) WITHOUT ROWID""",
            "CREATE INDEX client_queue_by_expires ON client_queue (expires)",
            """CREATE TABLE client_queue_heads (
                 device TEXT PRIMARY KEY NOT NULL,
                 last_id INTEGER NOT NULL) WITHOUT ROWID""",
        ),
        (
            """CREATE TABLE attachments (
                 id TEXT PRIMARY KEY NOT NULL,
                 owner TEXT NOT NULL,
                 name TEXT NOT NULL,
                 type TEXT NOT NULL,
                 size INTEGER NOT NULL,
                 expires INTEGER NOT NULL)""",
            "CREATE INDEX attachments_by_expires ON attachments (expires)",
            """CREATE TABLE attachment_messages (
                 attachment TEXT NOT NULL,
                 message TEXT NOT NULL,
                 PRIMARY KEY (attachment, message)) WITHOUT ROWID""",
        ),
        (
            """CREATE TABLE glances (
                 topic TEXT NOT NULL,
                 device TEXT NOT NULL,
                 state BLOB NOT NULL,
                 PRIMARY KEY (topic, device)) WITHOUT ROWID""",
        ),
        (
            """CREATE TABLE pushed_messages (
                 entry INTEGER PRIMARY KEY,
                 id TEXT NOT NULL UNIQUE,
                 request TEXT NOT NULL,
                 owner TEXT NOT NULL,
                 topic TEXT NOT NULL,
                 collapse_id TEXT NOT NULL,
                 created_at REAL NOT NULL,
                 expires_at INTEGER NOT NULL,
                 line BLOB NOT NULL)""",
            "CREATE INDEX pushed_messages_by_request ON pushed_messages (request) WHERE request <> ''",
            "CREATE INDEX pushed_messages_by_collapse_id ON pushed_messages (collapse_id, topic)",
            "CREATE INDEX pushed_messages_by_created_at ON pushed_messages (created_at)",
            """CREATE TABLE pushes (
                 entry INTEGER PRIMARY KEY,
                 message INTEGER NOT NULL REFERENCES pushed_messages (entry) ON DELETE CASCADE,
                 device TEXT NOT NULL,
                 destination TEXT NOT NULL,
                 kind TEXT NOT NULL,
                 name TEXT NOT NULL,
                 state TEXT NOT NULL,
                 reason TEXT NOT NULL DEFAULT '',
                 attempts INTEGER NOT NULL DEFAULT 0,
                 due REAL NOT NULL,
                 changed_at REAL NOT NULL,
                 UNIQUE (message, device))""",
            "CREATE INDEX pushes_by_due ON pushes (destination, due) WHERE state = 'pending'",
            "CREATE INDEX pushes_by_message ON pushes (message) WHERE state = 'pending'",
        ),
        (
            "DROP INDEX errands_by_due",
            "CREATE INDEX errands_by_kind ON errands (kind, due)",
        ),
        ("ALTER TABLE scheduled ADD COLUMN wishes TEXT NOT NULL DEFAULT ''",),
    ),
)

# A rollback journal, not a write-ahead log: the command line writes to this file beside the server, maybe as
# another user, whose log files the server could not open afterwards; and SQLite before 3.51.3 can damage a
# database whose log two processes write and check-point at once. It is small and seldom written.
# `recipients` is the one name space of what messages can be addressed to.
# `holder` is the account of an access entry that is not about everybody, so that it can be a foreign key.
# `revision` grows with every change of anything but `token_uses`, which are written all the time.
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
        (
            """CREATE TABLE tiers (
                 code TEXT PRIMARY KEY NOT NULL,
                 name TEXT NOT NULL,
                 message_limit INTEGER NOT NULL,
                 message_expiry_s INTEGER NOT NULL,
                 email_limit INTEGER NOT NULL,
                 call_limit INTEGER NOT NULL,
                 reservation_limit INTEGER NOT NULL,
                 attachment_file_size_bytes INTEGER NOT NULL,
                 attachment_total_size_bytes INTEGER NOT NULL,
                 attachment_expiry_s INTEGER NOT NULL,
                 attachment_bandwidth_bytes INTEGER NOT NULL)""",
            "ALTER TABLE accounts ADD COLUMN tier TEXT REFERENCES tiers (code) ON DELETE SET NULL",
            "ALTER TABLE accounts ADD COLUMN sync_topic TEXT NOT NULL DEFAULT ''",
            "ALTER TABLE accounts ADD COLUMN preferences TEXT NOT NULL DEFAULT ''",
            "ALTER TABLE accounts ADD COLUMN created_at INTEGER NOT NULL DEFAULT 0",
            "CREATE INDEX accounts_by_tier ON accounts (tier)",
            "CREATE UNIQUE INDEX accounts_by_sync_topic ON accounts (sync_topic) WHERE sync_topic <> ''",
            "ALTER TABLE access_tokens ADD COLUMN permissions TEXT NOT NULL DEFAULT 'read-write'",
            "ALTER TABLE access_tokens ADD COLUMN patterns TEXT NOT NULL DEFAULT '[]'",
            "ALTER TABLE access_tokens ADD COLUMN created_at INTEGER NOT NULL DEFAULT 0",
            """CREATE TABLE token_uses (
                 token_hash TEXT PRIMARY KEY NOT NULL
                   REFERENCES access_tokens (token_hash) ON DELETE CASCADE,
                 used_at INTEGER NOT NULL,
                 origin TEXT NOT NULL) WITHOUT ROWID""",
            """CREATE TABLE access_entries (
                 account TEXT NOT NULL,
                 pattern TEXT NOT NULL,
                 access TEXT NOT NULL,
                 owner TEXT REFERENCES accounts (name) ON DELETE CASCADE,
                 declared INTEGER NOT NULL,
                 holder TEXT AS (nullif(account, '*')) REFERENCES accounts (name) ON DELETE CASCADE,
                 PRIMARY KEY (account, pattern)) WITHOUT ROWID""",
            "CREATE INDEX access_entries_by_holder ON access_entries (holder)",
            "CREATE INDEX access_entries_by_owner ON access_entries (owner)",
            """CREATE TABLE delivery_groups (
                 key TEXT PRIMARY KEY NOT NULL,
                 name TEXT NOT NULL,
                 account TEXT NOT NULL REFERENCES accounts (name) ON DELETE CASCADE,
                 declared INTEGER NOT NULL)""",
            "CREATE INDEX delivery_groups_by_account ON delivery_groups (account)",
            """CREATE TABLE group_members (
                 place INTEGER PRIMARY KEY,
                 group_key TEXT NOT NULL REFERENCES delivery_groups (key) ON DELETE CASCADE,
                 account TEXT NOT NULL REFERENCES accounts (name) ON DELETE CASCADE,
                 device TEXT NOT NULL,
                 memo TEXT NOT NULL,
                 enabled INTEGER NOT NULL,
                 UNIQUE (group_key, account, device))""",
            "CREATE INDEX group_members_by_account ON group_members (account)",
            "DROP VIEW recipients",
            """CREATE VIEW recipients (key) AS
                 SELECT user_key FROM accounts
                 UNION ALL SELECT key FROM topic_keys
                 UNION ALL SELECT key FROM delivery_groups""",
            "CREATE TABLE revision (number INTEGER NOT NULL)",
            "INSERT INTO revision VALUES (1)",
        ),
        (
            "ALTER TABLE accounts ADD COLUMN totp_secret TEXT NOT NULL DEFAULT ''",
            "ALTER TABLE accounts ADD COLUMN quiet_hours TEXT NOT NULL DEFAULT ''",
            "ALTER TABLE accounts ADD COLUMN time_zone TEXT NOT NULL DEFAULT ''",
            "ALTER TABLE accounts ADD COLUMN default_sound TEXT NOT NULL DEFAULT ''",
            """CREATE TABLE client_secrets (
                 secret_hash TEXT PRIMARY KEY NOT NULL,
                 account TEXT NOT NULL REFERENCES accounts (name) ON DELETE CASCADE,
                 created_at INTEGER NOT NULL)""",
            "CREATE INDEX client_secrets_by_account ON client_secrets (account)",
            """CREATE TABLE devices (
                 id TEXT PRIMARY KEY NOT NULL,
                 account TEXT NOT NULL REFERENCES accounts (name) ON DELETE CASCADE,
                 name TEXT NOT NULL,
                 secret_hash TEXT NOT NULL,
                 created_at INTEGER NOT NULL,
                 UNIQUE (account, name))""",
        ),
        (
            "ALTER TABLE accounts ADD COLUMN emails TEXT NOT NULL DEFAULT '[]'",
            """CREATE TABLE mail_aliases (
                 name TEXT PRIMARY KEY NOT NULL,
                 account TEXT NOT NULL REFERENCES accounts (name) ON DELETE CASCADE,
                 sound TEXT NOT NULL,
                 priority INTEGER NOT NULL,
                 device TEXT NOT NULL,
                 ignore_timestamps INTEGER NOT NULL,
                 declared INTEGER NOT NULL)""",
            "CREATE INDEX mail_aliases_by_account ON mail_aliases (account)",
        ),
        (
            """CREATE TABLE subscriptions (
                 code TEXT PRIMARY KEY NOT NULL,
                 app TEXT NOT NULL REFERENCES apps (token) ON DELETE CASCADE,
                 declared INTEGER NOT NULL)""",
            "CREATE INDEX subscriptions_by_app ON subscriptions (app)",
            """CREATE TABLE subscribers (
                 key TEXT PRIMARY KEY NOT NULL,
                 code TEXT NOT NULL REFERENCES subscriptions (code) ON DELETE CASCADE,
                 account TEXT NOT NULL REFERENCES accounts (name) ON DELETE CASCADE,
                 device TEXT NOT NULL,
                 sound TEXT NOT NULL,
                 UNIQUE (code, account))""",
            "CREATE INDEX subscribers_by_account ON subscribers (account)",
            """CREATE TABLE team_tokens (
                 token_hash TEXT PRIMARY KEY NOT NULL,
                 name TEXT NOT NULL,
                 hint TEXT NOT NULL,
                 created_at INTEGER NOT NULL)""",
            """CREATE TABLE custom_sounds (
                 name TEXT PRIMARY KEY NOT NULL,
                 account TEXT NOT NULL REFERENCES accounts (name) ON DELETE CASCADE,
                 label TEXT NOT NULL,
                 kind TEXT NOT NULL)""",
            "CREATE INDEX custom_sounds_by_account ON custom_sounds (account)",
            """CREATE TABLE custom_sound_files (
                 name TEXT PRIMARY KEY NOT NULL REFERENCES custom_sounds (name) ON DELETE CASCADE,
                 data BLOB NOT NULL)""",
            "DROP VIEW recipients",
            """CREATE VIEW recipients (key) AS
                 SELECT user_key FROM accounts
                 UNION ALL SELECT key FROM topic_keys
                 UNION ALL SELECT key FROM delivery_groups
                 UNION ALL SELECT key FROM subscribers""",
        ),
        (
            """CREATE TABLE push_devices (
                 id TEXT PRIMARY KEY NOT NULL,
                 kind TEXT NOT NULL,
                 account TEXT REFERENCES accounts (name) ON DELETE CASCADE,
                 name TEXT NOT NULL,
                 topics TEXT NOT NULL,
                 token TEXT NOT NULL,
                 bundle_id TEXT NOT NULL,
                 sandbox INTEGER NOT NULL,
                 auth TEXT NOT NULL,
                 p256dh TEXT NOT NULL,
                 address TEXT NOT NULL,
                 registered_at INTEGER NOT NULL,
                 warned_at INTEGER NOT NULL,
                 dead_at INTEGER NOT NULL,
                 dead_reason TEXT NOT NULL,
                 declared INTEGER NOT NULL,
                 UNIQUE (kind, token, bundle_id))""",
            "CREATE UNIQUE INDEX push_devices_by_name ON push_devices (account, name) WHERE name <> ''",
        ),
    ),
)
