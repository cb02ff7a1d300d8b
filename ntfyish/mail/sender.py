"""Hands e-mail to a mail server: `MailSender` by aiosmtplib."""

from __future__ import annotations

import asyncio
import logging

import aiosmtplib

from ntfyish.core.ports import MailOutcome

_log = logging.getLogger(__name__)

_SMTPS_PORT = 465
_TIMEOUT_S = 25.0
_LOCAL = frozenset({"localhost", "127.0.0.1", "::1"})


class SmtpSender:
    """Sends each letter over a connection of its own.

    Port 465 is TLS from the start. Elsewhere STARTTLS is used if the server offers it; a password goes to
    another machine only with it.
    """

    def __init__(self, host: str, port: int, *, user: str, password: str, from_address: str) -> None:
        self._host = host
        self._port = port
        self._user = user
        self._password = password
        self._from_address = from_address

    async def send(self, recipient: str, letter: bytes) -> MailOutcome:
        """Send a letter; see the port."""
        smtps = self._port == _SMTPS_PORT
        must = bool(self._password) and self._host not in _LOCAL
        try:
            async with asyncio.timeout(_TIMEOUT_S):
                await aiosmtplib.send(
                    letter,
                    sender=self._from_address,
                    recipients=[recipient],
                    hostname=self._host,
                    port=self._port,
                    username=self._user or None,
                    password=self._password or None,
                    use_tls=smtps,
                    start_tls=False if smtps else (True if must else None),
                    timeout=_TIMEOUT_S,
                )
        except aiosmtplib.SMTPRecipientsRefused as error:
            return _outcome(max((one.code for one in error.recipients), default=0))
        except (aiosmtplib.SMTPSenderRefused, aiosmtplib.SMTPDataError) as error:
            return _outcome(error.code)
        except (aiosmtplib.SMTPException, OSError, TimeoutError, ValueError) as error:
            # Not its words: some servers repeat what they were given.
            _log.warning("The mail server %s:%d fails: %s", self._host, self._port, type(error).__name__)
            return MailOutcome.FAILED
        return MailOutcome.ACCEPTED


def _outcome(code: int) -> MailOutcome:
    """Return what a reply to a sender, recipient or letter means: 5yz is for good."""
    # 530 and 535 are about this server's login, which somebody may set right.
    return MailOutcome.REFUSED if 500 <= code < 600 and code not in (530, 535) else MailOutcome.FAILED
