"""STARTTLS of the SMTP listener, and what an installation without the extra says."""

from __future__ import annotations

import asyncio
import datetime
import smtplib
import ssl
import sys
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from ntfyish.app import ExtraMissing
from tests.conftest import StartServer


def make_certificate(folder: Path) -> tuple[Path, Path]:
    """Write a certificate for localhost and its key."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "localhost")])
    now = datetime.datetime.now(datetime.UTC)
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(1)
        .not_valid_before(now - datetime.timedelta(days=1))
        .not_valid_after(now + datetime.timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([x509.DNSName("localhost")]), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(key, hashes.SHA256())
    )
    cert_file, key_file = folder / "cert.pem", folder / "key.pem"
    cert_file.write_bytes(certificate.public_bytes(serialization.Encoding.PEM))
    key_file.write_bytes(
        key.private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.PKCS8,
            serialization.NoEncryption(),
        )
    )
    return cert_file, key_file


async def test_mail_comes_in_over_starttls(start_server: StartServer, tmp_path: Path) -> None:
    cert_file, key_file = make_certificate(tmp_path)
    server = await start_server(
        **{
            "smtp-server-listen": "127.0.0.1:0",
            "smtp-server-domain": "push.example.org",
            "smtp-server-cert-file": str(cert_file),
            "smtp-server-key-file": str(key_file),
        }
    )

    def work() -> None:
        with smtplib.SMTP("localhost", server.running.mail_port, timeout=10) as client:
            client.starttls(context=ssl.create_default_context(cafile=str(cert_file)))
            client.sendmail("a@b.example", ["alerts@push.example.org"], b"Subject: s\r\n\r\nover TLS")

    await asyncio.to_thread(work)
    assert [message["message"] for message in await server.poll("alerts")] == ["over TLS"]


async def test_commands_sent_along_with_starttls_do_not_count(
    start_server: StartServer, tmp_path: Path
) -> None:
    cert_file, key_file = make_certificate(tmp_path)
    server = await start_server(
        **{
            "smtp-server-listen": "127.0.0.1:0",
            "smtp-server-domain": "push.example.org",
            "smtp-server-cert-file": str(cert_file),
            "smtp-server-key-file": str(key_file),
        }
    )
    reader, writer = await asyncio.open_connection("127.0.0.1", server.running.mail_port)
    await reader.readline()
    writer.write(b"EHLO x\r\nSTARTTLS\r\nEHLO y\r\nMAIL FROM:<a@b>\r\n")
    while not (await reader.readline()).startswith(b"220"):
        pass
    context = ssl.create_default_context(cafile=str(cert_file))
    try:
        await writer.start_tls(context, server_hostname="localhost")
    except (ssl.SSLError, ConnectionError):
        return  # the server takes what follows for a bad handshake
    writer.write(b"MAIL FROM:<c@d>\r\n")
    assert b"HELO first" in await reader.readline()
    writer.close()


@pytest.mark.parametrize(
    ("module", "settings"),
    [
        (
            "ntfyish.mail.listener",
            {"smtp-server-listen": "127.0.0.1:0", "smtp-server-domain": "push.example.org"},
        ),
        (
            "ntfyish.mail.sender",
            {
                "smtp-sender-addr": "127.0.0.1:25",
                "smtp-sender-from": "a@b.example",
                "base-url": "http://push.test",
            },
        ),
    ],
)
async def test_what_is_missing_is_named(
    start_server: StartServer, monkeypatch: pytest.MonkeyPatch, module: str, settings: dict[str, object]
) -> None:
    monkeypatch.setitem(sys.modules, module, None)
    with pytest.raises(ExtraMissing, match=r"pip install 'ntfyish\[mail\]'"):
        await start_server(**settings)
