"""Mail addresses: which texts are one, and which of them reach the same mailbox."""

from email.headerregistry import Address
from email.utils import parseaddr
from typing import Annotated

from email_validator import EmailNotValidError, validate_email
from pydantic import AfterValidator, Field

ADDRESS_CHARACTERS_MAX = 254
"""RFC 5321, section 4.5.3.1.3: 256 octets with the angle brackets."""
NAME_CHARACTERS_MAX = 64


class InvalidAddress(ValueError):
    """The text is no address that mail can be sent to."""


def parse_address(text: str) -> str:
    """The address in the form that is sent to, its domain in ASCII; raises InvalidAddress.

    Neither quoted local parts nor addresses by IP number; none outside of ASCII before the @, which many servers do not
    take. Whether the domain exists is not asked: the mail that verifies the address tells.
    """
    if len(text) > ADDRESS_CHARACTERS_MAX:
        raise InvalidAddress(f"an address has at most {ADDRESS_CHARACTERS_MAX} characters")
    try:
        found = validate_email(text, check_deliverability=False, allow_smtputf8=False, strict=True)
    except EmailNotValidError as error:
        raise InvalidAddress(f"not a mail address: {error}") from error
    address = found.ascii_email
    if address is None or len(address) > ADDRESS_CHARACTERS_MAX:
        raise InvalidAddress(f"an address has at most {ADDRESS_CHARACTERS_MAX} characters")
    return address


def parse_sender(text: str) -> Address:
    """`Name <address>` or an address, as a header takes it; raises InvalidAddress."""
    if not text.isprintable():
        raise InvalidAddress("not a sender: it has characters that cannot be printed")
    name, plain = parseaddr(text)
    if len(name) > NAME_CHARACTERS_MAX:
        raise InvalidAddress(f"a sender's name has at most {NAME_CHARACTERS_MAX} characters")
    return Address(display_name=name, addr_spec=parse_address(plain))


def address_key(address: str) -> str:
    """The same for addresses that most likely reach the same mailbox: capitals and a `+tag` make no difference."""
    local, _, domain = address.lower().rpartition("@")
    return f"{local.partition('+')[0]}@{domain}"


MailAddress = Annotated[str, Field(min_length=3, max_length=ADDRESS_CHARACTERS_MAX), AfterValidator(parse_address)]
