"""Addresses as people write them in settings, and as we use them. Refused ones raise ValueError without the address."""

from __future__ import annotations

from pathlib import Path
from urllib.parse import SplitResult, urlsplit

from sqlalchemy.engine import URL, make_url
from sqlalchemy.exc import ArgumentError

ROOT = Path(__file__).resolve().parent.parent
_DRIVERS = {
    "sqlite": "sqlite+aiosqlite",
    "sqlite+aiosqlite": "sqlite+aiosqlite",
    "postgres": "postgresql+asyncpg",
    "postgresql": "postgresql+asyncpg",
    "postgresql+asyncpg": "postgresql+asyncpg",
}


def normal_database_url(text: str) -> str:
    """The URL with the asynchronous driver, and a SQLite path made absolute. Raises ValueError without the URL."""
    try:
        url = make_url(text)
    except (ArgumentError, ValueError):
        raise ValueError("must be a URL beginning with sqlite:/// or postgresql://") from None
    if url.drivername not in _DRIVERS:
        raise ValueError("must begin with sqlite:/// or postgresql://")
    url = url.set(drivername=_DRIVERS[url.drivername])
    url = _sqlite_on_disk(url) if url.get_backend_name() == "sqlite" else _asyncpg_names(url)
    return url.render_as_string(hide_password=False)


def _sqlite_on_disk(url: URL) -> URL:
    if not url.database or url.database.startswith((":memory:", "file:")) or url.host:
        raise ValueError("must name a file, as in sqlite:///data/patchbay.db")
    return url.set(database=str(ROOT / url.database))


def _asyncpg_names(url: URL) -> URL:
    """Hosted databases hand out libpq's `sslmode`, which asyncpg calls `ssl`."""
    if not url.database:
        raise ValueError("must name a database, as in postgresql://host/patchbay")
    mode = url.query.get("sslmode")
    return url if mode is None else url.difference_update_query(["sslmode"]).update_query_dict({"ssl": mode})


def web_url(text: str) -> SplitResult:
    problem = "must be an http or https URL with a host and without credentials, query or fragment"
    try:
        url = urlsplit(text)
        usable = url.scheme in ("http", "https") and url.hostname and url.port != 0
    except ValueError:
        raise ValueError(problem) from None
    if not usable or "@" in url.netloc or url.query or url.fragment or not text.isprintable() or " " in text:
        raise ValueError(problem)
    return url


def origin_of(text: str) -> str:
    url = web_url(text)
    if url.path not in ("", "/"):
        raise ValueError("must be origins without a path, as in https://app.example.com")
    return f"{url.scheme}://{url.netloc.lower()}"
