"""A foreign federation judged with its owner's records: who was behind an exchange, and who was not.

The transcript of a foreign app says nothing about people. Its owner has the records: those that a client trained on,
and others of the same population that nobody trained on. They are the truth and the control of every attack. A positive
control is a federation of our own on the same model, undefended, one record at a time. What a server would see of other
people is not known of a foreign app, so the blind cell stays empty.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from scipy.stats import poisson
from sklearn.neighbors import NearestNeighbors
from sklearn.preprocessing import StandardScaler

from testbed import models
from testbed.attacks.registry import Attack
from testbed.core import (
    KNOWLEDGE,
    Array,
    Cell,
    Cohort,
    Exchange,
    Groups,
    Protocol,
    Reconstruction,
    Threat,
    Transcript,
    Unavailable,
    Values,
    frozen,
    user_code,
)
from testbed.core.errors import InputError, UsageError, perhaps
from testbed.core.randomness import keyed_rng
from testbed.data import own_records
from testbed.findings.plan import Plan
from testbed.harness.federation.asked import answers, leaky
from testbed.harness.federation.foreign import check_records, used
from testbed.harness.federation.recorded import LARGEST_LINE_UP, Key, Pooled, Recorded, Truth
from testbed.subjects.federation.local import local_update

LOOK_ALIKES = 99
"""Fewest controls that stand in a line-up beside a record."""
POSITIVE = 20
"""Records of the positive control."""
STEP = 0.1
"""Learning rate of the positive control."""
SHARED = 0.01
"""Share of the controls that may equal a client's record, beside twice the clients' own share of repeated records and
what chance explains."""
LIKE, COMPARED = 20, 20_000
"""Nearest members of a control of whose holders one is drawn, and members that are compared at most."""
NEAR, ASKED, RARE = 10, 500, 0.001
"""Near records that tell how often values agree, controls that are asked, and how rare more coincidences are."""
GRANTED = frozenset({"architecture", "batch_size", "hyper_parameters", "target_records"})
"""What an attacker on a foreign federation knows: the app's code, and about whom it asks."""


@dataclass(frozen=True, slots=True)
class Owned:
    """What the owner of a federation adds to its transcript.

    `records` are texts `CLIENT=FILE`, for all rounds of a client, or `ROUND.CLIENT=FILE` for one exchange. `controls`
    are people of the same population that no client trained on, `auxiliary` others that the attacker may hold. `knows`
    is further knowledge that the threat grants, such as `labels`. `within` is the range of a record's values, if it is
    not that of the controls.
    """

    records: Sequence[str]
    controls: Path
    auxiliary: Path | None = None
    knows: frozenset[str] = frozenset()
    within: tuple[float, float] | None = None


def given(
    records: Sequence[str], controls: Path | None, auxiliary: Path | None = None, knows: Sequence[str] = ()
) -> Owned | None:
    """What the owner gave, or None if nothing. Raises `UsageError` if a part of it is missing."""
    if not records and controls is None and auxiliary is None and not knows:
        return None
    if not records or controls is None:
        raise UsageError(
            "TB-REPLAY-020",
            f"{'--controls' if records else '--records'} is missing.",
            "A claim about people who were used is compared with one about people who were not.",
            "Give both: --records CLIENT=FILE for each client, and --controls FILE.",
        )
    if unknown := sorted(set(knows) - KNOWLEDGE):
        raise UsageError(
            "TB-REPLAY-021",
            f"There is no kind of knowledge {unknown[0]!r}.",
            perhaps(unknown[0], KNOWLEDGE),
            "Correct it.",
        )
    return Owned(records, controls, auxiliary, frozenset(knows))


