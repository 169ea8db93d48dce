"""A grid whose messages are shown to a recorder: queries, and what passes through no step of a strategy."""

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
Shown: TypeAlias = Callable[[list[Message]], object]
"""`(messages)` that are no queries: called before they are sent, or when they are answers."""


@contextmanager
def watched(grid: Grid, seen: Seen, sending: Shown, answered: Shown) -> Generator[None]:
    """A context in which the grid's queries are shown to `seen`, and other messages to `sending` and `answered`.

    The grid stays the same object, of the same type.
    """
    watch = _Watch(seen, sending, answered)
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

    def __init__(self, seen: Seen, sending: Shown, answered: Shown) -> None:
        self.seen, self.sending, self.answered = seen, sending, answered
        self.waiting: dict[str, Message] = {}
        self.inside = False

    def push_messages(self, own: Callable[..., Iterable[str]], messages: Iterable[Message]) -> Iterable[str]:
        sent = list(messages)
        if not self.inside:
            self.sending([m for m in sent if not asks(m)])
        keys = list(own(sent))
        if not self.inside:
            self.waiting |= {key: m for key, m in zip(keys, sent, strict=False) if asks(m)}
        return keys

    def pull_messages(self, own: Callable[..., Iterable[Message]], message_ids: Iterable[str]) -> Iterable[Message]:
        answers = list(own(message_ids))
        pairs = [(self.waiting.pop(m.metadata.reply_to_message_id, None), m) for m in answers]
        if answered := [(q, m) for q, m in pairs if q is not None]:
            self.seen([q for q, _ in answered], [m for _, m in answered])
        if not self.inside:
            self.answered([m for q, m in pairs if q is None])
        return answers

    def send_and_receive(
        self, own: Callable[..., Iterable[Message]], messages: Iterable[Message], **more: Any
    ) -> Iterable[Message]:
        sent = list(messages)
        asked = [m for m in sent if asks(m)]
        self.sending([m for m in sent if not asks(m)])
        self.inside = True  # a grid may use its other functions for this one
        try:
            answers = list(own(sent, **more))
        finally:
            self.inside = False
        nodes = {m.metadata.dst_node_id for m in asked}
        if asked:
            self.seen(asked, [m for m in answers if m.metadata.src_node_id in nodes])
        self.answered([m for m in answers if m.metadata.src_node_id not in nodes])
        return answers


def asks(message: Message) -> bool:
    """Whether this is a query, which may have a name."""
    return message.metadata.message_type.partition(".")[0] == QUERY
