"""Makes what is sent of what was claimed, or says why it is not sent any more. `core.pushes.lane` asks."""

from __future__ import annotations

from ntfyish.core.ports import ClaimedPush, PushNote
from ntfyish.core.pushes.backlog import PushBacklog
from ntfyish.core.pushes.recipients import PushRecipients, destination_of
from ntfyish.core.pushes.stored_messages import StoredMessages
from ntfyish.core.pushes.verdicts import end, is_small
from ntfyish.model.push import Push, PushState, phone_collapse_id, push_id

REMOVED = "device removed"
MOVED = "device moved"
NOT_ALLOWED = "not allowed any more"
DAMAGED = "damaged"


class PushMaker:
    """Looks at each push once more just before it is sent: much may have changed since it was entered."""

    def __init__(self, recipients: PushRecipients, backlog: PushBacklog) -> None:
        self._recipients = recipients
        self._backlog = backlog
        self._messages = StoredMessages()

    def make(self, claimed: ClaimedPush, destination: str, now: float) -> Push | PushNote:
        """Return what to send to `destination`, or the end of a push that is not to be sent any more."""
        pushed = claimed.message
        if self._backlog.is_over(pushed.created_at, pushed.expires_at, now):
            return end(claimed, PushState.EXPIRED, claimed.reason, now, attempted=False)
        device = self._recipients.find_device(claimed.device_id)
        if device is None:
            return _fail(claimed, REMOVED, now)
        if destination_of(device) != destination:
            return _fail(claimed, MOVED, now)
        if not self._recipients.may_get(device, pushed.topic):
            return _fail(claimed, NOT_ALLOWED, now)
        message = self._messages.decode(pushed.id, pushed.line)
        if message is None:
            return _fail(claimed, DAMAGED, now)
        return Push(
            message=message,
            device=device,
            id=push_id(pushed.id, device.id),
            collapse_id=phone_collapse_id(pushed.topic, pushed.collapse_id),
            expires_at=pushed.expires_at,
            small=is_small(claimed),
        )


def _fail(claimed: ClaimedPush, fault: str, now: float) -> PushNote:
    return end(claimed, PushState.FAILED, fault, now, attempted=False)