def recorded(
    view: Transcript,
    attack: Attack,
    plan: Plan,
    owned: Owned,
    classes: Callable[[tuple[int, ...]], int],
    seed: int,
    loss: str | None = None,
) -> Recorded:
    """The transcript with its truth. `classes` gives the number of classes for records of a shape, by the model.

    `loss` names what clients minimise (cross-entropy if None). Raises `UsageError` and `InputError` for records that
    cannot judge the attack.
    """
    controls = own_records.read(owned.controls, "controls")
    others = None if owned.auxiliary is None else own_records.read(owned.auxiliary, "auxiliary records")
    held = _held(answers(view, attack), owned.records)
    check_alike(held, controls, others)
    check_records(view, controls.x.shape[1:])
    controls = controls.take(keyed_rng(seed, "controls").permutation(len(controls)))
    knows = GRANTED | attack.needs | owned.knows | (frozenset({"auxiliary"}) if others is not None else frozenset())
    if "auxiliary" in attack.needs and others is None:
        raise UsageError(
            "TB-REPLAY-011",
            f"The attack {attack.name} needs other people's records.",
            "Its attacker holds records of the same population; controls are the judge's and may not be given away.",
            "Give them with --auxiliary FILE, of people who are in no other file.",
        )
    if "recipe" in attack.needs:
        raise UsageError(
            "TB-REPLAY-012",
            f"The attack {attack.name} runs the federation again, and a foreign app cannot be run from here.",
            "A transcript holds messages, not the app.",
            "Choose an attack that only reads: testbed list attacks --subject transcript.",
        )
    threat = Threat(view.position, attack.malicious, frozenset(knows), attack.access)
    low, high = owned.within or (float(controls.x.min()), float(controls.x.max()))
    high = high if high > low else low + 1.0
    empty = controls.take(np.arange(0))
    number = _number(classes, controls)
    if loss is not None and (loss == "mse" or user_code.named(loss)):  # y need not be a class
        number = max(number, int(controls.y.max()) + 1)
    elif view.model is not None:
        _check_classes(number, loss, [*held.values(), controls, *([] if others is None else [others])])
    truth = Truth((plan,), threat, others if others is not None else empty, seed, number, within=(low, high))
    if attack.claim in (Groups, Values):
        return Recorded({"true": view}, replace(truth, batches=_beside(held, controls)))
    if attack.claim is not Reconstruction:
        known = leaky(view, attack, plan.params, held, controls, seed)
        pooled = {"true": _pool(held, controls, seed), **({} if known is None else {"positive": known[1]})}
        views: dict[Cell, Transcript] = {"true": view, **({} if known is None else {"positive": known[0]})}
        return Recorded(views, replace(truth, pooled=pooled, batches={"true": held}))
    return _rebuilding(view, held, controls, truth)


def _beside(held: Mapping[Key, Cohort], controls: Cohort) -> dict[str, dict[Key, Cohort]]:
    """The people of each client's first exchange, and as many controls. Raises `InputError` if there are too few."""
    first: dict[int, Key] = {}
    for key in sorted(held):
        first.setdefault(key[1], key)
    mine = {key: held[key] for key in first.values()}
    if len(controls) < (most := max(map(len, mine.values()), default=0)):
        raise InputError(
            "TB-REPLAY-025",
            f"There are {len(controls)} controls, and a client holds {most} records.",
            "How many people have some values can be compared with as many other people only.",
            "Give as many controls as the largest client has records.",
        )
    start, control = 0, dict[Key, Cohort]()
    for key, people in mine.items():
        places = np.arange(start, start + len(people)) % len(controls)
        control[key] = controls.take(np.unique(places))
        start += len(people)
    return {"true": mine, "control": control}


def _number(classes: Callable[[tuple[int, ...]], int], controls: Cohort) -> int:
    """The number of classes, by the model, else by the controls."""
    try:
        return classes(controls.x.shape[1:])
    except Unavailable:
        return int(controls.y.max()) + 1


def _check_classes(number: int, loss: str | None, groups: Sequence[Cohort]) -> None:
    """Raises `InputError` for classes that the model has no value for."""
    smallest, largest = (int(f([f(people.y) for people in groups])) for f in (np.min, np.max))
    if not 0 <= smallest <= largest < number and all(people.y.dtype.kind == "i" for people in groups):
        raise InputError(
            "TB-REPLAY-022",
            f"The records' classes go from {smallest} to {largest}, and the model gives {number} "
            f"value{'s' * (number != 1)}.",
            f"The loss {loss or 'cross_entropy'} needs a value for each class, numbered from 0.",
            "Say what the app minimises: --loss bce (one probability), bce_with_logits, mse, or file.py:function of "
            "(outputs, y). Or renumber y.",
        )


def _held(answers: Sequence[Exchange], texts: Sequence[str]) -> dict[Key, Cohort]:
    """The records behind each exchange, as the owner knows them. Raises `UsageError` for texts that say nothing."""
    clients = sorted({e.client for e in answers})
    held: dict[Key, Cohort] = {}
    for text in texts:
        place, separator, file = text.partition("=")
        numbers = place.split(".")
        if not separator or not file or len(numbers) > 2 or not all(n.strip().isdecimal() for n in numbers):
            raise UsageError(
                "TB-REPLAY-009",
                "This does not say whose records a file holds.",
                "It must be a client's number, or a round's and a client's.",
                "Write --records 0=hospital.npz for client 0, or --records 3.0=batch.npz for its round 3.",
            )
        people = own_records.read(Path(file).expanduser(), f"records of client {int(numbers[-1])}")
        keys = [
            e.key for e in answers if e.client == int(numbers[-1]) and (len(numbers) == 1 or e.round == int(numbers[0]))
        ]
        if not keys:
            raise UsageError(
                "TB-REPLAY-013",
                f"The transcript has no answer of client {place}.",
                f"Clients that answered: {', '.join(map(str, clients)) or 'none'}.",
                "Clients are numbered by the partition-id that they report, else by ascending node id.",
            )
        held |= dict.fromkeys(keys, people)
    return held


