"""A grid whose queries are shown to a recorder: they pass through no strategy."""

from __future__ import annotations

import logging
from collections.abc import Callable, Generator, Iterable
from contextlib import contextmanager
from functools import partial
from typing import Any, TypeAlias

from flwr.app import Message
from flwr.serverapp import Grid

_LOG = logging.getLogger("testbed")
QUERY = "query"
FUNCTIONS = ("push_messages", "pull_messages", "send_and_receive")
Seen: TypeAlias = Callable[[list[Message], list[Message]], None]
"""`(queries, answers)`, called when the answers have come."""


@contextmanager
def watched(grid: Grid, seen: Seen) -> Generator[None]:
    """A context in which the grid's queries are shown to `seen`. The grid stays the same object, of the same type."""
    watch = _Watch(seen)
    before = {name: vars(grid)[name] for name in FUNCTIONS if name in vars(grid)}
    try:
        for name in FUNCTIONS:
            setattr(grid, name, partial(getattr(watch, name), getattr(grid, name)))
    except (AttributeError, TypeError):
        _LOG.warning("the queries of a %s cannot be recorded", type(grid).__name__)
    try:
        yield
    finally:
        for name in FUNCTIONS:
            vars(grid).pop(name, None)
        vars(grid).update(before)


class _Watch:
    """The functions of a grid, which call the grid's own and show what passed. Each takes the grid's own first."""

    def __init__(self, seen: Seen) -> None:
        self.seen = seen
        self.waiting: dict[str, Message] = {}
        self.inside = False

    def push_messages(self, own: Callable[..., Iterable[str]], messages: Iterable[Message]) -> Iterable[str]:
        sent = list(messages)
        keys = list(own(sent))
        if not self.inside:
            self.waiting |= {key: m for key, m in zip(keys, sent, strict=False) if asks(m)}
        return keys

    def pull_messages(self, own: Callable[..., Iterable[Message]], message_ids: Iterable[str]) -> Iterable[Message]:
        answers = list(own(message_ids))
        pairs = [(self.waiting.pop(m.metadata.reply_to_message_id, None), m) for m in answers]
        if answered := [(q, m) for q, m in pairs if q is not None]:
            self.seen([q for q, _ in answered], [m for _, m in answered])
        return answers

    def send_and_receive(
        self, own: Callable[..., Iterable[Message]], messages: Iterable[Message], **more: Any
    ) -> Iterable[Message]:
        sent = list(messages)
        asked = [m for m in sent if asks(m)]
        if not asked:
            return own(sent, **more)
        self.inside = True  # a grid may use its other functions for this one
        try:
            answers = list(own(sent, **more))
        finally:
            self.inside = False
        nodes = {m.metadata.dst_node_id for m in asked}
        self.seen(asked, [m for m in answers if m.metadata.src_node_id in nodes])
        return answers


def asks(message: Message) -> bool:
    """Whether this is a query, which may have a name."""
    return message.metadata.message_type.partition(".")[0] == QUERY
