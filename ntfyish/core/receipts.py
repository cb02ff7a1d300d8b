"""Emergencies: repeats them until somebody acknowledges, and answers for their receipts.

The timetable calls `repeat` when a send is due. Every change goes through the pure transitions of
`model.receipt` in the writer's transaction, so an acknowledgement and a repeat cannot cross.
"""

from __future__ import annotations

import dataclasses
import hmac
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from urllib.parse import urlsplit

import orjson

from ntfyish.core.counters import Counters
from ntfyish.core.directory import Directory
from ntfyish.core.passwords import hash_access_token
from ntfyish.core.ports import Clock, Errand, Post, ReceiptStore, Transition
from ntfyish.core.publisher import Publisher
from ntfyish.model.errors import NotFound, Reason
from ntfyish.model.people import Account, App, Group
from ntfyish.model.receipt import KEPT_S, Addressee, Receipt, State

CALLBACK = "callback"
STREAM_DEVICE = "stream"

_BATCH = 100  # what is encoded at a time must not hold up the event loop
_PURGE_BATCH = 500


@dataclass(frozen=True, slots=True)
class _Acknowledger:
    """Who acknowledges: a user key, or "" for a reader of a topic that is nobody's inbox."""

    user_key: str
    device: str


def app_owner(app: App) -> str:
    """Return the owner of what an app has sent. Its token is not kept with every receipt, only a hash."""
    return f"app:{hash_access_token(app.token)}"


def account_owner(account: Account | None) -> str:
    """Return the owner of what an account has published; "" for nobody in particular."""
    return "" if account is None else f"account:{account.name}"


def acknowledging(now: float, user_key: str, device: str) -> Callable[[Receipt], Transition | None]:
    """Return what acknowledges a receipt and enters its callback; None comes of those it is too late for.

    Args:
        user_key: who acknowledges; "" for a reader of a topic that is nobody's inbox.
    """

    def transition(receipt: Receipt) -> Transition | None:
        after = receipt.acknowledge(now, user_key, device)
        if after is None or after is receipt:
            return None if after is None else Transition(receipt)
        return Transition(after, (), (_callback(after, now),) if after.callback else ())

    return transition


def cancelling(now: float) -> Callable[[Receipt], Transition | None]:
    """Return what cancels a receipt; None comes of those that are not pending any more."""

    def transition(receipt: Receipt) -> Transition | None:
        after = receipt.cancel(now)
        return None if after is receipt else Transition(after)

    return transition


