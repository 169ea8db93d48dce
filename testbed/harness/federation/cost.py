"""What the defences of a federation cost: bytes that a client sends in a round, and CPU seconds of its round."""

from __future__ import annotations

import math
import time
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from testbed.core import Cohort, Exchange, Transcript
from testbed.core.defence import Defence
from testbed.findings.schema import Traffic
from testbed.subjects.federation.attendance import Attendance
from testbed.subjects.federation.federation import Federation

ROUNDS, RECORDS = 2, 100
"""Most rounds of the trainings that are timed, and most records of each client."""
FLOAT = 32
"""Bits of a number, and of the largest value that stands beside numbers in fewer bits."""


@dataclass(frozen=True, slots=True)
class Cost:
    """Bytes of one client's round, and its CPU seconds: with the defences, and without."""

    traffic: Traffic
    seconds: dict[str, float]


def cost(federation: Federation, people: Cohort, records: int) -> Cost:
    """The cost of one client's round in a short training on these people, with the defences and without any.

    Seconds differ from run to run and between machines. They include the server's share of the round.
    """
    protocol = replace(federation.protocol, rounds=min(ROUNDS, federation.protocol.rounds))
    held = max(1, min(records, RECORDS))
    rows = [np.arange(client * held, (client + 1) * held) % len(people) for client in range(protocol.clients)]
    parts = [people.take(r) for r in rows]
    short = replace(federation, protocol=protocol, guards=(), attendance=Attendance())
    bare = replace(short, defences=(), secure=None)
    bare.run(parts)  # what is done only once in a process is no cost of a round
    turns = short.protocol.rounds * protocol.clients  # a defence may change the rules
    _, without = _timed(bare, parts)
    seen, defended = _timed(short, parts)
    told = [traffic(e, protocol.kind == "fedsgd", federation.defences) for e in seen.exchanges if e.returned]
    dense, smallest = np.mean(told, axis=0).tolist()
    if short.secured is not None:  # a mask makes every number look random
        smallest = dense
    return Cost(Traffic(dense=dense, smallest=smallest), {"with": defended / turns, "without": without / turns})


def _timed(federation: Federation, parts: Sequence[Cohort]) -> tuple[Transcript, float]:
    started = time.process_time()
    seen = federation.run(parts)
    return seen, time.process_time() - started


def traffic(exchange: Exchange, gradients: bool, defences: Sequence[Defence]) -> tuple[float, float]:
    """Bytes of an answer at 32 bits a number, and in its smallest form.

    The smallest form has the bits a number that the last defence of the update allows. It holds all numbers, or those
    that are not 0, each with its place. Where it has fewer bits, the largest value of each array stands beside it.
    """
    sent, returned = exchange.sent or {}, exchange.returned or {}
    update = {k: v if gradients else v - sent[k] for k, v in returned.items()}
    numbers = sum(v.size for v in update.values())
    there = sum(int(np.count_nonzero(v)) for v in update.values())
    last = next((d for d in reversed(defences) if d.where == "update"), None)
    bits = last.bits(**last.params) if last and last.bits else FLOAT
    beside = FLOAT * len(update) if bits < FLOAT else 0
    place = math.ceil(math.log2(max(numbers, 2)))
    return numbers * FLOAT / 8, (min(numbers * bits, there * (bits + place)) + beside) / 8
