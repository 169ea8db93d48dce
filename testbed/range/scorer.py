# pyright: strict
"""The scorer: it alone holds the truth, answers yes or no, and writes every judgement into the log before it answers.

All that it must remember is in its folder, so one that is stopped at any moment is started again with the same score.
"""

from __future__ import annotations

import json
import time
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from testbed.core.errors import InputError
from testbed.range import claims, ledger, views
from testbed.range.claims import OF_SIDE, Claim, Decision, Flag
from testbed.range.events import Event, Fact, Log, read
from testbed.range.exercise import Exercise
from testbed.range.instance import Instance, Side, token_digest
from testbed.range.truth import Known, Played, Truth, judge, slipped

QUIET_S = 10.0
"""Seconds in which refusals of one kind are counted and not logged one by one, so that a flood cannot fill the disk."""


class Refused(Exception):  # noqa: N818
    """Something that the scorer does not answer: an HTTP status, an error id, and what the sender can do."""

    def __init__(self, status: int, id: str, what: str, fix: str, wait_s: float = 0.0) -> None:
        super().__init__(what)
        self.status, self.id, self.what, self.fix, self.wait_s = status, id, what, fix, wait_s

    def told(self) -> dict[str, str]:
        return {"id": self.id, "what": self.what, "fix": self.fix}


@dataclass(frozen=True, slots=True)
class Caller:
    """Whoever holds a token: a side of a team, or the instructor (team 0)."""

    side: Side
    team: int