class Receipts:
    """The one service through which receipts are read and changed.

    Args:
        errand_due: called with the Unix seconds at which there is something in the outbox.
        counters: where it is counted what becomes of them.
    """

    def __init__(
        self,
        store: ReceiptStore,
        publisher: Publisher,
        directory: Directory,
        clock: Clock,
        *,
        errand_due: Callable[[float], None],
        counters: Counters | None = None,
    ) -> None:
        self._counters = counters or Counters()
        self._store = store
        self._publisher = publisher
        self._directory = directory
        self._clock = clock
        self._errand_due = errand_due

    async def find(self, id: str, owner: str) -> Receipt:
        """Return a receipt of the owner (`app_owner`, `account_owner`).

        What nobody in particular has published belongs to whoever knows its name.

        Raises:
            NotFound: RECEIPT_UNKNOWN: there is none, it is somebody else's, or older than a week.
        """
        receipt = await self._find(id)
        if receipt.owner and not hmac.compare_digest(receipt.owner.encode(), owner.encode()):
            raise NotFound(Reason.RECEIPT_UNKNOWN)
        return receipt

    async def cancel(self, id: str, owner: str) -> Receipt:
        """Stop the repeats of the owner's receipt; it is no error if there are none any more.

        Raises:
            NotFound: as `find`.
        """
        receipt = await self.find(id, owner)
        await self._cancel([receipt.id])
        return receipt

    async def cancel_by_secret(self, id: str, secret: str) -> Receipt:
        """Stop the repeats of a receipt, for whoever knows its own secret (the command line).

        Raises:
            NotFound: RECEIPT_UNKNOWN, also if the secret is another.
        """
        receipt = await self._find(id)
        if not hmac.compare_digest(receipt.secret.encode(), secret.encode()):
            raise NotFound(Reason.RECEIPT_UNKNOWN)
        await self._cancel([receipt.id])
        return receipt

    async def cancel_by_tag(self, tag: str, owner: str) -> int:
        """Stop the repeats of all of the owner's receipts with that tag; return how many were pending."""
        return await self._cancel(await self._store.tagged_receipts(owner, tag)) if owner else 0

    async def acknowledge(self, id: str, account_name: str, device: str) -> Receipt:
        """Acknowledge for an account, by one of its devices; the first one to do so stays.

        Raises:
            NotFound: RECEIPT_UNKNOWN: there is none, the account does not receive it, or it is too late.
        """
        receipt = await self._find(id)
        account = self._directory.find_account(account_name)
        if account is None or all(one.topic != account.user_key for one in receipt.addressees):
            raise NotFound(Reason.RECEIPT_UNKNOWN)
        return await self._acknowledge(id, _Acknowledger(account.user_key, device))

    async def find_by_link(self, id: str, secret: str) -> Receipt:
        """Return the receipt that one of its readers' secrets belongs to.

        Raises:
            NotFound: RECEIPT_UNKNOWN, also if the secret is nobody's.
        """
        receipt = await self._find(id)
        _addressee(receipt, secret)
        return receipt

    async def acknowledge_by_link(self, id: str, secret: str) -> Receipt:
        """Acknowledge for the reader whose secret that is.

        Raises:
            NotFound: RECEIPT_UNKNOWN: there is none, the secret is nobody's, or it is too late.
        """
        topic = _addressee(await self._find(id), secret).topic
        owner = self._directory.find_inbox_owner(topic)
        acknowledger = _Acknowledger("", "") if owner is None else _Acknowledger(topic, STREAM_DEVICE)
        return await self._acknowledge(id, acknowledger)

    async def repeat(self, now: float) -> float | None:
        """Send again what is due; return when the next is, in Unix seconds."""
        while True:
            due = await self._store.due_receipts(now, _BATCH)
            if due:
                await self._send_again(due)
            if len(due) < _BATCH:
                return await self._store.next_send()

    async def purge(self) -> None:
        """Delete the receipts of more than a week ago."""
        before = self._clock.now() - KEPT_S
        while await self._store.purge_receipts(before, _PURGE_BATCH) == _PURGE_BATCH:
            pass

    async def _find(self, id: str) -> Receipt:
        receipt = await self._store.find_receipt(id)
        if receipt is None or self._clock.now() >= receipt.purge_at:
            raise NotFound(Reason.RECEIPT_UNKNOWN)
        return receipt

    async def _cancel(self, ids: Sequence[str]) -> int:
        transition = cancelling(self._clock.now())
        changed = await self._store.change_receipts(ids, transition) if ids else ()
        cancelled = sum(receipt is not None for receipt in changed)
        self._counters.receipts_cancelled += cancelled
        return cancelled

    async def _acknowledge(self, id: str, by: _Acknowledger) -> Receipt:
        now = self._clock.now()
        acknowledge = acknowledging(now, by.user_key, by.device)
        is_first = False

        def transition(receipt: Receipt) -> Transition | None:
            nonlocal is_first
            after = acknowledge(receipt)
            is_first = after is not None and after.receipt is not receipt  # of its last run
            return after

        (receipt,) = await self._store.change_receipts([id], transition)
        if receipt is None:
            raise NotFound(Reason.RECEIPT_UNKNOWN)
        self._counters.receipts_acknowledged += is_first
        if receipt.callback:
            self._errand_due(now)
        return receipt

    async def _send_again(self, due: Sequence[Receipt]) -> None:
        now = self._clock.now()
        groups = await self._find_groups(due)
        sends = {one.id: self._posts(one, now, groups) if one.due(now) else () for one in due}

        def transition(receipt: Receipt) -> Transition | None:
            if receipt.due(now):
                return Transition(receipt.sent(now), sends[receipt.id])
            if receipt.next_at > now:
                return None
            return Transition(dataclasses.replace(receipt, next_at=0))

        ids = list(sends)
        changed = await self._store.change_receipts(ids, transition, sum(map(len, sends.values())))
        posts = [post for send in sends.values() for post in send]
        if any(isinstance(extra, Errand) for post in posts for extra in post.extras):
            self._errand_due(now)
        for receipt in changed:
            state = None if receipt is None else receipt.state(now)
            if receipt is not None and receipt.sends > 1 and state is State.PENDING:
                self._counters.receipt_sends += 1
                self._publisher.announce_unkept(sends[receipt.id])
            elif state is State.EXPIRED:
                self._counters.receipts_expired += 1

    def _posts(self, receipt: Receipt, now: float, groups: dict[str, Group | None]) -> Sequence[Post]:
        addressees = [one for one in receipt.addressees if self._is_reached(one, groups)]
        return self._publisher.posts_again(receipt, addressees, now)

    async def _find_groups(self, receipts: Sequence[Receipt]) -> dict[str, Group | None]:
        keys = {one.group for receipt in receipts for one in receipt.addressees if one.group}
        found = {key: await self._directory.find_by_key(key) for key in keys}
        return {key: group if isinstance(group, Group) else None for key, group in found.items()}

    def _is_reached(self, addressee: Addressee, groups: dict[str, Group | None]) -> bool:
        """Whether an addressee has not been switched off since, itself or in its group."""
        owner = self._directory.find_inbox_owner(addressee.topic)
        if owner is None:
            return not addressee.group
        directory = self._directory
        if not (owner.stream or directory.client_devices(owner) or directory.push_names(owner)):
            return False
        if not addressee.group:
            return True
        group = groups[addressee.group]
        return group is not None and any(
            member.enabled and member.account == owner.name for member in group.members
        )


def _addressee(receipt: Receipt, secret: str) -> Addressee:
    given = secret.encode()
    found = [one for one in receipt.addressees if hmac.compare_digest(one.secret.encode(), given)]
    if not found:
        raise NotFound(Reason.RECEIPT_UNKNOWN)
    return found[0]


def _callback(receipt: Receipt, now: float) -> Errand:
    """Return the errand of calling back; its fields are those that Pushover's callbacks have."""
    payload = {
        "url": receipt.callback,
        "fields": {
            "receipt": receipt.id,
            "acknowledged": "1",
            "acknowledged_at": str(receipt.acknowledged_at),
            "acknowledged_by": receipt.acknowledged_by,
            "acknowledged_by_device": receipt.acknowledged_by_device,
        },
        "until": receipt.purge_at,
    }
    destination = f"{CALLBACK}:{urlsplit(receipt.callback).netloc.rpartition('@')[2].lower()}"
    return Errand(CALLBACK, receipt.id, orjson.dumps(payload), now, destination)
