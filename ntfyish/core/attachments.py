"""Files that this server keeps for messages: taken in, handed out, deleted. For the dialects and `web.files`.

A file comes in piece by piece and is never in memory as a whole. It counts against its sender's limits from
its first byte; the message is published once it is complete and on disk, in one transaction with the row that
makes it known. What has no row (a crash, a refusal) is deleted at the next start or sweep.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import re
from collections.abc import AsyncIterable, AsyncIterator, Callable, Iterable, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from typing import Protocol

from ntfyish.core.daily_counts import DailyCounts
from ntfyish.core.ports import Clock
from ntfyish.model.errors import Forbidden, Invalid, LimitReached, NotFound, NtfyishError, Reason, TooLarge
from ntfyish.model.filenames import clean_name
from ntfyish.model.media_types import HEAD_BYTES, UNKNOWN, sniff
from ntfyish.model.message import FILE_MESSAGE, Attachment, Content, Draft, KeptFile, new_id
from ntfyish.model.people import Tier

_SWEEP_BATCH = 500
_DIGITS = re.compile(r"[0-9]{1,12}")
# A type that a sender may claim for what the bytes do not tell
_CLAIM = re.compile(r"(?:image|audio|video|font|application)/[a-z0-9][a-z0-9.+-]{0,80}")


class FileToWrite(Protocol):
    """A file on its way to the disk: `write` as often as needed, then `finish` or `discard`.

    Raises: Unavailable with STORAGE_FULL or STORAGE_BROKEN.
    """

    async def write(self, piece: bytes) -> None:
        """Append bytes."""

    async def finish(self) -> None:
        """Return when the file is on disk under its name."""

    async def discard(self) -> None:
        """Leave nothing of it, finished or not."""


class FileToRead(Protocol):
    """A file that is being read; `size_bytes` is that of the whole."""

    @property
    def size_bytes(self) -> int:
        """Its size."""

    def limit(self, start: int, end: int) -> None:
        """Read only the bytes from `start` up to `end`."""

    async def read(self) -> bytes:
        """Return some bytes, b"" at the end."""

    def close(self) -> None:
        """Let go of it; more than once does no harm."""


class FileStore(Protocol):
    """A place for files, each under the id of 12 letters and digits that it was made with."""

    async def create(self, id: str) -> FileToWrite:
        """Begin a file."""

    async def open_file(self, id: str) -> FileToRead | None:
        """Open a complete file; None if there is none."""

    async def remove(self, ids: Iterable[str]) -> None:
        """Delete files, complete or not, as far as they exist."""

    async def list_ids(self) -> Sequence[str]:
        """Return the ids of all files, complete or not."""


class AttachmentTable(Protocol):
    """What is known of the files, in the message database; rows are made by `ports.NewAttachment`.

    Writes are durable when the call returns. Raises: Unavailable as `MessageStore`.
    """

    async def find_file(self, id: str) -> KeptFile | None:
        """Return the file of that id if one of its messages still exists."""

    async def known_files(self, ids: Sequence[str]) -> set[str]:
        """Return those of `ids` that have a row."""

    async def file_totals(self) -> Mapping[str, int]:
        """Return the bytes of all files by owner."""

    async def expire_files(self, now: float, limit: int) -> Sequence[KeptFile]:
        """Delete at most `limit` rows of files that have expired, and return them."""

    async def forget_lost_files(self, after: str, limit: int) -> tuple[Sequence[KeptFile], str]:
        """Look at the next `limit` rows after an id, and delete those whose messages are all gone.

        Returns what was deleted, and the id to go on after ("" to begin anew).
        """

    async def url_key(self) -> bytes:
        """Return the secret for signed addresses, which is made once."""


@dataclass(frozen=True, slots=True, kw_only=True)
class AttachmentRules:
    """How the server is set up. Sizes are for visitors without a tier of their own.

    Attributes:
        base_url: what the addresses of files begin with.
        total_size_bytes: all files of the server.
        visitor_total_size_bytes: all files of one sender.
        visitor_bandwidth_bytes: what may be sent by one sender, and fetched of that, in a day (UTC).
        expiry_s: how long a file is kept.
        cache_duration_s: how long messages are kept; a file does not outlive its message.
        signed: addresses carry a signature, and nothing is handed out without.
    """

    base_url: str
    file_size_bytes: int = 15 * 1024**2
    total_size_bytes: int = 5 * 1024**3
    visitor_total_size_bytes: int = 100 * 1024**2
    visitor_bandwidth_bytes: int = 500 * 1024**2
    expiry_s: int = 3 * 3600
    cache_duration_s: int = 12 * 3600
    signed: bool = False


class Attachments:
    """Takes files in and hands them out. `open` before use.

    Args:
        bandwidth: bytes a day by owner.
        find_tier: returns the tier of an owner (a visitor's key), or None.
    """

    def __init__(
        self,
        rules: AttachmentRules,
        table: AttachmentTable,
        files: FileStore,
        clock: Clock,
        bandwidth: DailyCounts,
        find_tier: Callable[[str], Tier | None] = lambda owner: None,
    ) -> None:
        self._rules = rules
        self._table = table
        self._files = files
        self._clock = clock
        self._bandwidth = bandwidth
        self._find_tier = find_tier
        self._totals: dict[str, int] = {}
        self._total = 0
        self._pending: set[str] = set()  # files without a row yet
        self._url_key = b""
        self._looked_at = ""

    async def open(self) -> None:
        """Learn what there is, and delete what a crash has left."""
        self._totals = dict(await self._table.file_totals())
        self._total = sum(self._totals.values())
        self._url_key = await self._table.url_key()
        await self._remove_orphans()

    def allowed(self, owner: str) -> AttachmentRules:
        """Return what `owner` may do: its tier's numbers in the place of the server's."""
        return self.allowed_in(self._find_tier(owner))

    def allowed_in(self, tier: Tier | None) -> AttachmentRules:
        """Return what those in a tier may do; None for those without one."""
        rules = self._rules
        if tier is None:
            return rules
        return replace(
            rules,
            file_size_bytes=tier.attachment_file_size_bytes or rules.file_size_bytes,
            visitor_total_size_bytes=tier.attachment_total_size_bytes or rules.visitor_total_size_bytes,
            visitor_bandwidth_bytes=tier.attachment_bandwidth_bytes or rules.visitor_bandwidth_bytes,
            expiry_s=tier.attachment_expiry_s or rules.expiry_s,
        )

    @property
    def total_bytes(self) -> int:
        """The bytes of all files."""
        return self._total

    def used_bytes(self, owner: str) -> int:
        """Return the bytes of all files of `owner`."""
        return self._totals.get(owner, 0)

    def check_length(self, owner: str, length: int) -> None:
        """See whether a file of so many bytes can come in now.

        Raises:
            TooLarge: ATTACHMENT_LIMIT.
        """
        allowed = self.allowed(owner)
        if length > allowed.file_size_bytes or not self._has_room(owner, allowed, length):
            raise TooLarge(Reason.ATTACHMENT_LIMIT)

    @asynccontextmanager
    async def receiving(
        self,
        owner: str,
        draft: Draft,
        pieces: AsyncIterable[bytes],
        *,
        name: str = "",
        claimed_type: str = "",
    ) -> AsyncIterator[Draft]:
        """Take a file in, and lend the draft with it for being published.

        If the block ends by an error of ours, nothing was published, and nothing is left of the file.

        Args:
            owner: the key of the visitor whose limits it counts against.
            name: of the file; "" for one by its type.
            claimed_type: believed only where the bytes do not tell.

        Raises:
            Invalid: ATTACHMENT_EXPIRES_EARLY if the message is delivered after the file has expired; or
                what `pieces` raises.
            TooLarge: ATTACHMENT_LIMIT.
            Unavailable: the file cannot be stored.
        """
        allowed = self.allowed(owner)
        if draft.due_at > self._clock.now() + allowed.expiry_s:
            raise Invalid(Reason.ATTACHMENT_EXPIRES_EARLY)
        id = new_id()
        self._pending.add(id)
        file = None
        size = 0
        try:
            file = await self._files.create(id)
            used = (await self._bandwidth.fetch(owner)).used
            head = b""
            async for piece in pieces:
                more = len(piece)
                if (
                    size + more > allowed.file_size_bytes
                    or used + size + more > allowed.visitor_bandwidth_bytes
                    or not self._has_room(owner, allowed, more)
                ):
                    raise TooLarge(Reason.ATTACHMENT_LIMIT)
                size += more
                self._hold(owner, more)
                if len(head) < HEAD_BYTES:
                    head += piece[: HEAD_BYTES - len(head)]
                await file.write(piece)
            await file.finish()
        except BaseException:
            await self._abandon(id, owner, size, file)
            raise
        finally:
            if size:
                await self._charge(owner, size)
        try:
            yield self._complete(id, owner, draft, allowed, head, size, name, claimed_type)
        except NtfyishError:
            await self._abandon(id, owner, size, file)
            raise
        # Not after a cancelled publish: it may still be on its way into the store.
        self._pending.discard(id)

    async def find(self, id: str, expires: str, signature: str) -> KeptFile:
        """Return the file of an address.

        Args:
            expires, signature: what a signed address carries; "" for none.

        Raises:
            Forbidden: the signature is missing or wrong. It says nothing of whether there is such a file.
            NotFound: there is none, or no longer.
        """
        if self._rules.signed and not self._is_signed(id, expires, signature):
            raise Forbidden
        file = await self._table.find_file(id)
        if file is None or file.expires_at <= self._clock.now():
            raise NotFound
        return file

    async def open_file(self, file: KeptFile) -> FileToRead:
        """Open a file.

        Raises:
            NotFound: it is gone.
        """
        opened = await self._files.open_file(file.id)
        if opened is not None and opened.size_bytes == file.size_bytes:
            return opened
        if opened is not None:  # somebody has laid hands on it
            opened.close()
        raise NotFound

    async def charge_download(self, file: KeptFile, size_bytes: int) -> None:
        """Count bytes that are about to be handed out against their owner's day.

        Raises:
            LimitReached: BANDWIDTH_LIMIT.
        """
        tally = await self._bandwidth.fetch(file.owner)
        if tally.used + size_bytes > self.allowed(file.owner).visitor_bandwidth_bytes:
            raise LimitReached(Reason.BANDWIDTH_LIMIT, retry_after_s=self._bandwidth.left_s())
        await self._charge(file.owner, size_bytes)

    async def sweep(self) -> None:
        """Delete what has expired, what has lost its messages, and what never had any."""
        now = self._clock.now()
        while gone := await self._table.expire_files(now, _SWEEP_BATCH):
            await self._remove(gone)
        gone, self._looked_at = await self._table.forget_lost_files(self._looked_at, _SWEEP_BATCH)
        await self._remove(gone)
        await self._remove_orphans()

    def _complete(
        self,
        id: str,
        owner: str,
        draft: Draft,
        allowed: AttachmentRules,
        head: bytes,
        size: int,
        name: str,
        claimed_type: str,
    ) -> Draft:
        """Return the draft with the file, which is on disk."""
        name = clean_name(name)
        media_type = sniff(head, name)
        type = media_type.name
        claim = claimed_type.partition(";")[0].strip().lower()
        if media_type is UNKNOWN and _CLAIM.fullmatch(claim):
            type = claim
        name = name or f"attachment{media_type.extension}"
        expires_at = self._expires_at(draft, allowed)
        url = self._url(id, media_type.extension, expires_at)
        attachment = Attachment(name=name, url=url, type=type, size_bytes=size, expires_at=expires_at)
        kept = KeptFile(id=id, owner=owner, name=name, type=type, size_bytes=size, expires_at=expires_at)

        def with_file(content: Content) -> Content:
            message = content.message or FILE_MESSAGE + name
            return replace(content, attachment=attachment, message=message)

        variants = {topic: with_file(content) for topic, content in draft.variants.items()}
        return replace(draft, file=kept, content=with_file(draft.content), variants=variants)

    def _expires_at(self, draft: Draft, allowed: AttachmentRules) -> int:
        now = int(self._clock.now())
        expires_at = now + allowed.expiry_s
        kept_s = allowed.cache_duration_s
        if draft.content.ttl_s:
            kept_s = min(kept_s, draft.content.ttl_s)
        if draft.cache and kept_s:
            expires_at = min(expires_at, (draft.due_at or now) + kept_s)
        return expires_at

    def _url(self, id: str, extension: str, expires_at: int) -> str:
        url = f"{self._rules.base_url}/file/{id}{extension}"
        if self._rules.signed:
            url += f"?expires={expires_at}&signature={self._sign(id, str(expires_at))}"
        return url

    def _sign(self, id: str, expires: str) -> str:
        digest = hmac.digest(self._url_key, f"{id} {expires}".encode(), hashlib.sha256)
        return base64.urlsafe_b64encode(digest).rstrip(b"=").decode()

    def _is_signed(self, id: str, expires: str, signature: str) -> bool:
        if not _DIGITS.fullmatch(expires) or not expires.isascii():
            return False
        expected = self._sign(id, expires).encode()
        return hmac.compare_digest(expected, signature.encode("utf-8", "replace"))

    def _has_room(self, owner: str, allowed: AttachmentRules, more: int) -> bool:
        return (
            self.used_bytes(owner) + more <= allowed.visitor_total_size_bytes
            and self._total + more <= allowed.total_size_bytes
        )

    def _hold(self, owner: str, size: int) -> None:
        """Count bytes that are stored, or no longer if `size` is negative."""
        self._total += size
        left = self._totals.get(owner, 0) + size
        if left > 0:
            self._totals[owner] = left
        else:
            self._totals.pop(owner, None)

    async def _charge(self, owner: str, size: int) -> None:
        tally = await self._bandwidth.fetch(owner)
        self._bandwidth.postpone(self._bandwidth.add(tally, size))

    async def _abandon(self, id: str, owner: str, size: int, file: FileToWrite | None) -> None:
        self._hold(owner, -size)
        try:
            if file is not None:
                await file.discard()
        finally:
            self._pending.discard(id)

    async def _remove(self, gone: Sequence[KeptFile]) -> None:
        for file in gone:
            self._hold(file.owner, -file.size_bytes)
        if gone:
            await self._files.remove([file.id for file in gone])

    async def _remove_orphans(self) -> None:
        ids = await self._files.list_ids()
        # Taken after the list and before the look-up: what was pending meanwhile is in one of them.
        pending = set(self._pending)
        candidates = [id for id in ids if id not in pending]
        for start in range(0, len(candidates), _SWEEP_BATCH):
            batch = candidates[start : start + _SWEEP_BATCH]
            known = await self._table.known_files(batch)
            await self._files.remove([id for id in batch if id not in known])