def _coincidences(asked: Array, known: Array) -> float:
    """How many records (n, d) are expected to equal one of the known (m, d) by chance.

    Its nearest known records, without those that equal it, tell how often each value agrees. These shares are
    multiplied, as if values were independent. Fine values never agree, so no coincidence is expected of them.
    """
    different = np.unique(known, axis=0)
    near = min(NEAR, len(different) - 1)
    if near < 1:
        return 0.0
    _, found = NearestNeighbors(n_neighbors=near + 1).fit(different).kneighbors(asked)
    expected = 0.0
    for row, neighbours in zip(asked, different[found], strict=True):
        agree = neighbours == row
        others = agree[~agree.all(1)][:near]
        expected += near * float(others.mean(0).prod())
    return expected


def check_alike(held: Mapping[Key, Cohort], controls: Cohort, others: Cohort | None) -> None:
    """Raises `InputError` for files whose records differ in shape, or that hold the same people."""
    shapes = {c.x.shape[1:] for c in (*held.values(), controls, *([] if others is None else [others]))}
    if len(shapes) > 1:
        raise InputError(
            "TB-REPLAY-014",
            "The files hold records of different shapes.",
            f"They are {', '.join(' x '.join(map(str, s)) for s in sorted(shapes))}.",
            "Save all of them as the network is fed them.",
        )
    members = list({id(own): own for own in held.values()}.values())
    named = {name for own in members for name in own.persons.tolist()}
    rows = [row.tobytes() for own in members for row in own.x]
    among, repeats = set(rows), 1 - len(set(rows)) / len(rows)
    known = np.concatenate([own.x.reshape(len(own), -1) for own in members])
    for people, name in ((controls, "controls"), (others, "auxiliary records")):
        if people is None:
            continue
        equal = np.array([row.tobytes() in among for row in people.x])
        shared, chance = float(equal.mean()), SHARED + 2 * repeats
        if shared > chance:
            drawn = people.x[:ASKED].reshape(-1, known.shape[1])
            met = _coincidences(drawn, known) / len(drawn) * len(equal)
            chance += float(poisson.ppf(1 - RARE, met)) / len(equal)
        if named & set(people.persons.tolist()) or shared > chance:
            raise InputError(
                "TB-REPLAY-015",
                f"People of the {name} are also among the clients' records: {shared:.0%} of these records are equal.",
                "They must be people on whom nobody trained: what is found about them is what chance explains.",
                "Give records that were held out of the training.",
            )
    if others is not None and set(others.persons.tolist()) & set(controls.persons.tolist()):
        raise InputError(
            "TB-REPLAY-023",
            "People of the auxiliary records are also among the controls.",
            "An attacker who holds a control's record recognises it, and chance looks larger than it is.",
            "Give different people in each file.",
        )


def _rebuilding(view: Transcript, held: dict[Key, Cohort], controls: Cohort, truth: Truth) -> Recorded:
    """The truth about reconstructions: as many controls as records for each client, and look-alikes."""
    answers = {e.key: e for e in view.exchanges if e.returned is not None and e.key in held}
    for key, exchange in answers.items():
        _check_count(view.protocol, exchange, len(held[key]))
    held = {key: held[key] for key in answers}
    sizes = {key[1]: max(len(p) for k, p in held.items() if k[1] == key[1]) for key in held}
    positive = min(POSITIVE, max(len(controls) - sum(sizes.values()) - LOOK_ALIKES, 0)) if view.model else 0
    needed = sum(sizes.values()) + LOOK_ALIKES
    if len(controls) < needed:
        raise InputError(
            "TB-REPLAY-016",
            f"There are {len(controls)} controls, and {needed} are needed.",
            f"Each record of a client is compared with one control, and stands in a line-up with {LOOK_ALIKES} others.",
            "Give more controls, or fewer exchanges (--records ROUND.CLIENT=FILE).",
        )
    of: dict[int, Cohort] = {}
    start = 0
    for client, size in sizes.items():
        of[client] = controls.take(np.arange(start, start + size))
        start += size
    control = {key: of[key[1]].take(np.arange(len(people))) for key, people in held.items()}
    known = controls.take(np.arange(start, start + positive))
    crowd = controls.take(np.arange(start + positive, min(len(controls), start + positive + LARGEST_LINE_UP - 1)))
    shown = _shown(view, known)
    views: dict[Cell, Transcript] = {"true": replace(view, exchanges=tuple(answers.values()))}
    batches: dict[str, Mapping[Key, Cohort]] = {"true": held, "control": control, "positive": {}}
    if shown is not None:
        views["positive"] = shown
        batches["positive"] = {e.key: known.take([e.client]) for e in shown.exchanges}
    return Recorded(views, replace(truth, batches=batches, decoys=crowd))


