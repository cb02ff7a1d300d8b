"""``ntfyish tier``, as ntfy's command."""

from pathlib import Path

import pytest

from ntfyish.model.people import Tier
from tests.cli.conftest import Run
from tests.cli.database import on_terminal, people_in

DEFAULTS = {
    "message_limit": 5000,
    "message_expiry_s": 12 * 3600,
    "email_limit": 20,
    "call_limit": 0,
    "reservation_limit": 3,
    "attachment_file_size_bytes": 15 * 1024**2,
    "attachment_total_size_bytes": 100 * 1024**2,
    "attachment_expiry_s": 6 * 3600,
    "attachment_bandwidth_bytes": 1024**3,
}
SHOWN = """\
tier pro (id: pro)
- Name: Pro
- Message limit: 5000
- Message expiry duration: 12h0m0s (43200 seconds)
- Email limit: 20
- Phone call limit: 0
- Reservation limit: 3
- Attachment file size limit: 15.0 MB
- Attachment total size limit: 100.0 MB
- Attachment expiry duration: 6h0m0s (21600 seconds)
- Attachment daily bandwidth limit: 1.0 GB
"""


def test_a_tier_has_ntfy_s_defaults_and_is_shown_in_its_words(run: Run, data_dir: Path) -> None:
    assert run("tier", "add", "--name=Pro", "pro").stdout == f"tier added\n\n{SHOWN}"
    assert people_in(data_dir).tiers == (Tier(code="pro", name="Pro", **DEFAULTS),)
    assert run("tier", "list").stdout == SHOWN
    assert run("tier", "l").stdout == SHOWN


@pytest.mark.parametrize(
    ("flag", "text", "attribute", "value", "line"),
    [
        ("--name", "Gold", "name", "Gold", "- Name: Gold"),
        ("--message-limit", "7", "message_limit", 7, "- Message limit: 7"),
        (
            "--message-expiry-duration",
            "90s",
            "message_expiry_s",
            90,
            "- Message expiry duration: 1m30s (90 seconds)",
        ),
        ("--email-limit", "0", "email_limit", 0, "- Email limit: 0"),
        ("--call-limit", "5", "call_limit", 5, "- Phone call limit: 5"),
        ("--reservation-limit", "10", "reservation_limit", 10, "- Reservation limit: 10"),
        (
            "--attachment-file-size-limit",
            "1000",
            "attachment_file_size_bytes",
            1000,
            "- Attachment file size limit: 1000 bytes",
        ),
        (
            "--attachment-total-size-limit",
            "5G",
            "attachment_total_size_bytes",
            5 * 1024**3,
            "- Attachment total size limit: 5.0 GB",
        ),
        (
            "--attachment-expiry-duration",
            "2d",
            "attachment_expiry_s",
            172_800,
            "- Attachment expiry duration: 48h0m0s (172800 seconds)",
        ),
        (
            "--attachment-bandwidth-limit",
            "1536k",
            "attachment_bandwidth_bytes",
            1536 * 1024,
            "- Attachment daily bandwidth limit: 1.5 MB",
        ),
    ],
)
@pytest.mark.parametrize("subcommand", ["add", "change", "ch"])
def test_each_limit_is_set_by_its_flag_and_nothing_else_is(
    run: Run, data_dir: Path, subcommand: str, flag: str, text: str, attribute: str, value: object, line: str
) -> None:
    if subcommand != "add":
        run("tier", "add", "pro", "--message-limit", "5000")
    shown = run("tier", subcommand, flag, text, "pro").stdout.splitlines()
    assert shown[0] == ("tier added" if subcommand == "add" else "tier updated")
    assert line in shown
    wanted = {"name": "pro", **DEFAULTS, attribute: value}
    [tier] = people_in(data_dir).tiers
    assert {name: getattr(tier, name) for name in wanted} == wanted


def test_an_existing_tier_is_refused_or_left_alone_if_asked_to(run: Run, data_dir: Path) -> None:
    run("tier", "add", "pro")
    before = people_in(data_dir)
    run("tier", "add", "pro", "--message-limit=1", fails=True)
    left = run("tier", "add", "--ignore-exists", "--message-limit=1", "pro")
    assert left.stdout == "tier pro already exists (exited successfully)\n"
    assert people_in(data_dir) == before


@pytest.mark.parametrize("alias", ["remove", "del", "rm"])
def test_a_removed_tier_is_taken_off_its_users(run: Run, data_dir: Path, alias: str) -> None:
    run("tier", "add", "pro")
    run("user", "add", "phil")
    run("user", "change-tier", "phil", "pro")
    assert run("tier", alias, "pro").stdout == "tier pro removed\n"
    people = people_in(data_dir)
    assert people.tiers == ()
    assert people.accounts[0].tier == ""


def test_prices_change_nothing_and_that_is_said(run: Run, data_dir: Path) -> None:
    added = run("tier", "add", "--stripe-monthly-price-id=price_1", "--stripe-yearly-price-id=price_2", "pro")
    assert "no billing" in added.stderr
    assert people_in(data_dir).tiers == (Tier(code="pro", name="pro", **DEFAULTS),)


def test_a_terminal_shows_a_table_of_tiers(run: Run, data_dir: Path) -> None:
    environ: dict[str, str | None] = {"NTFYISH_DATA_DIR": str(data_dir)}
    data_dir.mkdir()
    assert "There are no tiers." in on_terminal(["tier", "list"], environ, [])
    run("tier", "add", "pro")
    table = on_terminal(["tier", "list"], environ, [])
    assert "5000 a day, kept 12h" in table
    assert "15M, kept 6h" in table
