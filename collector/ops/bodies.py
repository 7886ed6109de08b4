"""What bodies are read with: whatever is no JSON is refused in words, and is no defect of ours."""

from typing import Any

from litestar import Request
from litestar.exceptions import SerializationException

_STATE = "json"


class JsonRequest(Request[Any, Any, Any]):
    """A request whose body is JSON, where it has one."""

    async def json(self) -> Any:
        """Raises SerializationException: it is no JSON; who asked is answered 400."""
        try:
            found = await super().json()
        except SerializationException as error:
            raise SerializationException(f"body: it is no JSON: {error}") from error
        except UnicodeDecodeError as error:
            raise SerializationException(f"body: it is no JSON, which is UTF-8: {error.reason}") from error
        except RecursionError as error:
            raise SerializationException("body: its lists and tables are nested too deeply") from error
        self.scope["state"][_STATE] = found
        return found


def json_of(request: Request[Any, Any, Any]) -> Any:
    """What was read of a request's body; None: nothing."""
    return request.scope["state"].get(_STATE)
