"""Who may connect: one user with one password, as the settings name them."""

import hmac
from dataclasses import dataclass

from tickerplant.local.gateway.faults import AUTHENTICATION_FAILED, QueryError


@dataclass(frozen=True, kw_only=True, slots=True)
class Access:
    """The one user; an empty password is a password like any other."""

    user: str
    password: str

    def require(self, user: str, password: str) -> None:
        """Let this user pass; an empty name stands for the configured user.

        Raises:
            QueryError: 516 (AUTHENTICATION_FAILED), without saying which of the two is wrong.
        """
        right_user = hmac.compare_digest((user or self.user).encode(), self.user.encode())
        right_password = hmac.compare_digest(password.encode(), self.password.encode())
        if not (right_user and right_password):
            reason = "password is incorrect, or there is no user with such name"
            raise QueryError(AUTHENTICATION_FAILED, f"{user}: Authentication failed: {reason}.")