class Scorer:
    """The scorer of one instance. `clock` is the time of day for the log, `ticks` measures how long ago a claim was."""

    def __init__(
        self,
        instance: Instance,
        clock: Callable[[], float] = time.time,
        ticks: Callable[[], float] = time.monotonic,
    ) -> None:
        folder = instance.scorer
        self.exercise: Exercise = instance.exercise
        self.folder, self.teams, self._ticks = folder, list(range(1, instance.teams + 1)), ticks
        self._tokens: dict[str, list[Any]] = json.loads((folder / "tokens.json").read_text(encoding="utf-8"))
        self.log = Log(folder, log_key(folder), clock)
        self._truths = truths_of(folder, self.teams)
        self._last: dict[Caller, float] = {}
        self._quiet: dict[tuple[int, str, str], tuple[float, int]] = {}
        self._answers: dict[tuple[int, str], str] = {}
        self._asked: Counter[tuple[int, str, int]] = Counter()
        for event in self.log.events:
            self._remember(event)
        if self.log.torn:
            self.log.append("recovered", "scorer", facts={"why": "an interrupted line was cut off"})

    def _remember(self, event: Event) -> None:
        if event.event == "claim":
            self._answers[event.team, str(event.facts["digest"])] = str(event.facts["answer"])
            self._asked[event.team, str(event.facts["kind"]), event.round] += 1

    def caller(self, token: str, desk: str | None = None) -> Caller:
        """Whoever this token belongs to. Raises `Refused`, also if it is not that of the `desk` that was named."""
        known = self._tokens.get(token_digest(token))
        if known is None:
            self._note(0, "unknown", "token")
            raise Refused(401, "TB-RANGE-006", "This token is not known.", "Use the one in your desk's file token.")
        caller = Caller(known[0], int(known[1]))
        if desk is not None and desk != f"{caller.side}-{caller.team}":
            self._note(caller.team, caller.side, "desk")
            raise Refused(
                403, "TB-RANGE-033", "This token belongs to another desk.", "Put each token back into its own folder."
            )
        return caller

    def claim(self, caller: Caller, body: bytes) -> str:
        """Yes or no to a claim, which is then in the log. The same claim again gets the same answer and costs nothing.

        Raises `Refused` for a claim that comes too soon, too often, in another form, or from a side that may not make
        it.
        """
        self._in_time(caller)
        claim = claims.parsed(body)
        if isinstance(claim, str):
            self._note(caller.team, caller.side, "malformed")
            raise Refused(
                422, "TB-RANGE-007", f"This is no claim ({claim}).", "testbed range claim --help shows the forms."
            )
        if claim.kind not in OF_SIDE.get(caller.side, ()):
            self._note(caller.team, caller.side, "side")
            raise Refused(403, "TB-RANGE-008", f"The {caller.side} side cannot claim a {claim.kind}.", "See the brief.")
        if claim.kind not in self.exercise.claims:
            self._note(caller.team, caller.side, "kind")
            known = ", ".join(sorted(self.exercise.claims))
            raise Refused(422, "TB-RANGE-043", f"This exercise judges no {claim.kind}.", f"It judges: {known}.")
        digest = claims.digest(claim)
        round_ = self.round(caller.team) if isinstance(claim, Flag) else claim.round
        if (answer := self._answers.get((caller.team, digest))) is not None:
            self._note(caller.team, caller.side, "repeated")
            return answer
        self._possible(caller, claim)
        if self._asked[caller.team, claim.kind, round_] >= self.exercise.limits.claims:
            self._note(caller.team, caller.side, "spent")
            raise Refused(
                429, "TB-RANGE-009", "All claims of this kind for this round are spent.", "Play another round."
            )
        return self._judged(caller, claim, digest, round_)

    def _possible(self, caller: Caller, claim: Claim) -> None:
        """Raises `Refused` for a slip that nobody can have meant. It costs nothing and tells nothing of the truth."""
        if isinstance(claim, Flag):
            return
        if claim.round not in {e.round for e in self.log.events if e.event == "round" and e.team == caller.team}:
            self._note(caller.team, caller.side, "round")
            raise Refused(422, "TB-RANGE-034", f"Round {claim.round} was not played yet.", "Give another --round.")
        if self.exercise.limits.claims_close and claim.round < self.round(caller.team):
            self._note(caller.team, caller.side, "closed")
            raise Refused(
                422, "TB-RANGE-052", f"Round {claim.round} is closed.", "It could be claimed until the next one began."
            )
        if isinstance(claim, Decision) and self._asked[caller.team, claim.kind, claim.round]:
            self._note(caller.team, caller.side, "decided")
            raise Refused(
                422,
                "TB-RANGE-044",
                f"Candidate {claim.round} is decided already.",
                "A decision is final. See the brief.",
            )
        played = self.known().played[caller.team].get(claim.round)
        if (slip := slipped(claim, self._truths[caller.team], self.exercise, played)) is not None:
            self._note(caller.team, caller.side, "slip")
            raise Refused(422, "TB-RANGE-035", f"This claim cannot be judged. {slip}", "Mend it. It cost nothing.")

    def _judged(self, caller: Caller, claim: Claim, digest: str, round_: int) -> str:
        facts = {**decided(claim, caller.team, self.known(), self.log.events), "digest": digest}
        # The claim is kept before the event is written: a log without its claim could not be judged again.
        kept = self.folder / "claims" / f"{digest}.json"
        kept.touch(mode=0o600)
        kept.write_text(claim.model_dump_json(), encoding="utf-8")
        self._remember(self.log.append("claim", caller.side, caller.team, round_, facts))
        return str(facts["answer"])

    def _in_time(self, caller: Caller) -> None:
        now = self._ticks()
        wait = self._last.get(caller, -1e18) + self.exercise.limits.seconds_between - now
        if wait > 0:
            self._note(caller.team, caller.side, "too soon")
            raise Refused(429, "TB-RANGE-010", "This claim comes too soon after the last one.", "Wait.", wait)
        self._last[caller] = now

    def _note(self, team: int, actor: str, why: str) -> None:
        """Log a refusal; further ones of the same kind within `QUIET_S` are counted, and told with the next one."""
        now, key = self._ticks(), (team, actor, why)
        since, uncounted = self._quiet.get(key, (-1e18, 0))
        if now - since < QUIET_S:
            self._quiet[key] = (since, uncounted + 1)
            return
        self._quiet[key] = (now, 0)
        self.log.append("refused", actor, team, facts={"why": why, "more_before": uncounted})

    def known(self) -> Known:
        """All that judgements depend on, as of now."""
        return known(self.folder, self.exercise, self._truths, self.log.events)

    def round(self, team: int) -> int:
        """The number of the last round that a team has played."""
        return max((e.round for e in self.log.events if e.event == "round" and e.team == team), default=0)

    def note(self, caller: Caller, event: str, facts: Mapping[str, Fact], team: int) -> None:
        """An event that another part of the range reports: the instructor's rounds and injects, blue's switches."""
        allowed = {"white": ("start", "round", "inject", "hint", "fault"), "blue": ("defend",), "red": ()}
        if event not in allowed[caller.side] or (caller.team and team != caller.team):
            self._note(caller.team, caller.side, "event")
            raise Refused(403, "TB-RANGE-011", f"The {caller.side} side cannot report this.", "See the brief.")
        round_ = int(facts.get("round") or 0) if event == "round" else self.round(team)
        if event == "round" and round_ <= self.round(team):
            return  # an interrupted command reports its round again
        self.log.append(event, caller.side, team, round_, {k: v for k, v in facts.items() if k != "round"})

    def score(self, caller: Caller | None = None) -> str:
        """The score's text. A player's has no ledger, whose reasons are for the debriefing."""
        told = ledger.score(self.exercise, self.log.events, self.teams)
        return ledger.text(told if caller is None or caller.side == "white" else views.public(told))

    def view(self, caller: Caller) -> dict[str, Any]:
        """What a side is shown on its page."""
        return views.view(self.exercise, self.log.events, self.teams, caller.side, caller.team)


