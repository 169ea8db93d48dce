"""A check by clients under secure aggregation: no request may name a client both alive and dead."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, cast

from testbed.defences.registry import defence

if TYPE_CHECKING:  # Flower, which reading a transcript does not need
    from flwr.app import Context, Message
    from flwr.clientapp.typing import ClientAppCallable, Mod

RECORD = "secaggplus_configs"


@defence(where="message")
def consistent_unmasking(*, seed: int) -> Mod:
    """Refuse to give shares that could unmask a single client's update.

    A secret needs the shares of `threshold` clients, and a client answers once in a round. It refuses a request that
    names a client both alive and dead. It also refuses if half of the shares are enough: a server could then name a
    client alive to one half and dead to the other. The consistency round of Bonawitz et al. 2017 (arXiv 1611.04482)
    prevents this too. It is no differential privacy: the sum still reveals what it reveals.
    """

    def mod(message: Message, context: Context, call_next: ClientAppCallable) -> Message:
        if message.metadata.message_type != "train":
            return call_next(message, context)
        if RECORD not in message.content.config_records:
            raise ValueError("this client answers only under secure aggregation")
        asked = cast(dict[str, Any], message.content.config_records[RECORD])
        if asked["stage"] == "setup" and 2 * int(asked["threshold"]) <= int(asked["share_num"]):
            raise ValueError("half of the shares would reconstruct a secret")
        if asked["stage"] == "unmask" and set(asked["active_nids"]) & set(asked["dead_nids"]):
            raise ValueError("a request names a node both alive and dead")
        return call_next(message, context)

    return mod
