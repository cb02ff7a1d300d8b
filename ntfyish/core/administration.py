"""The one service through which people, tokens, access and tiers are changed, by API and command line.

It checks what a change may not break (names, what is declared, foreign reservations, limits) and leaves the
rest to the store's constraints. It reads through the store, so it works with and without a running server;
whoever runs within the server refreshes the directory afterwards.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterable
from dataclasses import replace
from typing import Any

from ntfyish.core.administration_rules import (
    check_account_name,
    check_free,
    check_pattern,
    check_tier,
    check_tier_limits,
    find_account,
    find_entry,
    find_tier,
    get_account,
    new_sync_topic,
    own_account,
    own_app,
    own_token,
    removal_of,
    reservations_of,
    surplus_tokens,
)
from ntfyish.core.passwords import hash_access_token, hash_password
from ntfyish.core.ports import Add, Change, Clock, People, PeopleChange, PeopleStore, Put, Remove
from ntfyish.model.acl import BOTH, EVERYONE, AclEntry, Permission, TopicAccess
from ntfyish.model.errors import Conflict, Forbidden, Invalid, LimitReached, NotFound, Reason, TooLarge
from ntfyish.model.passwords import BCRYPT_PATTERN, find_password_fault
from ntfyish.model.people import (
    ALIAS_PATTERN,
    DEVICE_PATTERN,
    KEY_PATTERN,
    AccessToken,
    Account,
    App,
    AppToken,
    ClientSecret,
    Device,
    Flavour,
    MailAlias,
    Role,
    Tier,
    TopicKey,
    UserKey,
    new_access_token,
    new_key,
)
from ntfyish.model.topic import DISALLOWED, is_topic

HINT_LENGTH = 11
MAX_PREFERENCES_BYTES = 256 * 1024


class Administration:
    """Changes to who is known and who may do what.

    All methods are coroutines. Besides what they name they raise Conflict with DECLARED if the thing comes
    from the configuration, NotFound with ACCOUNT_UNKNOWN if there is no such account, and Unavailable as
    `PeopleStore`. Changes made through one instance do not interleave.

    Args:
        load: returns everybody; by default from the store itself.
        disallowed_topics: what is never a topic, and so cannot be reserved.
    """

    def __init__(
        self,
        store: PeopleStore,
        clock: Clock,
        *,
        load: Callable[[], Awaitable[People]] | None = None,
        disallowed_topics: frozenset[str] = DISALLOWED,
    ) -> None:
        self._store = store
        self._clock = clock
        self._load = load or store.load
        self._disallowed_topics = disallowed_topics
        self._lock = asyncio.Lock()

    # Accounts

    async def add_account(
        self,
        name: str,
        *,
        password: str = "",
        password_hash: str = "",
        role: Role = Role.USER,
        tier: str = "",
        user_key: str = "",
        devices: tuple[str, ...] = (),
        email: str = "",
    ) -> Account:
        """Add an account with a password or its bcrypt hash; without either, nobody can log in with one.

        Raises:
            Conflict: ACCOUNT_EXISTS, or the user key is taken.
            Invalid: NAME_INVALID, PASSWORD_INVALID, TIER_UNKNOWN; REQUEST_INVALID for user key or devices.
        """
        check_account_name(name)
        if user_key and not KEY_PATTERN.fullmatch(user_key):
            raise Invalid(Reason.REQUEST_INVALID, "a user key has 30 letters and digits")
        if any(not DEVICE_PATTERN.fullmatch(device) for device in devices):
            raise Invalid(Reason.REQUEST_INVALID, "a device's name has 1 to 25 of A-Z, a-z, 0-9, _ and -")
        stored = await _stored_password(password, password_hash) if password or password_hash else ""
        async with self._lock:
            people = await self._load()
            if find_account(people, name) is not None:
                raise Conflict(Reason.ACCOUNT_EXISTS)
            check_tier(people, tier)
            account = Account(
                name=name,
                user_key=UserKey(user_key or new_key("u")),
                password_hash=stored,
                role=role,
                tier=tier,
                devices=devices,
                email=email,
                sync_topic=new_sync_topic(),
                created_at=int(self._clock.now()),
            )
            await self._store.apply(Add(account))
            return account

    async def remove_account(self, name: str) -> None:
        """Remove an account with its apps, tokens, access entries and groups."""
        async with self._lock:
            people = await self._load()
            own_account(people, name)
            owned: Iterable[AccessToken | App | AclEntry] = (*people.tokens, *people.apps, *people.access)
            if any(record.account == name and record.declared for record in owned):
                raise Conflict(Reason.DECLARED, "what the configuration declares belongs to this user")
            await self._store.apply(Remove(Account, name))

    async def change_password(self, name: str, *, password: str = "", password_hash: str = "") -> None:
        """Set a password, or its bcrypt hash. Open Clients must log in again.

        Raises:
            Invalid: PASSWORD_INVALID.
        """
        stored = await _stored_password(password, password_hash)
        async with self._lock:
            people = await self._load()
            account = own_account(people, name)
            known = (one.secret_hash for one in people.secrets if one.account == name)
            await self._store.apply(
                Change(replace(account, password_hash=stored)), *(Remove(ClientSecret, one) for one in known)
            )

    async def change_inbox(
        self,
        name: str,
        *,
        quiet_hours: str | None = None,
        time_zone: str | None = None,
        default_sound: str | None = None,
        totp_secret: str | None = None,
    ) -> Account:
        """Set how messages come and how Open Clients log in; None leaves a thing, "" takes it away."""
        wanted = {
            "quiet_hours": quiet_hours,
            "time_zone": time_zone,
            "default_sound": default_sound,
            "totp_secret": totp_secret,
        }
        given: dict[str, Any] = {field: value for field, value in wanted.items() if value is not None}
        return await self._change_account(name, lambda account: replace(account, **given))

    async def remove_device(self, account: str, name: str) -> None:
        """Remove an Open Client device, and the secret that it was registered with.

        Raises:
            NotFound: there is none.
        """
        async with self._lock:
            people = await self._load()
            found = [one for one in people.devices if (one.account, one.name) == (account, name)]
            if not found:
                raise NotFound
            secrets_ = {one.secret_hash for one in people.secrets} & {found[0].secret_hash}
            await self._store.apply(
                Remove(Device, found[0].id), *(Remove(ClientSecret, one) for one in secrets_)
            )

    async def change_role(self, name: str, role: Role) -> None:
        """Set the role. Who becomes an administrator loses their access entries and reservations."""
        async with self._lock:
            people = await self._load()
            account = own_account(people, name)
            changes: list[PeopleChange] = [Change(replace(account, role=role))]
            if role is Role.ADMIN:
                gone = (entry for entry in people.access if name in (entry.account, entry.owner))
                changes += [removal_of(entry) for entry in gone if not entry.declared]
            await self._store.apply(*changes)

    async def change_tier(self, name: str, code: str) -> None:
        """Set the tier; "" for none.

        Raises:
            Invalid: TIER_UNKNOWN.
            LimitReached: RESERVATION_LIMIT; the account has reserved more topics than the tier allows.
        """
        async with self._lock:
            people = await self._load()
            account = own_account(people, name)
            tier = check_tier(people, code)
            reserved = len(reservations_of(people, name))
            if account.role is not Role.ADMIN and reserved > (tier.reservation_limit if tier else 0):
                raise LimitReached(Reason.RESERVATION_LIMIT)
            await self._store.apply(Change(replace(account, tier=code)))

    async def rotate_user_key(self, name: str) -> Account:
        """Give the account a new user key; the old one addresses nobody from then on."""
        return await self._change_account(
            name, lambda account: replace(account, user_key=UserKey(new_key("u")))
        )

    async def set_preferences(self, name: str, json_text: str) -> None:
        """Keep what the account's clients keep at the server."""
        await self.edit_preferences(name, lambda _: json_text)

    async def edit_preferences(self, name: str, edit: Callable[[str], str]) -> Account:
        """Replace the preferences by what `edit` makes of them; also those of a declared account.

        Raises:
            TooLarge: JSON_TOO_LARGE; more than `MAX_PREFERENCES_BYTES`.
        """

        def edited(account: Account) -> Account:
            text = edit(account.preferences)
            if len(text.encode()) > MAX_PREFERENCES_BYTES:
                raise TooLarge(Reason.JSON_TOO_LARGE)
            return replace(account, preferences=text)

        return await self._change_account(name, edited, also_declared=True)

    async def ensure_sync_topic(self, name: str) -> Account:
        """Give the account a sync topic if it has none."""
        return await self._change_account(
            name,
            lambda account: replace(account, sync_topic=account.sync_topic or new_sync_topic()),
            also_declared=True,
        )

    # Access

    async def grant_access(self, account: str, pattern: str, access: TopicAccess) -> None:
        """Set what an account, or `EVERYONE`, may do with the topics of a pattern.

        Raises:
            Invalid: TOPIC_INVALID.
        """
        check_pattern(pattern)
        async with self._lock:
            people = await self._load()
            if account != EVERYONE:
                get_account(people, account)
            known = find_entry(people, account, pattern)
            if known is not None and known.declared:
                raise Conflict(Reason.DECLARED)
            owner = known.owner if known is not None else ""
            await self._store.apply(
                Put(AclEntry(account=account, pattern=pattern, access=access, owner=owner))
            )

    async def reset_access(self, account: str | None = None, pattern: str | None = None) -> None:
        """Remove the entries of an account (None: of all) for a pattern (None: for all).

        A reservation goes as a whole. What is declared stays; naming one such entry is an error.
        """
        async with self._lock:
            people = await self._load()
            if account is not None and account != EVERYONE:
                get_account(people, account)
            named = [
                entry
                for entry in people.access
                if account in (None, entry.account) and pattern in (None, entry.pattern)
            ]
            if account is not None and pattern is not None and any(entry.declared for entry in named):
                raise Conflict(Reason.DECLARED)
            reserved = {(entry.owner, entry.pattern) for entry in named if entry.owner}
            gone = {(entry.account, entry.pattern): entry for entry in named}
            gone |= {
                (entry.account, entry.pattern): entry
                for entry in people.access
                if (entry.owner, entry.pattern) in reserved
            }
            removals = [removal_of(entry) for entry in gone.values() if not entry.declared]
            if removals:
                await self._store.apply(*removals)

    # Reservations

    async def reserve(self, account: str, topic: str, everyone: TopicAccess) -> None:
        """Reserve a topic for an account, or change what everybody else may do with it.

        Raises:
            Invalid: TOPIC_INVALID or TOPIC_DISALLOWED.
            Conflict: ACCESS_EXISTS; any entry that is not this reservation's is about the topic, or it is the
                key or private topic of somebody else.
            LimitReached: RESERVATION_LIMIT; the tier allows no more. Administrators have no limit.
        """
        if not is_topic(topic):
            raise Invalid(Reason.TOPIC_INVALID)
        if topic in self._disallowed_topics:
            raise Invalid(Reason.TOPIC_DISALLOWED)
        async with self._lock:
            people = await self._load()
            owner = get_account(people, account)
            reserved = reservations_of(people, account)
            check_free(people, account, topic)
            tier = find_tier(people, owner.tier)
            limit = tier.reservation_limit if tier else 0
            is_new = all(entry.pattern != topic for entry in reserved)
            if is_new and owner.role is not Role.ADMIN and len(reserved) >= limit:
                raise LimitReached(Reason.RESERVATION_LIMIT)
            own = AclEntry(account=account, pattern=topic, access=TopicAccess.READ_WRITE, owner=account)
            await self._store.apply(
                Put(own), Put(AclEntry(account=EVERYONE, pattern=topic, access=everyone, owner=account))
            )

    async def release(self, account: str, topic: str) -> None:
        """Give a reserved topic up.

        Raises:
            Forbidden: the account has not reserved it.
        """
        async with self._lock:
            people = await self._load()
            entries = [entry for entry in people.access if (entry.owner, entry.pattern) == (account, topic)]
            if not entries:
                raise Forbidden
            await self._store.apply(*(removal_of(entry) for entry in entries))

    async def reservations(self, account: str) -> list[AclEntry]:
        """Return what an account has reserved, by topic: the entries that say what everybody else may do."""
        return reservations_of(await self._load(), account)

    # Access tokens

    async def add_token(
        self,
        account: str,
        *,
        label: str = "",
        expires_at: int = 0,
        permissions: frozenset[Permission] = BOTH,
        patterns: tuple[str, ...] = (),
        last_origin: str = "",
    ) -> tuple[AccessToken, str]:
        """Make an access token and return it with its secret, which is not kept.

        An account has at most `MAX_TOKENS`; beyond that the one that was not used for the longest time goes,
        and so do all that have expired.

        Raises:
            Invalid: PERMISSION_INVALID if there is no permission, TOPIC_INVALID for a pattern.
        """
        if not permissions:
            raise Invalid(Reason.PERMISSION_INVALID)
        for pattern in patterns:
            check_pattern(pattern)
        async with self._lock:
            people = await self._load()
            get_account(people, account)
            now = int(self._clock.now())
            own = [token for token in people.tokens if token.account == account]
            hints = {token.hint for token in own}
            secret = new_access_token()
            while secret[:HINT_LENGTH] in hints:  # hints name tokens, so they differ
                secret = new_access_token()
            token = AccessToken(
                token_hash=hash_access_token(secret),
                account=account,
                label=label,
                hint=secret[:HINT_LENGTH],
                permissions=permissions,
                patterns=patterns,
                created_at=now,
                expires_at=expires_at,
                last_access_at=now if last_origin else 0,
                last_origin=last_origin,
            )
            surplus = [Remove(AccessToken, old.token_hash) for old in surplus_tokens(own, now)]
            await self._store.apply(*surplus, Add(token))
            return token, secret

    async def change_token(
        self, account: str, token: str, *, label: str | None = None, expires_at: int | None = None
    ) -> AccessToken:
        """Change a token that is named by its secret or its hint, and return it.

        Raises:
            NotFound: NOT_FOUND; the account has no such token.
        """
        async with self._lock:
            known = own_token(await self._load(), account, token)
            changed = replace(
                known,
                label=known.label if label is None else label,
                expires_at=known.expires_at if expires_at is None else expires_at,
            )
            await self._store.apply(Change(changed))
            return changed

    async def remove_token(self, account: str, token: str) -> None:
        """Remove a token that is named by its secret or its hint.

        Raises:
            NotFound: NOT_FOUND; the account has no such token.
        """
        async with self._lock:
            known = own_token(await self._load(), account, token)
            await self._store.apply(Remove(AccessToken, known.token_hash))

    # Tiers

    async def add_tier(self, tier: Tier) -> None:
        """Add a tier.

        Raises:
            Invalid: REQUEST_INVALID for its code or a limit.
            Conflict: CONFLICT; there is one of that code.
        """
        check_tier_limits(tier)
        async with self._lock:
            if find_tier(await self._load(), tier.code) is not None:
                raise Conflict(detail="the tier exists")
            await self._store.apply(Add(tier))

    async def change_tier_limits(self, tier: Tier) -> None:
        """Put `tier` in the place of the one of that code.

        Raises:
            Invalid: TIER_UNKNOWN, or REQUEST_INVALID for a limit.
        """
        check_tier_limits(tier)
        async with self._lock:
            check_tier(await self._load(), tier.code)
            await self._store.apply(Change(tier))

    async def remove_tier(self, code: str) -> None:
        """Remove a tier; its accounts have none then.

        Raises:
            Invalid: TIER_UNKNOWN.
        """
        async with self._lock:
            if find_tier(await self._load(), code) is None:
                raise Invalid(Reason.TIER_UNKNOWN)
            await self._store.apply(Remove(Tier, code))

    # Apps and topic keys

    async def add_app(
        self,
        name: str,
        account: str,
        *,
        token: str = "",
        flavour: Flavour = Flavour.PUSHOVER,
        monthly_limit: int = 10_000,
        enabled: bool = True,
    ) -> App:
        """Add an app, with a new token if none is given.

        Raises:
            Invalid: REQUEST_INVALID for its token, name or limit.
            Conflict: CONFLICT; the token is taken.
        """
        if token and not KEY_PATTERN.fullmatch(token):
            raise Invalid(Reason.REQUEST_INVALID, "an app's token has 30 letters and digits")
        if not name or monthly_limit < 0:
            raise Invalid(Reason.REQUEST_INVALID, "an app has a name, and a limit of 0 or more")
        app = App(
            token=AppToken(token or new_key("a")),
            name=name,
            account=account,
            flavour=flavour,
            monthly_limit=monthly_limit,
            enabled=enabled,
        )
        async with self._lock:
            get_account(await self._load(), account)
            await self._store.apply(Add(app))
        return app

    async def rotate_app_token(self, token: str) -> App:
        """Give an app a new token; the old one is worth nothing from then on.

        Raises:
            NotFound: NOT_FOUND.
        """
        async with self._lock:
            people = await self._load()
            app = own_app(people, token)
            rotated = replace(app, token=AppToken(new_key("a")))
            # What people can subscribe to goes with the old token, and comes again with the new one.
            moved = [replace(one, app=rotated.token) for one in people.subscriptions if one.app == token]
            codes = {subscription.code for subscription in moved}
            subscribers = [one for one in people.subscribers if one.code in codes]
            await self._store.apply(
                Remove(App, app.token), Add(rotated), *map(Add, moved), *map(Add, subscribers)
            )
            return rotated

    async def remove_app(self, token: str) -> None:
        """Remove an app.

        Raises:
            NotFound: NOT_FOUND.
        """
        async with self._lock:
            await self._store.apply(Remove(App, own_app(await self._load(), token).token))

    async def add_key(self, topic: str, *, key: str = "") -> TopicKey:
        """Add a key that addresses a topic, a new one if none is given.

        Raises:
            Invalid: TOPIC_INVALID, or REQUEST_INVALID for the key.
            Conflict: CONFLICT; the key is taken.
        """
        if not is_topic(topic):
            raise Invalid(Reason.TOPIC_INVALID)
        if key and not KEY_PATTERN.fullmatch(key):
            raise Invalid(Reason.REQUEST_INVALID, "a topic key has 30 letters and digits")
        made = TopicKey(key=key or new_key("t"), topic=topic)
        await self._store.apply(Add(made))
        return made

    async def add_alias(self, alias: MailAlias) -> None:
        """Add an e-mail alias.

        Raises:
            Invalid: REQUEST_INVALID for its name.
            Conflict: CONFLICT; the name is taken.
        """
        if not ALIAS_PATTERN.fullmatch(alias.name):
            raise Invalid(Reason.REQUEST_INVALID, "an alias has 1 to 64 of a-z, 0-9, ., _ and -")
        async with self._lock:
            get_account(await self._load(), alias.account)
            await self._store.apply(Add(alias))

    async def remove_alias(self, name: str) -> None:
        """Remove an e-mail alias.

        Raises:
            NotFound: NOT_FOUND.
        """
        async with self._lock:
            people = await self._load()
            if any(known.name == name and known.declared for known in people.aliases):
                raise Conflict(Reason.DECLARED)
            await self._store.apply(Remove(MailAlias, name))

    async def remove_key(self, key: str) -> None:
        """Remove a topic key.

        Raises:
            NotFound: NOT_FOUND.
        """
        async with self._lock:
            people = await self._load()
            if any(known.key == key and known.declared for known in people.keys):
                raise Conflict(Reason.DECLARED)
            await self._store.apply(Remove(TopicKey, key))

    async def _change_account(
        self, name: str, change: Callable[[Account], Account], *, also_declared: bool = False
    ) -> Account:
        async with self._lock:
            people = await self._load()
            account = get_account(people, name) if also_declared else own_account(people, name)
            changed = change(account)
            if changed != account:
                await self._store.apply(Change(changed))
            return changed


async def _stored_password(password: str, password_hash: str) -> str:
    """Return the hash to keep; hashing takes some 50 ms, so a thread does it."""
    if password_hash:
        if not BCRYPT_PATTERN.fullmatch(password_hash):
            raise Invalid(Reason.PASSWORD_INVALID, "the hash is not a bcrypt hash")
        return password_hash
    if fault := find_password_fault(password):
        raise Invalid(Reason.PASSWORD_INVALID, f"the password {fault}")
    return await asyncio.to_thread(hash_password, password)