def _check_count(protocol: Protocol, exchange: Exchange, given: int) -> None:
    """Raises `InputError` if the file cannot be the records of this exchange: the number is another one."""
    count = used(protocol, exchange)
    if count is not None and count != given:
        raise InputError(
            "TB-REPLAY-010",
            f"Client {exchange.client} used {count} records in round {exchange.round}, and its file holds {given}.",
            "A reconstruction can only be judged against the records of that exchange.",
            f"Give just these: --records {exchange.round}.{exchange.client}=FILE. An attack on membership takes all.",
        )


def _shown(view: Transcript, people: Cohort) -> Transcript | None:
    """What the server would see of these people, one each client, without a defence; None if it cannot be made.

    Clients train as those of a federation do, but no messages are sent, so that Flower is not needed.
    """
    first = next((e.sent for e in view.exchanges if e.sent), None)
    if view.model is None or first is None or len(people) == 0:
        return None
    kind = "fedavg" if view.protocol.kind == "fedavg" else "fedsgd"
    rules = Protocol(kind, 1, local_epochs=1, learning_rate=STEP, rounds=1, clients=len(people))
    metrics = {"num-examples": 1.0}
    try:
        network = models.build(view.model)
        own, trained = models.get_parameters(network), models.trained(network)
        # What clients keep to themselves is drawn, and frozen layers are the app's if it sends them.
        start = {name: first.get(name, values) for name, values in own.items() if name in trained or name in first}
        seen: list[Exchange] = []
        for client in range(len(people)):
            answer = local_update(view.model, start, people.take([client]), rules, [np.array([0])])
            seen.append(Exchange(1, client, start, {k: frozen(answer[k]) for k in start}, metrics))
    except Exception:  # the model is the user's own, and may raise anything
        return None
    means = {name: np.mean([(e.returned or {})[name] for e in seen], 0) for name in seen[0].returned or {}}
    final = means if kind == "fedavg" else {name: start[name] - np.float32(STEP) * mean for name, mean in means.items()}
    return Transcript(tuple(seen), view.model, rules, final={k: frozen(v) for k, v in final.items()})


def _suspected(holder: Array, members: Cohort, controls: Cohort, seed: int) -> Array:
    """A client for each control: the holder of one of its nearest members of the same class (of all, where y is a
    measurement), drawn at random.

    Clients differ in whom they hold. Were a control asked of any client, an attack that only tells whose kind of people
    a client holds would seem to recognise members: the control must be a person whom that client could have held.
    """
    rng = keyed_rng(seed, "suspected")
    kept = np.sort(rng.permutation(len(members))[:COMPARED])
    of, whole = holder[kept], controls.y.dtype.kind == "i"
    known, asked = (np.column_stack([p.x.reshape(len(p), -1), p.y]) for p in (members.take(kept), controls))
    scaler = StandardScaler().fit(known)
    labels, wanted = (p[:, -1] if whole else np.zeros(len(p)) for p in (known, asked))
    known, asked = scaler.transform(known), scaler.transform(asked)
    made = np.zeros(len(controls), np.int64)
    for label in np.unique(wanted):
        theirs = np.flatnonzero(wanted == label)
        mine = np.flatnonzero(labels == label) if (labels == label).any() else np.arange(len(kept))
        near = min(LIKE, len(mine))
        found = NearestNeighbors(n_neighbors=near).fit(known[mine]).kneighbors(asked[theirs], return_distance=False)
        made[theirs] = of[mine[found[np.arange(len(theirs)), rng.integers(near, size=len(theirs))]]]
    return made


def _pool(held: Mapping[Key, Cohort], controls: Cohort, seed: int) -> Pooled:
    """All clients' people, each once, and all controls, in random order; a control is asked of a client like it."""
    parts: dict[int, list[Cohort]] = {}
    for (_, client), people in held.items():
        seen = np.concatenate([p.persons for p in parts.get(client, [])]) if client in parts else np.array([], str)
        fresh = people.take(np.flatnonzero(~np.isin(people.persons, seen)))
        if len(fresh):
            parts.setdefault(client, []).append(fresh)
    members = [p for own in parts.values() for p in own]
    holder = np.concatenate([np.full(len(p), client) for client, own in parts.items() for p in own])
    pooled = Cohort(*(np.concatenate([getattr(p, f) for p in (*members, controls)]) for f in ("x", "y", "persons")))
    used = np.arange(len(pooled)) < len(holder)
    suspected = np.concatenate([holder, _suspected(holder, pooled.take(np.flatnonzero(used)), controls, seed)])
    order = keyed_rng(seed, "pool").permutation(len(pooled))
    return Pooled(pooled.take(order), used[order], suspected[order])
