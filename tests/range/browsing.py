"""A browser that asks the board in this process, and the pages that it gets."""

from __future__ import annotations

import asyncio
from html.parser import HTMLParser
from typing import Any

import httpx

from testbed.range.board import Board

HERE = "http://127.0.0.1:8000"


class Page(HTMLParser):
    """What a page has, for those who do not see it too."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.text, self.tags = text, list[tuple[str, dict[str, str]]]()
        self.words = list[str]()
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, {k: v or "" for k, v in attrs}))

    def handle_data(self, data: str) -> None:
        self.words.append(data)

    def all(self, *tags: str) -> list[dict[str, str]]:
        return [attributes for tag, attributes in self.tags if tag in tags]

    def csrf(self) -> str:
        return next(a["value"] for a in self.all("input") if a.get("name") == "csrf")

    @property
    def said(self) -> str:
        return " ".join(" ".join(self.words).split())


class Browser:
    """Somebody's browser, at the board of a game whose scorer answers in this process."""

    def __init__(self, board: Board) -> None:
        self.app, self.cookies = board.application(), dict[str, str]()

    def get(self, path: str = "/", **more: Any) -> httpx.Response:
        return asyncio.run(self._asked("GET", path, more))

    def page(self) -> Page:
        return Page(self.get().text)

    def post(self, path: str, origin: str | None = HERE, **fields: Any) -> httpx.Response:
        headers = {"origin": origin} if origin else {}
        return asyncio.run(self._asked("POST", path, {"data": fields, "headers": headers}))

    def enter(self, token: str) -> httpx.Response:
        return self.post("/enter", token=token)

    def send(self, path: str, **fields: Any) -> Page:
        answer = self.post(path, csrf=self.page().csrf(), **fields)
        assert answer.status_code == 303
        return self.page()

    async def _asked(self, method: str, path: str, more: dict[str, Any]) -> httpx.Response:
        transport = httpx.ASGITransport(self.app)
        async with httpx.AsyncClient(transport=transport, base_url=HERE, cookies=self.cookies) as client:
            answer = await client.request(method, path, **more)
            self.cookies = dict(client.cookies)
            return answer
