"""Whoever has an access token proves again who they are: by the password, and a code where that is asked for."""

from accounts.errors import PasswordWrong
from accounts.passwords import Passwords
from accounts.second_factor import SecondFactor
from accounts.store import Account, AccountStore
from accounts.throttle import Throttle
from runtime.tokens import Caller


class Confirmation:
    """Asks for the password again. Attempts count, so that a stolen access token does not help to guess it."""

    def __init__(self, store: AccountStore, passwords: Passwords, throttle: Throttle, factor: SecondFactor) -> None:
        self._store = store
        self._passwords = passwords
        self._throttle = throttle
        self._factor = factor

    async def by_password(self, caller: Caller, password: str) -> Account:
        """The account. Raises AccountGone, TooManyAttempts, PasswordWrong, LoginsBusy."""
        account, _ = await self._store.find(caller.user_id)
        await self._throttle.count_password(caller.user_id, caller.session_id)
        if not await self._passwords.check(password, account.password_hash):
            raise PasswordWrong("it is not the password of this account")
        await self._throttle.forget_passwords(caller.user_id, caller.session_id)
        return account

    async def by_password_and_code(self, caller: Caller, password: str, code: str | None, address: str) -> Account:
        """The account; who has a second factor needs it, too. Raises TotpRequired and TotpCodeWrong as well."""
        account = await self.by_password(caller, password)
        if account.has_totp:
            # Not the session: it may be from before there was a second factor.
            place = await self._throttle.place(caller.user_id, address)
            await self._factor.check(caller.user_id, code, place)
        return account