def log_key(folder: Path) -> bytes:
    """The key by which the log is chained."""
    return bytes.fromhex((folder / "key").read_text(encoding="utf-8").strip())


def truths_of(folder: Path, teams: list[int]) -> dict[int, Truth]:
    """The truth of every team."""
    return {team: Truth.read(folder / f"truth-{team}.npz") for team in teams}


def known(folder: Path, exercise: Exercise, truths: Mapping[int, Truth], events: list[Event]) -> Known:
    """What judgements depend on after these events."""
    played: dict[int, dict[int, Played]] = {}
    for event in events:
        if event.event == "round":
            act, par, leaks = (event.facts.get(k) for k in ("act", "par", "leaks"))
            played.setdefault(event.team, {})[event.round] = Played(
                people_of(folder, event.team, event.round),
                None if act is None else str(act),
                float(par) if isinstance(par, int | float) else None,
                None if leaks is None else bool(leaks),
                {k: str(event.facts[k]) for k in ("original", "synthetic") if k in event.facts},
            )
    return Known(truths, played, exercise.limits.membership_fpr)


def people_of(folder: Path, team: int, round_: int) -> dict[str, tuple[str, ...]]:
    """The patients behind each hospital's message of a round."""
    told = json.loads((folder / f"round-{team}-{round_:03d}.json").read_text(encoding="utf-8"))
    return {str(hospital): tuple(map(str, people)) for hospital, people in told.items()}


def decided(claim: Claim, team: int, known: Known, before: list[Event]) -> dict[str, Fact]:
    """What the log says of a claim: the answer, the reason and, of a reconstruction, the patient.

    Nobody gets points twice for one patient or one flag.
    """
    judgement = judge(claim, team, known)
    credited = {
        e.facts["about"]
        for e in before
        if e.event == "claim" and e.team == team and e.facts["kind"] == claim.kind and e.facts["answer"] == "yes"
    }
    again = judgement.yes and judgement.about in credited
    facts: dict[str, Fact] = {
        **judgement.facts,
        "kind": claim.kind,
        "answer": "yes" if judgement.yes and not again else "no",
        "reason": "already credited" if again else judgement.reason,
        "about": judgement.about,
    }
    if claim.kind == "detection":
        facts["technique"] = claim.technique
    return facts


def rescored(instance: Instance) -> str:
    """The score's text, computed again: every claim is judged anew from its kept text and the truth.

    Raises `InputError` for a log that was changed, and for a claim whose text is missing or judged otherwise.
    """
    folder, teams = instance.scorer, list(range(1, instance.teams + 1))
    events, truths = read(folder, log_key(folder)), truths_of(folder, teams)
    again: list[Event] = []
    for event in events:
        if event.event == "claim":
            kept = folder / "claims" / f"{event.facts['digest']}.json"
            claim = claims.parsed(kept.read_bytes()) if kept.is_file() else "missing"
            if isinstance(claim, str) or claims.digest(claim) != event.facts["digest"]:
                raise InputError(
                    "TB-RANGE-012",
                    f"The claim of event {event.seq} cannot be judged again.",
                    "Its text is missing or was changed.",
                    "Take it from a snapshot.",
                )
            facts = decided(claim, event.team, known(folder, instance.exercise, truths, again), again)
            event = replace(event, facts={**facts, "digest": event.facts["digest"]})
        again.append(event)
    return ledger.text(ledger.score(instance.exercise, again, teams))
