"""A federation as a value; running it turns people's records into the server's transcript."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

import numpy as np

from testbed.core import Act, Array, Cohort, ModelSpec, Protocol, Transcript
from testbed.core.defence import Defence
from testbed.core.errors import UsageError
from testbed.subjects.federation import compat, secure
from testbed.subjects.federation.apps import Ordered, adversary, client_app, server_app, strategy_for
from testbed.subjects.federation.secure import SecureAggregation
from testbed.subjects.federation.tap import record


@dataclass(frozen=True, slots=True)
class Federation:
    """A recipe: the model, the rules of training, and the defences of a federation."""

    model: ModelSpec
    protocol: Protocol
    seed: int = 0
    defence: Defence | None = None
    tolerate: bool = False
    secure: SecureAggregation | None = None
    start: Mapping[str, Array] | None = field(default=None, repr=False)
    """Parameters of an already trained model to begin with; otherwise they are drawn by `seed`."""

    def run(
        self, partitions: Sequence[Cohort], engine: str = "in-process", act: Act | None = None, actor: str | None = None
    ) -> Transcript:
        """Trains on one partition a client and returns what the server sees.

        `act` is what a malicious position does meanwhile, and `actor` the name of the attack. Raises `UsageError` for
        an unknown engine or a client without records, `RunError` if the federation fails.
        """
        if engine not in compat.ENGINES:
            raise UsageError(
                "TB-RUN-004",
                f"There is no engine called {engine!r}.",
                "A federation runs in this process or on Flower's simulation runtime.",
                f"Use one of: {', '.join(compat.ENGINES)}.",
            )
        if not all(map(len, partitions)):
            raise UsageError(
                "TB-SPLIT-012",
                "A client holds no record.",
                "The mean over no records is undefined, and would make the model unusable.",
                "Use fewer clients, more members, or another partition.",
            )
        protocol = replace(self.protocol, clients=len(partitions))
        model = act.model if act and act.model else self.model
        with compat.quiet():
            ordered = Ordered(strategy_for(protocol), act and act.craft, self.tolerate, act and act.observe)
        tap = record(ordered, model, protocol)
        tap.partition_of = ordered.partition_of
        mods = [self.defence.mod(self.seed)] if self.defence else []
        if act and act.answer:
            mods.insert(0, adversary(act.answer, act.nodes))
        if self.secure:
            # Updates are changed before they are masked. A defence that checks messages does so before the protocol.
            sizes = [len(p) for p in partitions]
            checks = self.defence is not None and self.defence.before_protocol
            around = secure.mods(model, self.seed)
            seen = secure.Seen([], {})
            compat.ENGINES[engine](
                secure.server_app(ordered, model, protocol, self.seed, self.secure, sizes, act, seen, self.start),
                client_app(partitions, protocol, self.seed, [*mods, *around] if checks else [*around, *mods]),
                len(partitions),
            )
            transcript = secure.transcript(seen, model, protocol)
            return transcript if act is None else replace(transcript, act=actor, memory=act.remember)
        compat.ENGINES[engine](
            server_app(tap, ordered, model, protocol, self.seed, self.start),
            client_app(partitions, protocol, self.seed, mods),
            len(partitions),
        )
        seen = tap.transcript()
        if act is None:
            return seen
        return replace(seen, act=actor, memory=act.remember)


def by_party(people: Cohort, party: Array) -> list[Cohort]:
    """One partition for each party number from 0 on; people of party -1 are left out."""
    return [people.take(np.flatnonzero(party == p)) for p in range(int(party.max()) + 1)]
