"""Takes passwords out of text that people will see: sources of cameras hold them, and errors quote sources."""

import re

_HIDDEN = "***"
_USERINFO = re.compile(
    r"(?P<scheme>[A-Za-z][A-Za-z0-9+.-]*://)(?P<user>[^/\s:@]*)"
    r"(?::(?!\d{1,5}/\S*@[^/\s.:@]*(?:\s|$))\S*|[^/\s]*)@"
)
"""To the last @, since people write passwords as they are, with @ : / ? and # in them. Left alone is what has a
port first, and no host behind its last @: `camera:554/stream@2`."""
_NAMED = re.compile(
    r"(?P<name>(?:pass(?:w(?:or)?d)?|pwd|psw|secret|token|api_?key|auth|signature)\s*[=:]\s*)"
    r"(?P<value>[^&\s\"',;]+)",
    re.IGNORECASE,
)


def redact(text: str) -> str:
    """`text` without passwords in URLs and in what looks like `password=...`."""
    text = _USERINFO.sub(_hide_password, text)
    return _NAMED.sub(lambda found: found["name"] + _HIDDEN, text)


def _hide_password(found: re.Match[str]) -> str:
    """Keeps the user's name where there is one: a wrong one is a common mistake. A lone name may be a token."""
    userinfo = found[0][len(found["scheme"]) :]
    user = found["user"] if ":" in userinfo else _HIDDEN
    return f"{found['scheme']}{user}:{_HIDDEN}@"
