# pyright: strict
"""A desk: what one side of one team may ask of the scorer, over HTTP with its own token."""

from __future__ import annotations

import json
import os
import ssl
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import httpx

from testbed.core.errors import RunError, UsageError
from testbed.range.events import Fact
from testbed.range.instance import OF_DESK, Instance, Side
from testbed.range.processes import door

PATIENCE_S = 30.0
STATIONS = "TESTBED_STATIONS"
"""The environment variable that is set where the hospitals are containers of their own."""
ADDRESS, AUTHORITY = "TESTBED_SCORER", "TESTBED_SCORER_CA"
"""The environment variables that name the scorer's address and the certificate of its authority, where the scorer is no
process of this machine."""


class NotJudgedError(UsageError):
    """What the scorer refused, with its own id; `wait_s` seconds later it may answer."""

    def __init__(self, told: Mapping[str, str], wait_s: float) -> None:
        later = f" Try again in {wait_s:.0f} seconds." if wait_s >= 1 else ""
        super().__init__(told["id"], told["what"], "The scorer does not answer it.", told["fix"] + later)
        self.wait_s = wait_s


@dataclass(frozen=True, slots=True)
class Desk:
    """One side's way to the scorer, with the `token` that is given, or the one of its folder."""

    instance: Instance
    side: Side
    team: int = 0
    token: str | None = None

    def claim(self, claim: Mapping[str, Any]) -> bool:
        """Is this claim right? Raises `NotJudgedError` for one that the scorer does not judge."""
        return self._post("/claim", claim)["answer"] == "yes"

    def note(self, event: str, facts: Mapping[str, Fact], team: int | None = None) -> None:
        """Report an event."""
        self._post("/note", {"event": event, "team": self.team if team is None else team, "facts": dict(facts)})

    def score(self) -> str:
        """The score's text."""
        return self._answered("GET", "/score").text

    def view(self) -> dict[str, Any]:
        """What this side is shown on its page."""
        return self._answered("GET", "/view").json()

    def _post(self, path: str, content: Mapping[str, Any]) -> dict[str, Any]:
        return self._answered("POST", path, json.dumps(content)).json()

    def _answered(self, method: str, path: str, content: str | None = None) -> httpx.Response:
        if address(self.instance) is None:
            raise closed(self.instance)
        token = self.token or self.instance.token(self.side, self.team)
        headers = {"authorization": f"Bearer {token}", OF_DESK: f"{self.side}-{self.team}"}
        return answered(self.instance, method, path, headers, content)


def address(instance: Instance) -> str | None:
    """Where the scorer answers; None if it is a process of this machine and does not run."""
    found = os.environ.get(ADDRESS)
    if found or (running := door(instance)) is None:
        return found or None
    return running.url


def who(instance: Instance, token: str) -> tuple[Side, int]:
    """Whose token this is: a side and its team. Raises `NotJudgedError` if it is nobody's."""
    told = answered(instance, "GET", "/who", {"authorization": f"Bearer {token}"}).json()
    return told["side"], int(told["team"])


def answered(
    instance: Instance, method: str, path: str, headers: Mapping[str, str], content: str | None = None
) -> httpx.Response:
    """The scorer's answer. Raises `UsageError` if it does not run, and `NotJudgedError` for what it refuses."""
    found, authority = address(instance), os.environ.get(AUTHORITY)
    if found is None:
        raise closed(instance)
    trusted = ssl.create_default_context(cafile=authority) if authority else True
    try:
        with httpx.Client(timeout=PATIENCE_S, trust_env=False, verify=trusted) as client:
            answer = client.request(method, found + path, content=content, headers=dict(headers))
    except httpx.HTTPError:
        raise closed(instance) from None
    if answer.is_success:
        return answer
    try:
        told = answer.json()
        assert {"id", "what", "fix"} <= told.keys()
    except (ValueError, AssertionError, AttributeError):
        raise RunError(
            "TB-RANGE-016",
            "The scorer failed.",
            f"It answered with status {answer.status_code}.",
            "See scorer/scorer.log in the instance's folder.",
        ) from None
    raise NotJudgedError(told, float(answer.headers.get("retry-after", 0)))


def closed(instance: Instance) -> UsageError:
    """The error for a scorer that does not run."""
    return UsageError(
        "TB-RANGE-017",
        f"The scorer of {instance.name} does not run.",
        "It was stopped, or it ended. What it had answered is in its log.",
        f"Start it again: testbed range up {instance.name}",
    )
