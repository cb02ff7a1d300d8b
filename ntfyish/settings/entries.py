"""What is declared in lists: accounts, apps, keys, and ntfy's one-line users and tokens."""

from __future__ import annotations

import re
from typing import Annotated, Literal, Self

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, model_validator

from ntfyish.model.passwords import BCRYPT_PATTERN, find_password_fault
from ntfyish.model.people import ACCOUNT_NAME_PATTERN
from ntfyish.settings.values import AccountName, Count, Device, Items, Key, Name, Switch, Text, Topic, Word

_ACCESS_TOKEN = re.compile(r"tk_[-_A-Za-z0-9]{29}")


def _password(value: object) -> str:
    if not isinstance(value, str):
        raise ValueError("must be text")
    if fault := find_password_fault(value):
        raise ValueError(fault)
    return value


def _password_hash(value: object) -> str:
    if not isinstance(value, str) or BCRYPT_PATTERN.fullmatch(value) is None:
        raise ValueError("must be a bcrypt hash: 60 characters that begin with $2a$, $2b$ or $2y$")
    return value


class Entry(BaseModel):
    """One item of a list of declarations: immutable, keys in kebab case, unknown ones refused."""

    model_config = ConfigDict(
        frozen=True,
        extra="forbid",
        hide_input_in_errors=True,
        alias_generator=lambda name: name.replace("_", "-"),
        validate_by_name=True,
    )


class AccountEntry(Entry):
    """A declared account.

    Attributes:
        password: in plain text, to be hashed at start; "" if there is none.
        password_hash: bcrypt; "" if there is none.
        user_key: "" for one that the store makes, and then keeps.
    """

    name: AccountName
    password: Annotated[str, BeforeValidator(_password)] = Field("", repr=False)
    password_hash: Annotated[str, BeforeValidator(_password_hash)] = Field("", repr=False)
    role: Annotated[Literal["user", "admin"], Word] = "user"
    user_key: Key = Field("", repr=False)
    email: Text = ""
    devices: Annotated[tuple[Device, ...], Items] = ()
    stream: Switch = True

    @model_validator(mode="after")
    def _one_password(self) -> Self:
        if self.password and self.password_hash:
            raise ValueError("has both a password and a password-hash; one of them is enough")
        return self


class AppEntry(Entry):
    """A declared app; `monthly_limit` is None for the setting `pushover-monthly-limit`."""

    name: Name
    token: Key = Field(repr=False)
    account: AccountName
    flavour: Annotated[Literal["pushover", "nzbclient"], Word] = "pushover"
    monthly_limit: Count | None = None
    enabled: Switch = True


class KeyEntry(Entry):
    """A declared topic key."""

    key: Key = Field(repr=False)
    topic: Topic


class TokenEntry(Entry):
    """A declared access token of an account."""

    account: AccountName
    token: str = Field(repr=False)
    label: str = ""


def _user_line(value: object) -> object:
    """Take ntfy's ``user:bcrypt:role`` apart."""
    if isinstance(value, AccountEntry):
        return value
    parts = [part.strip() for part in value.split(":")] if isinstance(value, str) else []
    if len(parts) != 3:
        raise ValueError("must be user:bcrypt-hash:role")
    name, password_hash, role = parts
    if ACCOUNT_NAME_PATTERN.fullmatch(name) is None:
        raise ValueError("the user's name must be letters, digits and - _ . + @ only")
    if role not in ("user", "admin"):
        raise ValueError("the role must be user or admin")
    return AccountEntry.model_validate(
        {"name": name, "password-hash": _password_hash(password_hash), "role": role}
    )


def _token_line(value: object) -> object:
    """Take ntfy's ``user:tk_...[:label]`` apart."""
    if isinstance(value, TokenEntry):
        return value
    parts = [part.strip() for part in value.split(":", 2)] if isinstance(value, str) else []
    if len(parts) < 2:
        raise ValueError("must be user:tk_...[:label]")
    if ACCOUNT_NAME_PATTERN.fullmatch(parts[0]) is None:
        raise ValueError("the user's name must be letters, digits and - _ . + @ only")
    if _ACCESS_TOKEN.fullmatch(parts[1]) is None:
        raise ValueError("the token must be tk_ and 29 letters and digits")
    return TokenEntry(account=parts[0], token=parts[1], label=parts[2] if len(parts) == 3 else "")


UserLine = Annotated[AccountEntry, BeforeValidator(_user_line)]
TokenLine = Annotated[TokenEntry, BeforeValidator(_token_line)]
