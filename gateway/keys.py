"""The key file: what an installation that was given no keys writes for itself at its first start, and never again."""

from __future__ import annotations

import base64
import datetime as dt
import os
import secrets
import stat
from pathlib import Path

from pydantic import ValidationError

from gateway.settings import Settings, SettingsError, sentence, variable

FILE_NAME = "patchbay.keys"
_OTHERS = stat.S_IRWXG | stat.S_IRWXO


def provide(settings: Settings) -> tuple[Settings, Path | None]:
    """The settings with no key missing, and the key file if it was written just now: tell the operator to keep it.

    Call it before the database is made, since only a new SQLite database gets new keys. Raises SettingsError saying what
    to do when keys are missing that cannot be made up: those of a database that is there, or that several hosts share.
    """
    missing = _missing(settings)
    if not missing:
        return settings, None
    # Looked at before the key file: another process may be writing first the one, then the other.
    is_new = not _database_exists(settings)
    path = settings.data_dir / FILE_NAME
    found = _read(path)
    if found is not None:
        return _completed(settings, missing, found, path), None
    _refuse_to_guess(settings, missing, path, is_new)
    created = _create(path, missing)
    return _completed(settings, missing, _read(path) or {}, path), path if created else None


def _missing(settings: Settings) -> list[str]:
    wanted = ["secret_keys"] if settings.jwt_jwks_url else ["secret_keys", "jwt_secret"]
    return [name for name in wanted if getattr(settings, name) is None]


def _database_exists(settings: Settings) -> bool:
    file = settings.database_file
    return file is not None and os.path.exists(file) and os.path.getsize(file) > 0


def _refuse_to_guess(settings: Settings, missing: list[str], path: Path, is_new: bool) -> None:
    if settings.database_file is None:
        raise SettingsError(
            f"{_variables(missing)}: must be set with PostgreSQL, the same on every host. "
            "Make them once: k1:$(openssl rand -base64 32) for the keys, $(openssl rand -hex 32) for the token secret."
        )
    if not is_new and "secret_keys" in missing:
        raise SettingsError(
            f"{variable('secret_keys')}: not set, and {path} is gone, but the database is there. "
            "Its secrets open only with the keys that sealed them: restore the file, or set the variable."
        )


def _create(path: Path, missing: list[str]) -> bool:
    """Write the file unless another process was faster. It appears whole or not at all."""
    _make_directory(path.parent)
    draft = path.with_name(f".{FILE_NAME}.{secrets.token_hex(8)}")
    try:
        with os.fdopen(os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w", encoding="ascii") as file:
            file.write(_fresh(missing))
            file.flush()
            os.fsync(file.fileno())
        os.link(draft, path)
    except FileExistsError:
        return False
    except OSError as error:
        raise SettingsError(f"{path}: cannot be written ({error.strerror}). Set {_variables(missing)} instead.") from None
    finally:
        draft.unlink(missing_ok=True)
    return True


def _make_directory(directory: Path) -> None:
    try:
        directory.parent.mkdir(parents=True, exist_ok=True)
        directory.mkdir(mode=0o700, exist_ok=True)
    except OSError as error:
        raise SettingsError(f"{variable('data_dir')}: {directory} cannot be made ({error.strerror}).") from None


def _fresh(missing: list[str]) -> str:
    values = {
        "secret_keys": f"{dt.datetime.now(dt.UTC):%Y%m%d}:{base64.b64encode(secrets.token_bytes(32)).decode()}",
        "jwt_secret": secrets.token_urlsafe(48),
    }
    lines = [f"{variable(name)}={values[name]}" for name in missing]
    return "\n".join(["# The keys of this Patchbay. Back this file up: without it stored secrets are lost.", *lines, ""])


def _read(path: Path) -> dict[str, str] | None:
    """The variables of the file, once it is certain that nobody else can read them; None when there is no file."""
    try:
        with path.open(encoding="utf-8") as file:
            if os.fstat(file.fileno()).st_mode & _OTHERS:
                raise SettingsError(f"{path}: others may read or write this file; run: chmod 600 {path}")
            lines = [line.strip() for line in file if not line.lstrip().startswith("#")]
    except FileNotFoundError:
        return None
    except OSError as error:
        raise SettingsError(f"{path}: cannot be read ({error.strerror}).") from None
    except UnicodeDecodeError:
        raise SettingsError(f"{path}: must be UTF-8 text.") from None
    return {name.strip(): value.strip() for name, equals, value in (line.partition("=") for line in lines) if equals}


def _completed(settings: Settings, missing: list[str], found: dict[str, str], path: Path) -> Settings:
    absent = [name for name in missing if not found.get(variable(name))]
    if absent:
        raise SettingsError(f"{path}: has no {_variables(absent)}; add it there, or set it in the environment.")
    try:
        return Settings.model_validate({**settings.model_dump(), **{name: found[variable(name)] for name in missing}})
    except ValidationError as error:
        mistakes = error.errors(include_url=False, include_input=False, include_context=False)
    raise SettingsError(*(f"{path}: {sentence(mistake)}" for mistake in mistakes))


def _variables(names: list[str]) -> str:
    return " and ".join(variable(name) for name in names)
