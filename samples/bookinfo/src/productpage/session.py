"""The session: a cookie that holds the user's name, signed so that it can be believed."""

from __future__ import annotations

import os
from base64 import urlsafe_b64decode, urlsafe_b64encode

NAME = "session"
FORGET = f"{NAME}=; Path=/; Max-Age=0; HttpOnly; SameSite=Lax"
LONGEST_NAME = 64  # characters

# No password is asked for, so this guards nothing of worth; a fixed default lets replicas read each other's cookies.
SECRET = os.environ.get("SESSION_SECRET", "a bookstore that trusts its readers").encode()


def write_user(user: str) -> str:
    """Return the Set-Cookie header that signs `user` in; an empty name signs out."""
    user = "".join(letter for letter in user.strip() if letter.isprintable())[:LONGEST_NAME]
    # Names become a header later on, which carries Latin-1 alone.
    user = user.encode("latin-1", "ignore").decode("latin-1")
    if not user:
        return FORGET
    name = urlsafe_b64encode(user.encode()).decode().rstrip("=")
    return f"{NAME}={name}.{_sign(name)}; Path=/; HttpOnly; SameSite=Lax"


def read_user(cookies: str) -> str:
    """Return who a Cookie header says is signed in; "" where nobody is or the signature is wrong."""
    for cookie in cookies.split(";"):
        key, _, value = cookie.strip().partition("=")
        name, _, signature = value.partition(".")
        if key == NAME and signature and _is_same(signature, _sign(name)):
            return urlsafe_b64decode(name + "=" * (-len(name) % 4)).decode()
    return ""


def _sign(name: str) -> str:
    import hmac  # loaded when somebody signs in: start-up does without

    return hmac.new(SECRET, name.encode(), "sha256").hexdigest()[:32]


def _is_same(one: str, other: str) -> bool:
    import hmac

    return hmac.compare_digest(one.encode(), other.encode())
