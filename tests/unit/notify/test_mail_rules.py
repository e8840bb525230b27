"""Addresses, unsubscribe tokens, settings, and what a server's answer means."""

import base64
import secrets
from datetime import timedelta
from uuid import uuid4

import pytest
from pydantic import ValidationError

from notify.deliveries.delivery import Failed, ProviderBusy, Refused
from notify.mail.addresses import InvalidAddress, address_key, parse_address, parse_sender
from notify.mail.replies import BUSY, GREYLISTED, MAILBOX_FULL, is_hard_bounce, outcome_of
from notify.mail.settings import MailSettings
from notify.mail.smtp import NotReached, NotTaken, Stage
from notify.mail.unsubscribe import UnsubscribeTokens


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("bob@example.org", "bob@example.org"),
        ("Bob+live@Example.ORG", "Bob+live@example.org"),
        ("bob@exämple.org", "bob@xn--exmple-cua.org"),
        ("o'neil@example.org", "o'neil@example.org"),
    ],
)
def test_addresses(text: str, expected: str) -> None:
    assert parse_address(text) == expected


@pytest.mark.parametrize(
    "text",
    [
        "",
        "bob",
        "@example.org",
        "bob@",
        "bob@localhost",
        "bob@example",
        "bob@[127.0.0.1]",
        "bob@127.0.0.1",
        "bob@@example.org",
        "bob example@example.org",
        "bob@example.org\r\nBcc: eve@example.org",
        "bob@example.org\n",
        "bob@exam\r\nple.org",
        "bob@example.org,eve@example.org",
        "Bob <bob@example.org>",
        "<bob@example.org>",
        '"bob smith"@example.org',
        "bob@example.org>",
        "böb@example.org",
        "bob\x00@example.org",
        "bob@-example.org",
        "bob..b@example.org",
        "a" * 65 + "@example.org",
        "a" * 60 + "@" + ".".join(["b" * 60] * 4) + ".org",
        "x" * 100_000 + "@example.org",
    ],
)
def test_what_is_no_address(text: str) -> None:
    with pytest.raises(InvalidAddress):
        parse_address(text)


def test_addresses_that_reach_the_same_mailbox_count_as_one() -> None:
    assert address_key("Bob+a@example.org") == address_key("bob+b@example.org") == "bob@example.org"
    assert address_key("bob@example.org") != address_key("bob@example.com")


@pytest.mark.parametrize("text", ["Live <notices@example.org>", "notices@example.org", '"Live, now" <n@example.org>'])
def test_senders(text: str) -> None:
    assert parse_sender(text).domain == "example.org"


@pytest.mark.parametrize(
    "text", ["Live", "Live <>", "Live\r\nBcc: a@b.org <n@example.org>", "x" * 65 + " <n@example.org>"]
)
def test_what_is_no_sender(text: str) -> None:
    with pytest.raises(InvalidAddress):
        parse_sender(text)


def test_a_token_names_its_mailbox_and_nothing_else_does() -> None:
    tokens, box = UnsubscribeTokens(secrets.token_bytes(32)), uuid4()
    token = tokens.issue(box)
    assert tokens.read(token) == box
    assert tokens.issue(box) == token, "mails are kept for years"
    assert len(token) == 64
    assert UnsubscribeTokens(secrets.token_bytes(32)).read(token) is None
    content = base64.urlsafe_b64decode(token)
    for position in range(len(content)):
        changed = content[:position] + bytes([content[position] ^ 1]) + content[position + 1 :]
        assert tokens.read(base64.urlsafe_b64encode(changed).decode()) is None
    for bad in ("", "x", token[:-1], token + "A", token[:-1] + "ü", "=" * 64, "\x00" * 64):
        assert tokens.read(bad) is None


