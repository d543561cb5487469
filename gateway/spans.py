"""Spans around the parts of a process, where they are wanted."""

from __future__ import annotations

import importlib

import strawberry
from starlette.types import ASGIApp

from delivery.metrics import Meters
from gateway.settings import Settings, SettingsError, variable
from schema.documents import Documents
from schema.engine import Engine


class Untraced:
    """The parts of a process as they are. `gateway.telemetry.Traces` has the same parts with spans around them."""

    def meters(self) -> Meters:
        return Meters()

    def engine(self, schema: strawberry.Schema, documents: Documents) -> Engine:
        return Engine(schema, documents)

    def around(self, app: ASGIApp) -> ASGIApp:
        return app

    def close(self) -> None:
        """Hand over what is left; may take seconds, so call it in a thread."""


def traces_of(settings: Settings) -> Untraced:
    """What the settings ask for. Raises SettingsError where OpenTelemetry is wanted and not installed."""
    if not settings.otel:
        return Untraced()
    try:
        telemetry = importlib.import_module("gateway.telemetry")
    except ModuleNotFoundError as error:
        raise SettingsError(
            f"{variable('otel')}: {error.name} is not installed; install the optional dependencies `otel`."
        ) from None
    exporting: Untraced = telemetry.Traces(telemetry.exporter())
    return exporting
