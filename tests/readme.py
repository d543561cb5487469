"""The parts of README.md that say what the code says. `python -m tests.readme` writes them anew, and the collection with them.

A part stands between `<!-- name -->` and `<!-- /name -->`; one named after a file of examples/ is that file.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from pathlib import Path
from typing import get_args

from pydantic import SecretStr

from channels import PROVIDERS
from channels.base import Provider
from gateway.settings import Settings, variable
from resolvers.viewer import SCOPES
from tests import collection
from tests.proofs import HEAD, proofs

ROOT = Path(__file__).resolve().parent.parent
README = ROOT / "README.md"
PART = re.compile(r"<!-- (?P<name>[\w./-]+) -->\n.*?<!-- /(?P=name) -->", re.DOTALL)


def render(text: str) -> str:
    """README.md as it should be."""
    return PART.sub(lambda found: f"<!-- {found['name']} -->\n{part(found['name'])}\n<!-- /{found['name']} -->", text)


def part(name: str) -> str:
    match name:
        case "providers":
            return table("Provider|Channel|`config` member|`templateRef`|Settings", map(_provider, PROVIDERS))
        case "proofs":
            return table(HEAD, ([provider.about.title, *proofs(provider)] for provider in PROVIDERS))
        case "settings":
            return table("Variable|Default|Meaning", map(_setting, Settings.model_fields))
        case "scopes":
            return ", ".join(f"`{scope}`" for scope in SCOPES)
    return f"```{Path(name).suffix[1:]}\n{(ROOT / name).read_text().rstrip()}\n```"


def table(head: str, rows: Iterable[list[str]]) -> str:
    columns = head.split("|")
    lines = [columns, ["---"] * len(columns), *rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def _provider(provider: type[Provider]) -> list[str]:
    about = provider.about
    title = f"[{about.title}]({about.documentation_url})" if about.documentation_url else about.title
    settings = ", ".join(_field(provider, name) for name in provider.model_fields)
    return [title, about.channel.value, f"`{about.key}`", f"`{about.ref}`", settings]


def _field(provider: type[Provider], name: str) -> str:
    field = provider.model_fields[name]
    shown = f"`{field.alias}`"
    if field.is_required():
        shown = f"**{shown}**"
    is_secret = SecretStr in (field.annotation, *get_args(field.annotation))
    return f"{shown} (secret)" if is_secret else shown


def _setting(name: str) -> list[str]:
    field = Settings.model_fields[name]
    default = field.examples[0] if field.default_factory and field.examples else field.default
    if isinstance(default, bool):
        default = str(default).lower()
    return [f"`{variable(name)}`", "" if default in (None, ()) else f"`{default}`", str(field.description).replace("|", "\\|")]


if __name__ == "__main__":
    README.write_text(render(README.read_text()))
    collection.write()
