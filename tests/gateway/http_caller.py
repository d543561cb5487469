"""A client that asks the toy API over HTTP, and what it is answered."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any
from urllib.parse import urlencode

import aiohttp
from toy_api import AUTHORIZED, Api, serving

GRAPHQL = "application/graphql-response+json"
JSON = {"content-type": "application/json"}


class Reply:
    def __init__(self, response: aiohttp.ClientResponse, body: bytes) -> None:
        self.status = response.status
        self.headers = response.headers
        self.body = body

    @property
    def json(self) -> Any:
        return json.loads(self.body)

    @property
    def code(self) -> str:
        (error,) = self.json["errors"]
        assert set(self.json) <= {"errors", "data"}
        assert len(error["message"]) >= 5
        code: str = error["extensions"]["code"]
        return code


class Caller:
    def __init__(self, api: Api, client: aiohttp.ClientSession) -> None:
        self.api = api
        self.client = client

    async def send(self, method: str, headers: dict[str, str], data: Any = None, query: str = "") -> Reply:
        async with self.client.request(method, self.api.url + query, headers=headers, data=data) as response:
            return Reply(response, await response.read())

    async def post(self, body: Any, **headers: str) -> Reply:
        data = body if isinstance(body, bytes) else json.dumps(body).encode()
        return await self.send("POST", {**AUTHORIZED, **JSON, **headers}, data)

    async def get(self, headers: dict[str, str] | None = None, **parameters: str) -> Reply:
        return await self.send("GET", {**AUTHORIZED, **(headers or {})}, query="?" + urlencode(parameters))

    async def ask(self, query: str, **variables: Any) -> Any:
        return (await self.post({"query": query, "variables": variables})).json


@asynccontextmanager
async def calling() -> AsyncIterator[Caller]:
    """A caller of an API of its own that takes bodies of up to 10,000 bytes."""
    async with serving(Api(origins=("https://console.example",), max_body=10_000)) as api:
        async with aiohttp.ClientSession(skip_auto_headers=("Accept", "Content-Type")) as client:
            yield Caller(api, client)
