"""What mails say: nothing that somebody typed gets out of its place, in no template, header or link."""

import re
from datetime import UTC, datetime
from email import message_from_bytes
from email.headerregistry import Address
from email.message import EmailMessage
from email.policy import default
from html.parser import HTMLParser
from uuid import UUID, uuid4

import pytest
from jinja2 import UndefinedError

from notify.deliveries.delivery import Delivery
from notify.mail.batch import Batch, Words
from notify.mail.contents import AwayContent, DigestContent
from notify.mail.links import Links
from notify.mail.message import Unsubscribing, mail_content, message_id
from notify.mail.store import MailedFanout, Recipient
from notify.mail.templates import Template, Templates, Written, typed

HOME = "https://live.example.org"
LINKS = Links(HOME)
MARKUP = """<script>alert(1)</script><img src=x onerror="a()">"'&lt;{{ 7 * 7 }}{% if %}"""
LINE_ENDS = "chess\r\nBcc: eve@example.org\n\nAnother body\u2028x\u2029y\x85z\x00\x0b\x1b[31m"
REVERSED = "\u202egnp.exe\u202c \u2066a\u2069 \u200fb\u200e \ufeff\u00ad\u061c"
HOSTILE = [MARKUP, LINE_ENDS, REVERSED, "=?utf-8?q?=0D=0ABcc:_eve@example.org?=", "𝕴" * 300, ""]


def delivery(content: dict[str, object] | None = None, message: UUID | None = None) -> Delivery:
    now = datetime.now(UTC)
    return Delivery(1, uuid4(), message or uuid4(), uuid4(), uuid4(), "smtp:25", 0, now, now, content)


def words_of(kind: str, text: str) -> Words:
    """What a notice of this kind says when everything that people typed is `text`."""
    told = MailedFanout(uuid4(), kind, uuid4(), text, text, text, "completed")
    recipient = Recipient(uuid4(), "bob@example.org", None, text)
    content: dict[str, object] | None = None
    if kind == "digest":
        told = MailedFanout(told.fanout_id, "recording.published", told.stream_id, text, text, text, "ended")
        content = dict(DigestContent(unread=60, notice_ids=[told.fanout_id]).as_json())
    elif kind == "away":
        content = dict(AwayContent().as_json())
    words = Batch({}, {told.fanout_id: told}, {}).words_for(delivery(content, told.fanout_id), recipient, LINKS)
    assert isinstance(words, Words)
    return words


def written(kind: str, text: str) -> Written:
    words = words_of(kind, text)
    return Templates().write(
        words.template, {"home_url": HOME, "stop_url": f"{HOME}/mail.html#unsubscribe=t", **words.values}
    )


