"""The check that clients under secure aggregation owe themselves: nobody is both alive and dead."""

from __future__ import annotations

from typing import Any, cast

from flwr.app import Context, Message
from flwr.clientapp.typing import ClientAppCallable, Mod

from testbed.defences.registry import defence

RECORD = "secaggplus_configs"


@defence(before_protocol=True)
def consistent_unmasking(*, seed: int) -> Mod:
    """Refuse shares by which a single client's update could be unmasked.

    A secret needs shares of `threshold` clients, and a client answers once in a round. It gives no share where anybody
    is called alive and dead in one request; nor where half of the shares are enough, since a server could then call
    somebody alive to the one half and dead to the other (which the consistency round of Bonawitz et al. 2017 forbids,
    arXiv 1611.04482). No differential privacy: what the sum says stays said.
    """

    def mod(message: Message, context: Context, call_next: ClientAppCallable) -> Message:
        if message.metadata.message_type != "train":
            return call_next(message, context)
        if RECORD not in message.content.config_records:
            raise ValueError("this client answers under secure aggregation alone")
        asked = cast(dict[str, Any], message.content.config_records[RECORD])
        if asked["stage"] == "setup" and 2 * int(asked["threshold"]) <= int(asked["share_num"]):
            raise ValueError("half of the shares would rebuild a secret")
        if asked["stage"] == "unmask" and set(asked["active_nids"]) & set(asked["dead_nids"]):
            raise ValueError("a node is called both alive and dead")
        return call_next(message, context)

    return mod
