"""Who is the server in turns sees whole rounds, and of all others what its own client is sent."""

from __future__ import annotations

import numpy as np
import pytest

from testbed.core import Exchange, Protocol, Threat, Transcript
from testbed.core.errors import ThreatError
from testbed.subjects.federation.tap import seen_by


def transcript() -> Transcript:
    held = {"w": np.zeros(1)}
    exchanges = tuple(Exchange(r, c, held, held) for r in (1, 2, 3, 4) for c in (0, 1, 2))
    return Transcript(exchanges, None, Protocol(), "server", held)


def test_a_server_in_turns_sees_all_of_its_rounds_and_its_own_messages_of_others() -> None:
    seen = seen_by(transcript(), Threat("server", nodes=(2,), turns=(1, 4)))
    assert [e.key for e in seen.exchanges] == [(1, 0), (1, 1), (1, 2), (2, 2), (3, 2), (4, 0), (4, 1), (4, 2)]
    assert seen.position == "server"
    assert seen.final is not None


def test_one_without_turns_is_a_client_of_the_server_s_attacks_and_a_fixed_server_sees_everything() -> None:
    never = seen_by(transcript(), Threat("server", nodes=(2,), turns=()))
    assert [e.client for e in never.exchanges] == [2, 2, 2, 2]
    assert len(seen_by(transcript(), Threat("server")).exchanges) == 12


def test_whose_records_are_the_attacker_s_own() -> None:
    assert Threat("client", nodes=(1,)).own == (1,)
    assert Threat("server", nodes=(2,), turns=(1,)).own == (2,)
    assert Threat("server").own == ()


@pytest.mark.parametrize("threat", [("client", (0,)), ("recipient", ()), ("server", ())])
def test_turns_belong_to_a_server_that_is_also_a_client(threat: tuple[str, tuple[int, ...]]) -> None:
    with pytest.raises(ThreatError, match="TB-THREAT-004"):
        Threat(threat[0], nodes=threat[1], turns=(1,))  # type: ignore[arg-type]