class Tags(HTMLParser):
    """What an HTML document consists of."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.found: list[str] = []
        self.attributes: list[tuple[str, str | None]] = []
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.found.append(tag)
        self.attributes += attrs


KINDS = ["stream.started", "recording.published", "digest", "away"]


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("text", HOSTILE)
def test_what_people_typed_makes_no_markup_and_no_header(kind: str, text: str) -> None:
    found, plain = written(kind, text), written(kind, "chess")
    tags, plain_tags = Tags(found.html), Tags(plain.html)
    if text:
        assert tags.found == plain_tags.found
    assert {name for name, _ in tags.attributes} <= {"href", "style", "lang", "charset", "name", "content"}
    assert all(value and value.startswith(HOME) for name, value in tags.attributes if name == "href")
    assert found.subject.isprintable()
    assert not re.search("[\u202a-\u202e\u2066-\u2069\u200e\u200f\x00\x1b]", found.subject + found.text + found.html)
    headers = parsed(found).items()
    assert [name for name, _ in headers if name.lower() == "bcc"] == []
    assert len(headers) == len(parsed(plain).items())


def parsed(words: Written, unsubscribing: Unsubscribing | None = None) -> EmailMessage:
    content = mail_content(
        words,
        sender=Address("Live", "notices", "example.org"),
        recipient="bob@example.org",
        identity="<1.2@example.org>",
        unsubscribing=unsubscribing,
    )
    assert b"\n" not in content.replace(b"\r\n", b""), "lines end as SMTP wants"
    assert max(len(line) for line in content.split(b"\r\n")) <= 998, "RFC 5322, section 2.1.1"
    message = message_from_bytes(content, policy=default)
    assert isinstance(message, EmailMessage)
    return message


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("  a \t b\n", "a b"),
        ("a\r\nBcc: x", "a Bcc: x"),
        ("\u202ecod.exe", "cod.exe"),
        ("שלום عالم", "שלום عالم"),
        ("👩\u200d💻", "👩\u200d💻"),
        ("x" * 200, "x" * 139 + "…"),
        ("\x00\x07\u2028", ""),
    ],
)
def test_typed_is_one_visible_line(text: str, expected: str) -> None:
    assert typed(text) == expected


def test_a_stream_that_starts() -> None:
    found = written("stream.started", "chess & <go>")
    assert found.subject == "chess & <go> is live: chess & <go>"
    assert "chess &amp; &lt;go&gt;" in found.html
    assert f"{HOME}/#/watch/" in found.text
    assert f"{HOME}/mail.html#unsubscribe=t" in found.text
    assert "<script" not in found.html


def test_a_digest_says_how_many_it_leaves_out() -> None:
    found = written("digest", "chess")
    assert found.subject == "60 unread notices"
    assert "and 59 more" in found.text


@pytest.mark.parametrize("template", list(Template))
def test_a_template_that_lacks_a_value_fails(template: Template) -> None:
    with pytest.raises(UndefinedError):
        Templates().write(template, {"home_url": HOME, "stop_url": None})


def test_headers_say_what_the_mail_is() -> None:
    token = "t" * 64
    unsubscribing = LINKS.unsubscribing(token)
    message = parsed(Written("Größe", "t\n", "<p>t</p>"), unsubscribing)
    assert message["Subject"] == "Größe"
    assert message["From"] == "Live <notices@example.org>"
    assert message["To"] == "bob@example.org"
    assert message["Auto-Submitted"] == "auto-generated"
    assert message["Message-ID"] == "<1.2@example.org>"
    assert abs((message["Date"].datetime - datetime.now(UTC)).total_seconds()) < 60
    assert message["List-Unsubscribe"] == f"<{HOME}/api/notifications/email/unsubscribe?token={token}>"
    assert message["List-Unsubscribe-Post"] == "List-Unsubscribe=One-Click"
    assert [part.get_content_type() for part in message.iter_parts()] == ["text/plain", "text/html"]


def test_a_long_unsubscribe_address_is_left_whole() -> None:
    """Folded and encoded, as the library does with a long word, no mail program would find the address."""
    home = "https://" + "a" * 60 + ".example.org"
    unsubscribing = Links(home).unsubscribing("t" * 64)
    content = mail_content(
        Written("s", "t\n", "h"),
        sender=Address("", "notices", "example.org"),
        recipient="bob@example.org",
        identity=message_id(uuid4(), uuid4(), "example.org"),
        unsubscribing=unsubscribing,
    )
    assert f"\r\nList-Unsubscribe: <{unsubscribing.post_url}>\r\n".encode() in content
    assert re.search(rb"\r\nMessage-ID: <[0-9a-f.-]{73}@example\.org>\r\n", content)


def test_a_mail_that_is_no_notice_has_nothing_to_unsubscribe_from() -> None:
    assert parsed(Written("s", "t\n", "h"))["List-Unsubscribe"] is None


def test_a_message_id_is_the_same_in_every_attempt() -> None:
    message, destination = uuid4(), uuid4()
    assert message_id(message, destination, "a.b") == message_id(message, destination, "a.b")
    assert message_id(message, destination, "a.b") != message_id(message, uuid4(), "a.b")


def test_nobody_can_add_a_header() -> None:
    with pytest.raises(ValueError, match="linefeed"):
        parsed(Written("hello\r\nBcc: eve@example.org", "t\n", "h"))
