"""Teams: the tokens with which an administrator's program manages the accounts of this server."""

from __future__ import annotations

from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True, kw_only=True)
class TeamToken:
    """A token that may list, add and remove accounts. All accounts of the server are the team.

    Attributes:
        token_hash: SHA-256 of the token, in hex; the token itself is shown once and not kept.
        name: of the team.
        hint: the token's first characters, which name it in lists.
        created_at: Unix seconds.
    """

    token_hash: str = field(repr=False)
    name: str
    hint: str
    created_at: int = 0
