"""A federation under Flower's secure aggregation (SecAgg+; Bell et al. 2020): the server should learn only sums.

The protocol assumes a server that follows it. A malicious server can claim that living clients dropped out, and then
receives shares of both their secrets: docs/secure-aggregation.md.
"""

from __future__ import annotations

import contextlib
import json
from collections.abc import Generator, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from flwr.app import Context, Error, Message
from flwr.clientapp.typing import ClientAppCallable, Mod
from flwr.serverapp import Grid, ServerApp

from testbed import models
from testbed.core import Act, Array, Exchange, ModelSpec, Parameters, Protocol, Transcript, frozen
from testbed.core.errors import RunError
from testbed.core.randomness import keyed_rng
from testbed.subjects.federation import compat
from testbed.subjects.federation.apps import PARTITION, Ordered, plain
from testbed.subjects.federation.local import one_thread
from testbed.subjects.federation.messages import REFUSED


@dataclass(frozen=True, slots=True)
class SecureAggregation:
    """SecAgg+ over all clients; the shares of a `threshold` share of the clients are enough to restore a secret."""

    threshold: float = 2 / 3


def mods(spec: ModelSpec, seed: int) -> list[Mod]:
    """The mods of a client, outermost first."""
    names = list(models.get_parameters(models.build(spec)))
    return [_rounding(seed), *compat.secure_mods(names)]


def _rounding(seed: int) -> Mod:
    """A mod that seeds NumPy's global generator, by which the protocol rounds, so that a run can be repeated.

    A client that refuses to train answers with an error, and to the others it has dropped out.
    """

    def mod(message: Message, context: Context, call_next: ClientAppCallable) -> Message:
        with _drawn(seed, int(context.node_config[PARTITION]), str(message.metadata.group_id)):
            try:
                return call_next(message, context)
            except compat.RefusalError:
                return Message(Error(REFUSED, "refused"), reply_to=message)

    return mod


@contextlib.contextmanager
def _drawn(seed: int, *keys: int | str) -> Generator[None]:
    before = np.random.get_state()  # noqa: NPY002 - the generator that Flower draws from
    np.random.seed(int(keyed_rng(seed, "rounding", *keys).integers(2**32)))  # noqa: NPY002
    try:
        yield
    finally:
        np.random.set_state(before)  # noqa: NPY002


@dataclass(slots=True)
class Seen:
    """What the server saw so far: its exchanges, and the latest model."""

    exchanges: list[Exchange]
    final: dict[str, Array]


def server_app(
    ordered: Ordered,
    spec: ModelSpec,
    protocol: Protocol,
    seed: int,
    rules: SecureAggregation,
    records: Sequence[int],
    act: Act | None,
    seen: Seen,
    start: Parameters | None = None,
) -> ServerApp:
    """Meets the clients, then runs SecAgg+ round by round, and writes down what a server is given of it.

    An honest one is given the clients' weighted mean, under client 0. One that asks for all shares is given every
    client's own answer; where clients refuse, nothing. Its parameters are what a federation holds when its server
    starts, and the attack. If clients may refuse, so many may that a round halts; the server then has nothing of it.
    Raises `RunError` where another round of an honest server halts, or where the model stays as it was.
    """
    app = ServerApp()

    @app.main()
    def main(grid: Grid, context: Context) -> None:
        ordered.meet(grid, protocol.clients)
        node_of = {p: n for n, p in ordered.partition_of.items()}
        told = {"model": json.dumps({"factory": spec.factory, "arguments": dict(spec.arguments)})}
        current = dict(start) if start else models.get_parameters(models.build(spec, seed))
        names = list(current)
        for round_ in range(1, protocol.rounds + 1):
            sent: dict[int, Parameters] = {}
            for client in range(protocol.clients):
                with one_thread():
                    sent[client] = act.craft(round_, client, current) if act and act.craft else current
            shares = compat.Shares()
            asking = compat.AskingForBoth(grid, shares) if act and act.unmask else grid
            config = {**told, **plain(asdict(protocol)), "server-round": round_}
            arrays = {node_of[c]: [np.asarray(p[n]) for n in names] for c, p in sent.items()}
            mean = compat.secure_round(asking, round_, arrays, config, rules.threshold, float(max(records)))
            if mean is None and not (ordered.tolerate or ordered.may_refuse) and not (act and act.unmask):
                raise RunError(
                    "TB-RUN-005",
                    f"Secure aggregation halted in round {round_}.",
                    "A client failed, or does not support the protocol. Flower would silently keep the old model.",
                    "Give clients the protocol's mod and its translation (secure.mods).",
                )
            if act and act.unmask:
                for client, given in sent.items():
                    own = compat.unmasked(shares, node_of[client])
                    seen.exchanges.append(_exchange(round_, client, given, names, own, records[client]))
            else:
                shown = sent[int(act.remember["target"][0])] if act and "target" in act.remember else sent[0]
                seen.exchanges.append(_exchange(round_, 0, shown, names, mean, sum(records)))
            if mean is not None:
                before, current = current, _moved(current, dict(zip(names, mean, strict=True)), protocol)
                if all((before[n] == current[n]).all() for n in names):
                    raise RunError(
                        "TB-RUN-006",
                        f"The model did not change in round {round_} of secure aggregation.",
                        "The sum holds nothing that the clients trained.",
                        "Check what the clients return, and the protocol's clipping range.",
                    )
        seen.final = {n: frozen(v) for n, v in current.items()}

    return app


def _exchange(
    round_: int, client: int, sent: Parameters, names: list[str], values: list[Any] | None, records: int
) -> Exchange:
    given = {n: frozen(np.asarray(sent[n])) for n in names}
    metrics = {"num-examples": float(records)}
    if values is None:
        return Exchange(round_, client, given, None, metrics, {}, "refused")
    returned = {n: frozen(np.asarray(v, dtype=np.float32)) for n, v in zip(names, values, strict=True)}
    return Exchange(round_, client, given, returned, metrics)


def _moved(current: dict[str, Array], mean: dict[str, Array], protocol: Protocol) -> dict[str, Array]:
    if protocol.kind != "fedsgd":
        return {n: np.asarray(v, dtype=np.float32) for n, v in mean.items()}
    step = np.float32(protocol.learning_rate or 0.1)
    return {n: current[n] - step * np.asarray(mean[n], dtype=np.float32) for n in current}


def transcript(seen: Seen, spec: ModelSpec, protocol: Protocol) -> Transcript:
    """The transcript of what the server saw, sorted by round and client."""
    return Transcript(tuple(sorted(seen.exchanges, key=lambda e: e.key)), spec, protocol, "server", seen.final)
