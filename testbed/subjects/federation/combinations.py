"""What a federation's rules cannot do together, refused before anything trains."""

from __future__ import annotations

from collections.abc import Sequence

from testbed.core import Protocol
from testbed.core.defence import Defence
from testbed.core.errors import UsageError
from testbed.core.guard import Guard
from testbed.subjects.federation.attendance import Attendance

ONE_ARRAY = ("update", "server", "message")
"""Where a defence changes one array of a message, or one array of each client."""


def check(
    protocol: Protocol,
    attendance: Attendance,
    defences: Sequence[Defence] = (),
    guards: Sequence[Guard] = (),
    secured: bool = False,
) -> None:
    """Raises `UsageError` for rules of training that do not go together, or not with these defences and guards."""
    gradients = protocol.kind == "fedsgd"
    _local(protocol, attendance, gradients)
    if protocol.controls:
        changing = [d.name for d in defences if d.where in ONE_ARRAY]
        _refuse(
            "TB-RUN-011",
            bool(changing or guards),
            f"SCAFFOLD and {(changing or [g.name for g in guards] or [''])[0]} do not go together.",
            "Clients send weights and a control variate. This defence or guard knows the weights alone, so that the "
            "control would pass by it.",
            "Use a defence of the local training (dpsgd, mixup), or another algorithm.",
        )
    _refuse(
        "TB-RUN-021",
        protocol.personal is not None and bool(guards),
        f"personal={protocol.personal} and {([g.name for g in guards] or [''])[0]} do not go together.",
        "Guards compute with whole models, and no message holds the personal layers.",
        "Use guards without personal layers.",
    )
    on_server = [d.name for d in defences if d.where == "server"]
    _refuse(
        "TB-RUN-019",
        protocol.server is not None and bool(on_server),
        f"FedAdam and {(on_server or [''])[0]} do not go together.",
        "Such a defence is calibrated to the clients' mean, and under FedAdam the next model is not that mean.",
        "Use a defence of the clients, or another algorithm.",
    )
    watching = [g.name for g in guards if g.side == "server"]
    _refuse(
        "TB-RUN-020",
        attendance.late and bool(on_server or watching or protocol.controls),
        f"late=true and {([*on_server, *watching] or ['SCAFFOLD'])[0]} do not go together.",
        "A late answer began from an older model. This rule of the server measures each answer from the newest one.",
        "Use late=false: stragglers then do a part of their work.",
    )
    _refuse(
        "TB-RUN-014",
        secured
        and (not attendance.everybody or bool(protocol.server or protocol.controls or protocol.personal is not None)),
        "Secure aggregation runs here with all clients and the plain mean.",
        "Its server adds whole models of all clients. Lots, dropouts, stragglers, FedAdam, SCAFFOLD, personal layers "
        "change what it would have to add.",
        "Use FedAvg or FedProx under it, or leave out secagg.",
    )


def _local(protocol: Protocol, attendance: Attendance, gradients: bool) -> None:
    """Raises `UsageError` for rules that the clients' local training cannot follow."""
    _refuse(
        "TB-RUN-015",
        gradients and bool(protocol.proximal_mu or protocol.controls or attendance.partial),
        "FedSGD does not go together with FedProx, SCAFFOLD, or stragglers that do a part of their work.",
        "A FedSGD client sends the gradient of one batch. There are no local steps to pull back, correct or leave out.",
        "Use FedAvg (epochs=1 or more), or late=true for stragglers.",
    )
    _refuse(
        "TB-RUN-016",
        bool(protocol.controls)
        and bool(protocol.proximal_mu or protocol.server or protocol.momentum or protocol.optimizer != "sgd"),
        "SCAFFOLD goes together with plain local steps and its own server alone.",
        "A client's control is the mean gradient of its steps only if nothing else moves the weights.",
        "Use algorithm=scaffold by itself, with local SGD without momentum.",
    )


def _refuse(id_: str, condition: bool, what: str, why: str, how: str) -> None:
    if condition:
        raise UsageError(id_, what, why, how)