@pytest.mark.parametrize(
    ("stage", "code", "text", "expected"),
    [
        (Stage.RECIPIENT, 550, "5.1.1 no such user", "bounce"),
        (Stage.RECIPIENT, 550, "No such user here", "bounce"),
        (Stage.RECIPIENT, 553, "mailbox name not allowed", "bounce"),
        (Stage.RECIPIENT, 550, "5.2.1 mailbox disabled", "bounce"),
        (Stage.RECIPIENT, 550, "first line\n5.1.1 second", "bounce"),
        (Stage.RECIPIENT, 550, "5.7.1 relaying denied", "refused"),
        (Stage.RECIPIENT, 554, "5.7.1 you are on a list", "refused"),
        (Stage.RECIPIENT, 552, "5.2.2 over quota", "refused"),
        (Stage.RECIPIENT, 530, "5.7.0 log in first", "failed"),
        (Stage.CONTENT, 554, "5.6.0 looks like spam", "refused"),
        (Stage.CONTENT, 550, "5.1.1 says so late", "refused"),
        (Stage.SENDER, 553, "5.7.1 not your address", "failed"),
        (Stage.CONNECTING, 535, "5.7.8 wrong password", "failed"),
        (Stage.CONNECTING, 554, "no service for you", "failed"),
        (Stage.RECIPIENT, 250, "what?", "failed"),
        (Stage.RECIPIENT, -1, "", "failed"),
    ],
)
def test_what_lasting_answers_mean(stage: Stage, code: int, text: str, expected: str) -> None:
    outcome = outcome_of(NotTaken(stage, code, text), recipient="bob@example.org")
    assert type(outcome) is (Failed if expected == "failed" else Refused)
    assert is_hard_bounce(outcome) == (expected == "bounce")


@pytest.mark.parametrize(
    ("stage", "code", "text", "expected"),
    [
        (Stage.RECIPIENT, 421, "4.3.2 going down", BUSY),
        (Stage.CONNECTING, 421, "too many connections", BUSY),
        (Stage.SENDER, 451, "4.7.1 slow down", BUSY),
        (Stage.RECIPIENT, 452, "4.5.3 too many", BUSY),
        (Stage.CONTENT, 452, "4.3.1 disk full", BUSY),
        (Stage.RECIPIENT, 450, "4.2.0 greylisted", GREYLISTED),
        (Stage.RECIPIENT, 451, "try again", GREYLISTED),
        (Stage.RECIPIENT, 452, "4.2.2 mailbox full", MAILBOX_FULL),
        (Stage.CONTENT, 454, "4.7.0 something", None),
        (Stage.CONNECTING, 454, "4.7.0 cannot check passwords now", None),
    ],
)
def test_what_passing_answers_mean(stage: Stage, code: int, text: str, expected: timedelta | None) -> None:
    outcome = outcome_of(NotTaken(stage, code, text), recipient="bob@example.org")
    assert isinstance(outcome, ProviderBusy if expected is BUSY else Failed)
    assert outcome.retry_after == expected
    if isinstance(outcome, Failed):
        assert outcome.blames_provider == (stage is Stage.CONNECTING), "one mailbox does not hold up the others"


def test_no_answer_can_be_tried_again() -> None:
    assert isinstance(outcome_of(NotReached("connecting: refused"), recipient="bob@example.org"), Failed)


def test_a_reason_is_one_short_line_without_the_address() -> None:
    answer = NotTaken(Stage.RECIPIENT, 550, "<Bob@example.org> unknown\r\n\x1b[31m" + "x" * 1_000)
    outcome = outcome_of(answer, recipient="bob@example.org")
    assert isinstance(outcome, Refused)
    assert "bob" not in outcome.reason.lower()
    assert outcome.reason.isprintable()
    assert len(outcome.reason) <= 200


def settings(**values: object) -> MailSettings:
    return MailSettings.model_validate({f"notify_smtp_{name}": value for name, value in values.items()})


def test_without_a_server_there_is_no_mail_and_nothing_to_set() -> None:
    assert settings().notify_smtp_host is None


def test_settings_of_a_server() -> None:
    found = settings(host="mail.example.org", **{"from": "Live <n@example.org>"}, username="us", password="secret")
    assert found.notify_smtp_tls == "starttls"
    assert "secret" not in repr(found)


@pytest.mark.parametrize(
    ("values", "named"),
    [
        ({"host": "mail.example.org"}, "LIVESTREAM_NOTIFY_SMTP_FROM"),
        ({"host": "mail.example.org", "from": "nobody"}, "LIVESTREAM_NOTIFY_SMTP_FROM"),
        ({"host": "mail.example.org", "from": "n@example.org", "username": "us"}, "go together"),
        (
            {"host": "mail.example.org", "from": "n@example.org", "username": "u", "password": "p", "tls": "none"},
            "readable on the way",
        ),
        ({"host": "mail example", "from": "n@example.org"}, "pattern"),
        ({"host": "mail.example.org", "from": "n@example.org", "tls": "maybe"}, "starttls"),
        ({"host": "mail.example.org", "from": "n@example.org", "port": 0}, "greater than or equal to 1"),
    ],
)
def test_settings_that_make_no_sense(values: dict[str, object], named: str) -> None:
    with pytest.raises(ValidationError, match=named) as refused:
        settings(**values)
    assert "password': 'p" not in str(refused.value)
