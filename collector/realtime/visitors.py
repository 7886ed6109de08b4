"""Who listens, and what they may hear of by now.

A stream stays open for hours, and rights change meanwhile: they are asked for again every half a minute.
"""

import logging
import random
import time
from uuid import UUID

import psycopg

from collector.errors import ApiProblem
from collector.identity.access import Access, AnyConnection, CurrentUser
from collector.identity.grants import Rights

_log = logging.getLogger(__name__)

RECHECK_S = 30.0


class Visitor:
    """A listener. Without a user where whoever reaches the collector may read."""

    def __init__(self, access: Access | None, user: CurrentUser | None, rights: Rights | None) -> None:
        self._access, self._user = access, user
        self.seen = _seen(rights)
        """The junctions that they may hear of; None: all."""
        self._ask_at_s = _next_s()

    def sees(self, junction: UUID) -> bool:
        """Whether they may hear of it."""
        return self.seen is None or junction in self.seen

    async def is_welcome(self) -> bool:
        """False: their session or API token has ended, or they are no user any more. Asked now and then only.

        Where the database does not answer the rights stay as they were: nothing can be stored then that is told.
        """
        if self._access is None or self._user is None or time.monotonic() < self._ask_at_s:
            return True
        self._ask_at_s = _next_s()
        try:
            rights = await self._access.still(self._user)
        except (psycopg.Error, TimeoutError) as error:
            _log.warning("Rights of listeners cannot be asked for: %s", error, extra={"action": "rights_unknown"})
            self._ask_at_s = time.monotonic() + 1.0
            return True
        self.seen = _seen(rights)
        return rights is not None


async def visitor_of(connection: AnyConnection, access: Access | None) -> Visitor:
    """Whoever opens a connection; `access` None: all may read.

    Raises ApiProblem: 401, nobody signed in, or not any more; 403, a page of another site opened it.
    """
    if access is None:
        return Visitor(None, None, None)
    user = await access.needed_user(connection)
    rights = await access.still(user)
    if rights is None:
        raise ApiProblem(401, "token_invalid", "The token does not hold", "the session was ended; sign in")
    return Visitor(access, user, rights)


def _seen(rights: Rights | None) -> frozenset[UUID] | None:
    return None if rights is None or rights.sees_all else frozenset(rights.junctions)


def _next_s() -> float:
    """Spread, so that a thousand who came at once do not ask at once."""
    return time.monotonic() + RECHECK_S * random.uniform(0.8, 1.2)
