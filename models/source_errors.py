"""Why a platform does not give an account's posts. `where` is the platform, or the server, that says so.

SourceError
├── AccountNotFound
├── AccountProtected
├── AccountSuspended
├── LoginNeeded    a server that shows posts only to its own people
├── OptedOut       the account says no to this
├── ServerClosed   its server's terms forbid it
├── NotProven      the bio does not hold the code that proves whose account it is
├── RateLimited    asked too often; later it goes on
├── OutOfCredit    the platform wants money
├── UsageCapped    the plan's amount is used up
├── SourceRefused  the platform does not accept the operator's key, or plan
└── SourceDown     the platform can't be reached, or makes no sense
"""

from __future__ import annotations

from datetime import datetime

from models.errors import UserError


class SourceError(UserError):
    """A platform does not give an account's posts. `where` is the platform or the server that says so."""

    def __init__(self, text: str, *, handle: str, where: str) -> None:
        super().__init__(text)
        self.handle, self.where = handle, where


class AccountNotFound(SourceError):
    """There is no such account."""

    def __init__(self, handle: str, *, where: str) -> None:
        super().__init__(
            f"There is no account @{handle} on {where}. Is the handle spelled right?", handle=handle, where=where
        )


class AccountProtected(SourceError):
    """Only followers may read the account's posts."""

    def __init__(self, handle: str, *, where: str) -> None:
        text = f"The posts of @{handle} are protected on {where}: only followers may read them, and I don't learn them."
        super().__init__(text, handle=handle, where=where)


class AccountSuspended(SourceError):
    """The platform has closed the account, or its owner has."""

    def __init__(self, handle: str, *, where: str) -> None:
        super().__init__(f"@{handle} is suspended or deactivated on {where}.", handle=handle, where=where)


class LoginNeeded(SourceError):
    """The account's server shows its posts only to who has logged in there."""

    def __init__(self, handle: str, *, where: str) -> None:
        text = (
            f"{where} shows posts only to people who are logged in there, and I am not. If @{handle} is your own "
            f"account, attach its archive."
        )
        super().__init__(text, handle=handle, where=where)


class OptedOut(SourceError):
    """The account says that it does not want this. `reason` is a whole sentence."""

    def __init__(self, handle: str, *, where: str, reason: str) -> None:
        text = (
            f"@{handle} is not learned: {reason} If it is your own account, choose the ground “my own account” "
            f"and prove it, or attach your archive."
        )
        super().__init__(text, handle=handle, where=where)
        self.reason = reason


class ServerClosed(SourceError):
    """The terms of the account's server forbid this; not even the account's owner can allow it."""

    def __init__(self, handle: str, *, where: str) -> None:
        text = (
            f"@{handle} is not learned: the terms of {where} forbid to train on what is posted there. If it is your "
            f"own account, attach its export (Preferences > Import and export)."
        )
        super().__init__(text, handle=handle, where=where)


class NotProven(SourceError):
    """The account's bio does not hold the code that proves whose it is."""

    def __init__(self, handle: str, *, where: str, code: str) -> None:
        text = (
            f"To show that @{handle} is yours, put {code} anywhere into its bio on {where}, then try again within a "
            f"day. You can take it out afterwards."
        )
        super().__init__(text, handle=handle, where=where)
        self.code = code


class RateLimited(SourceError):
    """The platform was asked too often; what came so far is kept. `until` is when it can go on, if that is known."""

    def __init__(self, handle: str, *, where: str, until: datetime | None) -> None:
        when = f"after {until:%Y-%m-%d %H:%M} UTC" if until else "in an hour"
        text = f"{where} lets me ask no more for now. What came so far is kept: /jobs retry goes on {when}."
        super().__init__(text, handle=handle, where=where)
        self.until = until


class OutOfCredit(SourceError):
    """The operator's account with the platform has no credit left."""

    def __init__(self, handle: str, *, where: str) -> None:
        text = (
            f"The operator's credit with {where} is used up. What came so far is kept: /jobs retry goes on when there "
            f"is credit again."
        )
        super().__init__(text, handle=handle, where=where)


class UsageCapped(SourceError):
    """The operator's plan with the platform has no posts left in its period."""

    def __init__(self, handle: str, *, where: str, period: str) -> None:
        text = (
            f"The operator's {period.lower()} number of posts from {where} is used up. What came so far is kept: "
            f"/jobs retry goes on when the cap is raised or starts anew."
        )
        super().__init__(text, handle=handle, where=where)
        self.period = period


class SourceRefused(SourceError):
    """The platform does not accept the operator's key or plan."""

    def __init__(self, handle: str, *, where: str, reason: str) -> None:
        super().__init__(f"{where} refuses: {reason} The operator has to mend it.", handle=handle, where=where)
        self.reason = reason


class SourceDown(SourceError):
    """The platform can't be reached, or answers what makes no sense."""

    def __init__(self, handle: str, *, where: str, reason: str) -> None:
        text = f"{where} can't be reached ({reason}). What came so far is kept: /jobs retry goes on later."
        super().__init__(text, handle=handle, where=where)
        self.reason = reason
