"""The update inside a message. A protocol sends it as a gradient, or as new weights."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING

import numpy as np

from testbed.core import Array
from testbed.core.randomness import keyed_rng

if TYPE_CHECKING:  # Flower, which reading a transcript does not need
    from flwr.app import Context, Message
    from flwr.clientapp.typing import ClientAppCallable, Mod

Change = Callable[[dict[str, Array], np.random.Generator], dict[str, Array]]


def on_update(change: Change, seed: int, name: str) -> Mod:
    """A mod that applies `change(update, rng)` to a client's update before it is sent.

    The random generator depends on the seed, the client and the round, so every engine draws the same noise.
    """

    from testbed.subjects.federation.messages import to_parameters, with_parameters

    def mod(message: Message, context: Context, call_next: ClientAppCallable) -> Message:
        sent = to_parameters(message.content)
        reply = call_next(message, context)
        if sent is None or reply.has_error() or not message.metadata.message_type.startswith("train"):
            return reply
        returned = to_parameters(reply.content)
        assert returned is not None
        config = next(iter(message.content.config_records.values()))
        rng = keyed_rng(seed, name, int(context.node_config["partition-id"]), str(config["server-round"]))
        if config.get("kind") == "fedsgd":
            changed = change(dict(returned), rng)
        else:
            update = change({k: returned[k] - sent[k] for k in returned}, rng)
            changed = {k: (sent[k] + update[k]).astype(np.float32) for k in returned}
        reply.content = with_parameters(reply.content, changed)
        return reply

    return mod


def within(update: Mapping[str, Array], clip: float) -> dict[str, Array]:
    """The update, scaled down to an L2 norm of at most `clip` over all arrays together."""
    scale = min(1.0, clip / max(norm(update), 1e-12))
    return {k: v * scale for k, v in update.items()}


def flat(update: Mapping[str, Array]) -> Array:
    """All numbers of an update in one row, float64."""
    return np.concatenate([np.asarray(v, np.float64).ravel() for v in update.values()])


def shaped(values: Array, like: Mapping[str, Array]) -> dict[str, Array]:
    """The inverse of `flat`: arrays named and shaped as those of `like`, float32."""
    parts = np.split(values, np.cumsum([v.size for v in like.values()])[:-1])
    return {k: p.reshape(v.shape).astype(np.float32) for (k, v), p in zip(like.items(), parts, strict=True)}


def smallest(update: Mapping[str, Array]) -> float:
    """The smallest absolute value that is not 0; 0 if there is none."""
    sizes = np.abs(flat(update))
    return float(sizes[sizes > 0].min(initial=np.inf)) if sizes.any() else 0.0


def norm(update: Mapping[str, Array]) -> float:
    """The L2 norm of all arrays together."""
    return float(np.sqrt(sum(float((v.astype(np.float64) ** 2).sum()) for v in update.values())))
