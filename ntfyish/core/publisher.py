"""The one publish path: stamp, store, announce.

The store announces what it has committed by itself, in commit order (see `ports.MessageStore`), and goes
on if whoever waits is cancelled; so a client that hangs up can neither lose nor double a message, and
nothing here needs a shield.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Sequence

from ntfyish.core.access import Grant
from ntfyish.core.counters import Counters
from ntfyish.core.deliveries import Deliveries, Wishes, write_wishes
from ntfyish.core.letters import letter_errand
from ntfyish.core.ports import (
    Bus,
    Clock,
    Count,
    Errand,
    MessageStore,
    NewAttachment,
    NewReceipt,
    Post,
    StoreExtra,
)
from ntfyish.model.acl import Permission
from ntfyish.model.errors import NtfyishError
from ntfyish.model.line import decode, encode
from ntfyish.model.message import Content, Draft, Event, KeptFile, Message, MessageId, Published, new_id
from ntfyish.model.people import new_key
from ntfyish.model.receipt import Addressee, Emergency, Receipt, begin, with_button


class Attempt:
    """Counts a publish that fails or is refused: by an error, or by `fail`."""

    __slots__ = ("_counters",)

    def __init__(self, counters: Counters) -> None:
        self._counters = counters

    def __enter__(self) -> Attempt:
        return self

    def __exit__(self, kind: object, error: object, trace: object) -> None:
        if isinstance(error, NtfyishError):
            self.fail()

    def fail(self) -> None:
        """Count a failure that is no error."""
        self._counters.publish_failures += 1


class Publisher:
    """Turns drafts into messages.

    Args:
        cache_duration_s: how long a message is kept; 0 keeps none.
        due: called with the Unix seconds at which something has to be released.
        deliveries: what the owners of inboxes want, and what goes to their devices.
        repeat_due: called with the Unix seconds at which an emergency has to be sent again.
        link: makes the address of the button with which readers acknowledge, from a receipt and a secret;
            "" for no button.
        errand_due: called with the Unix seconds at which an errand has to be done.
        counters: where publishes are counted.

    Attributes:
        attempt: a context that counts what fails or is refused in it; for dialects, around all that they do
            with a message once its publisher was let in.
    """

    def __init__(
        self,
        store: MessageStore,
        bus: Bus,
        clock: Clock,
        *,
        cache_duration_s: float,
        due: Callable[[float], None],
        deliveries: Deliveries,
        repeat_due: Callable[[float], None] = lambda due_at: None,
        link: Callable[[str, str], str] = lambda receipt, secret: "",
        errand_due: Callable[[float], None] = lambda due_at: None,
        counters: Counters | None = None,
    ) -> None:
        self._counters = counters or Counters()
        self.attempt = Attempt(self._counters)
        self._store = store
        self._bus = bus
        self._clock = clock
        self._cache_duration_s = int(cache_duration_s)
        self._due = due
        self._deliveries = deliveries
        self._repeat_due = repeat_due
        self._link = link
        self._errand_due = errand_due

    async def publish(
        self,
        grant: Grant,
        draft: Draft,
        counts: Sequence[Count] = (),
        emergency: Emergency | None = None,
        extras: Sequence[StoreExtra] = (),
    ) -> Sequence[Post]:
        """Publish `draft` to every topic of `grant`, one message each, all or none.

        Returns the messages and their lines, in the order of the topics, once they are on disk (or, for a
        draft that is not to be cached, once they are announced). `counts` and `extras` are committed with
        them. With `emergency` they have one receipt, and are sent again until somebody acknowledges it.

        Raises:
            Unavailable: nothing was published.
        """
        assert grant.permission is Permission.WRITE
        began = self._clock.monotonic()
        receipt_id = "" if emergency is None else new_key("r")
        messages = tuple(self._stamp(topic, draft, receipt_id) for topic in grant.topics)
        if draft.file is not None:  # the first message and its file have the same id
            messages = (dataclasses.replace(messages[0], id=MessageId(draft.file.id)), *messages[1:])
        if draft.due_at:
            self._due(draft.due_at)
        replaces = bool(draft.sequence_id) and draft.event is not Event.MESSAGE_CLEAR
        kept = bool(messages[0].expires)
        receipt = None if emergency is None else self._begin(emergency, messages, draft)
        if receipt is not None:
            messages = tuple(
                with_button(message, self._link(receipt.id, addressee.secret))
                for message, addressee in zip(messages, receipt.addressees, strict=True)
            )
        wishes = Wishes(
            send=messages[0].id,
            owner=draft.owner,
            request=draft.request,
            queue=draft.cache,  # what is not to be cached is not queued either
            push=draft.push,
            upstream=not draft.unifiedpush,
        )
        posts = [self._post(message, draft.due_at, replaces=replaces, wishes=wishes) for message in messages]
        if draft.file is not None:
            posts = [_with_file(post, draft.file) for post in posts]
        now = self._clock.now()
        if draft.email:
            posts = [_with_letter(post, draft.email, now) for post in posts]
        if receipt is not None:
            of_first: tuple[StoreExtra, ...] = (NewReceipt(receipt), *posts[0].extras)
            posts[0] = dataclasses.replace(posts[0], extras=of_first)
        if kept or replaces or counts or extras or any(post.extras for post in posts):
            await self._store.post(posts, counts, extras)
        self.announce_unkept(posts)
        if any(isinstance(extra, Errand) for post in posts for extra in post.extras):
            self._errand_due(now)
        if receipt is not None and receipt.next_at:
            self._repeat_due(receipt.next_at)
        self._count(draft, receipt, self._clock.monotonic() - began)
        return posts

    def _count(self, draft: Draft, receipt: Receipt | None, seconds: float) -> None:
        counters = self._counters
        counters.note_publish(seconds)
        if draft.unifiedpush:
            counters.unifiedpush_published += 1
        if receipt is not None:
            counters.receipts_begun += 1
            counters.receipt_sends += 1

    def announce_unkept(self, posts: Sequence[Post]) -> None:
        """Announce what the store has not kept, and so not announced."""
        unkept = [post for post in posts if not post.kept]
        if not unkept:
            return
        self._bus.announce(
            [
                Published(0, post.message, post.line)
                for post in unkept
                if self._deliveries.has_stream(post.message.topic)
            ]
        )
        self._deliveries.tell(post.message for post in unkept)

    async def publish_to_nobody(self, emergency: Emergency) -> str:
        """Return the receipt of an emergency that nobody would receive; it ends by itself.

        Raises:
            Unavailable: there is no such receipt.
        """
        receipt = begin(
            emergency.draft,
            id=new_key("r"),
            owner=emergency.owner,
            secret=new_key(""),
            now=self._clock.now(),
        )
        await self._store.post((), (), (NewReceipt(receipt),))
        self._counters.receipts_begun += 1
        return receipt.id

    def posts_again(self, receipt: Receipt, addressees: Sequence[Addressee], now: float) -> Sequence[Post]:
        """Return another send of an emergency: new messages of the same sequences, with new ids."""
        first = decode(receipt.line)
        expires = int(now) + self._cache_duration_s if self._cache_duration_s and first.expires else 0
        messages = [
            dataclasses.replace(
                first,
                id=new_id(),
                time=int(now),
                topic=one.topic,
                expires=expires,
                sequence_id=first.sequence_id or one.message_id,
                content=self._deliveries.adapt(one.topic, _content_for(one, first.content), now),
            )
            for one in addressees
        ]
        return [
            self._post(
                with_button(message, self._link(receipt.id, one.secret)),
                0,
                replaces=False,
                wishes=Wishes(owner=receipt.owner),
            )
            for message, one in zip(messages, addressees, strict=True)
        ]

    def _post(self, message: Message, due_at: int, *, replaces: bool, wishes: Wishes) -> Post:
        """Return a message as the store takes it. Also called in the writer's thread."""
        deliveries = self._deliveries
        kept = bool(message.expires) and (bool(due_at) or deliveries.has_stream(message.topic))
        # What is scheduled is planned when it is released.
        extras = deliveries.plan(message, wishes) if not due_at else ()
        later = write_wishes(wishes) if due_at else ""
        return Post(message, encode(message), due_at, replaces, kept, extras, later)

    def _begin(self, emergency: Emergency, messages: Sequence[Message], draft: Draft) -> Receipt:
        groups = dict(emergency.groups)
        addressees = tuple(
            Addressee(
                topic=message.topic,
                message_id=message.id,
                secret=new_key(""),
                group=groups.get(message.topic, ""),
                device=draft.variants[message.topic].device if message.topic in draft.variants else "",
                sound=draft.variants[message.topic].sound if message.topic in draft.variants else "",
            )
            for message in messages
        )
        return begin(
            emergency.draft,
            id=messages[0].receipt,
            owner=emergency.owner,
            secret=new_key(""),
            now=self._clock.now(),
            addressees=addressees,
            line=encode(dataclasses.replace(messages[0], content=draft.content)),
        )

    def _stamp(self, topic: str, draft: Draft, receipt: str) -> Message:
        identity = new_id()
        time = draft.due_at or int(self._clock.now())
        kept_s = self._cache_duration_s
        if draft.content.ttl_s:
            kept_s = min(kept_s, draft.content.ttl_s)
        if draft.due_at:
            kept_s = max(kept_s, 1)  # what is scheduled must be kept at least until it is delivered
        content = draft.variants.get(topic, draft.content)
        if draft.event is Event.MESSAGE:
            content = self._deliveries.adapt(topic, content, time)
        return Message(
            id=identity,
            time=time,
            topic=topic,
            expires=time + kept_s if draft.cache and kept_s else 0,
            event=draft.event,
            sequence_id="" if draft.sequence_id == identity else draft.sequence_id,
            poll_id=draft.poll_id,
            receipt=receipt,
            content=content,
        )


def _content_for(addressee: Addressee, content: Content) -> Content:
    """Return what an emergency says to one of its addressees."""
    return dataclasses.replace(
        content, device=addressee.device or content.device, sound=addressee.sound or content.sound
    )


def _with_letter(post: Post, address: str, now: float) -> Post:
    errand = letter_errand(post.message, post.line, address, now)
    return dataclasses.replace(post, extras=(*post.extras, errand))


def _with_file(post: Post, file: KeptFile) -> Post:
    """Return `post` with the note that it carries a file of ours."""
    return dataclasses.replace(post, extras=(*post.extras, NewAttachment(file, post.kept)))
