"""The HTTP API of the second factor."""

from aiohttp import web
from pydantic import BaseModel, Field

from accounts.errors import TotpAlreadyOn, TotpCodeWrong, TotpNotOn
from accounts.own_account_api import CONFIRMING, CONFIRMING_BY_CODE, confirmed
from accounts.parts import AccountsParts
from accounts.words import AccountsBody, ConfirmedBody, GivenCode, PasswordBody
from runtime.endpoints import endpoint
from runtime.limits import LOGINS
from runtime.tokens import Caller


class CodeBody(AccountsBody):
    """What the app shows."""

    code: GivenCode


class EnrolmentView(BaseModel):
    """What an authenticator app needs, shown this once."""

    secret: str = Field(description="To be typed into the app, in base32.")
    otpauth_uri: str = Field(description="The same as a link, or to be drawn as a QR code.")


class RecoveryCodesView(BaseModel):
    """What lets one in without the app, shown this once."""

    recovery_codes: list[str] = Field(description="Each works once, in place of a code.")


class TotpApi:
    """Switching the second factor on and off."""

    tag = "accounts"

    def __init__(self, parts: AccountsParts) -> None:
        self._parts = parts

    @endpoint("POST", "/api/auth/totp", status=201, limit=LOGINS, problems=(*CONFIRMING, TotpAlreadyOn))
    async def enrol_totp(self, caller: Caller, body: PasswordBody) -> EnrolmentView:
        """Get a secret for an authenticator app; it counts once it is confirmed."""
        account = await self._parts.confirmation.by_password(caller, body.password.get_secret_value())
        enrolment = await self._parts.factor.enrol(caller.user_id, account.user.username)
        return EnrolmentView(secret=enrolment.secret, otpauth_uri=enrolment.uri)

    @endpoint(
        "POST", "/api/auth/totp/confirm", limit=LOGINS, problems=(*CONFIRMING, TotpNotOn, TotpAlreadyOn, TotpCodeWrong)
    )
    async def confirm_totp(self, caller: Caller, body: CodeBody, request: web.Request) -> RecoveryCodesView:
        """Switch the second factor on with the first code of the app."""
        place = await self._parts.throttle.place(caller.user_id, self._parts.addresses.of(request))
        codes = await self._parts.factor.confirm(caller.user_id, body.code.get_secret_value(), place)
        return RecoveryCodesView(recovery_codes=codes)

    @endpoint("POST", "/api/auth/totp/recovery-codes", limit=LOGINS, problems=(*CONFIRMING_BY_CODE, TotpNotOn))
    async def renew_recovery_codes(
        self, caller: Caller, body: ConfirmedBody, request: web.Request
    ) -> RecoveryCodesView:
        """Get new recovery codes; those of before work no more."""
        await self._confirmed(caller, body, request)
        return RecoveryCodesView(recovery_codes=await self._parts.factor.new_recovery_codes(caller.user_id))

    @endpoint("DELETE", "/api/auth/totp", limit=LOGINS, problems=(*CONFIRMING_BY_CODE, TotpNotOn))
    async def switch_totp_off(self, caller: Caller, body: ConfirmedBody, request: web.Request) -> None:
        """Switch the second factor off; needs the password and a code."""
        await self._confirmed(caller, body, request)
        await self._parts.factor.switch_off(caller.user_id)

    async def _confirmed(self, caller: Caller, body: ConfirmedBody, request: web.Request) -> None:
        account = await confirmed(self._parts, caller, body, request)
        if not account.has_totp:
            raise TotpNotOn("there is nothing to switch off or to renew")
