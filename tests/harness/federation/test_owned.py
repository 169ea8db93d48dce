"""A foreign app is judged with the records of its owner, in the loss and the range that its clients use."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from flwr.app import ArrayRecord, ConfigRecord, Context, Message, MetricRecord, RecordDict
from flwr.clientapp import ClientApp
from flwr.serverapp import Grid, ServerApp
from flwr.serverapp.strategy import FedAvg
from sklearn.datasets import load_iris

import testbed
from testbed import models
from testbed.core import Array, Cohort, Exchange, ModelSpec, Protocol, Transcript
from testbed.core.errors import InputError, UsageError
from testbed.findings.schema import Estimate, Finding, Unmeasured
from testbed.harness.federation.foreign import check_records, used
from testbed.harness.federation.owned import _pool, check_alike  # pyright: ignore[reportPrivateUsage]
from testbed.subjects.federation import compat, transcript
from testbed.subjects.federation.local import local_update

COLUMNS = 16
HERE = "tests.harness.federation.test_owned"


def people(count: int, seed: int) -> tuple[Array, Array]:
    """Standardised measurements, and a coin that can only be learnt by heart."""
    rng = np.random.default_rng(seed)
    return rng.normal(size=(count, COLUMNS)).astype(np.float32), rng.integers(0, 2, count)


def make_risk() -> torch.nn.Module:
    """One probability, as risk models give it."""
    return torch.nn.Sequential(
        torch.nn.Linear(COLUMNS, 32), torch.nn.Tanh(), torch.nn.Linear(32, 1), torch.nn.Sigmoid()
    )


class Pair(torch.nn.Linear):
    """Returns two things, as autoencoders do."""

    def forward(self, input: torch.Tensor) -> Any:
        made = super().forward(input)
        return made, made


def make_pair() -> torch.nn.Module:
    return Pair(COLUMNS, 2)


def run_app(folder: Path, each: int, epochs: int, rounds: int = 1, clients: int = 3) -> Path:
    """Somebody's app, recorded: each client trains its own records by binary cross-entropy, all in one batch."""
    client, app = ClientApp(), ServerApp()
    for number in range(clients):
        x, y = people(each, number)
        np.savez(folder / f"client{number}.npz", x=x, y=y)
    np.savez(folder / "controls.npz", **dict(zip("xy", people(400, 100), strict=True)))

    @client.train()
    def train(message: Message, context: Context) -> Message:
        model = make_risk()
        model.load_state_dict(message.content["arrays"].to_torch_state_dict())
        x, y = (torch.tensor(v) for v in people(each, int(context.node_config["partition-id"])))
        optimizer = torch.optim.SGD(model.parameters(), lr=0.5)
        for _ in range(epochs):
            optimizer.zero_grad()
            torch.nn.functional.binary_cross_entropy(model(x)[:, 0], y.float()).backward()
            optimizer.step()
        told = MetricRecord({"num-examples": each, "partition-id": int(context.node_config["partition-id"])})
        return Message(RecordDict({"arrays": ArrayRecord(model.state_dict()), "metrics": told}), reply_to=message)

    rules = Protocol("fedavg", batch_size=each, local_epochs=epochs, learning_rate=0.5)
    strategy = testbed.record(
        FedAvg(fraction_evaluate=0.0, min_train_nodes=clients, min_available_nodes=clients), protocol=rules
    )

    @app.main()
    def main(grid: Grid, context: Context) -> None:
        torch.manual_seed(0)
        first = ArrayRecord(make_risk().state_dict())
        strategy.start(grid, first, num_rounds=rounds, train_config=ConfigRecord({}))

    compat.run_in_process(app, client, clients)
    transcript.write(folder / "t.transcript", strategy.transcript())
    return folder


@pytest.fixture(scope="module")
def alone(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """One record a client, one step."""
    return run_app(tmp_path_factory.mktemp("alone"), each=1, epochs=1)


def own(folder: Path, clients: int = 3) -> dict[int | str, Path]:
    return {number: folder / f"client{number}.npz" for number in range(clients)}


def judged(folder: Path, attack: str, **more: object) -> Finding:
    asked: dict[str, object] = {"records": own(folder), "controls": folder / "controls.npz", **more}
    return testbed.replay(folder / "t.transcript", attack, **asked).result.findings[0]  # type: ignore[arg-type]


def test_records_of_an_app_are_rebuilt_and_told_from_those_of_others(alone: Path) -> None:
    found = judged(alone, "analytic_linear", model=f"{HERE}:make_risk", loss="bce")
    assert isinstance(found.measure, Estimate)
    assert isinstance(found.excess, Estimate)
    assert isinstance(found.positive_control, Estimate)
    assert (found.measure.value, found.positive_control.value) == (1.0, 1.0)
    assert found.excess.value == 1.0
    assert isinstance(found.baseline, Unmeasured)  # other people's federation cannot be run


def test_the_attackers_gradient_is_that_of_the_loss_the_app_trains(alone: Path) -> None:
    """The cross-entropy of one output is zero for every record, so that nothing could be matched."""
    asked = {"model": f"{HERE}:make_risk", "knows": ["labels"], "shape": (COLUMNS,), "params": {"iterations": 60}}
    right = judged(alone, "deep_leakage", loss="bce", **asked)
    assert isinstance(right.measure, Estimate)
    assert right.measure.value == 1.0
    with pytest.raises(InputError, match="TB-REPLAY-022"):
        judged(alone, "deep_leakage", **asked)


def test_membership_in_an_app_is_judged_with_the_owners_records(tmp_path: Path) -> None:
    folder = run_app(tmp_path, each=40, epochs=60, rounds=4)
    found = judged(folder, "loss_threshold", model=f"{HERE}:make_risk", loss="bce")
    assert isinstance(found.measure, Estimate)
    assert isinstance(found.excess, Estimate)
    assert found.excess.low > 0.05


def test_people_of_an_app_that_learnt_nothing_are_not_told_from_others(tmp_path: Path) -> None:
    folder = run_app(tmp_path, each=40, epochs=0)
    found = judged(folder, "loss_threshold", model=f"{HERE}:make_risk", loss="bce")
    assert isinstance(found.excess, Estimate)
    assert found.excess.low <= 0 <= found.excess.high


def held_out(members: Array, controls: Array) -> None:
    """Raises `InputError` where the controls are found among the members."""
    of = {
        n: Cohort(x, np.zeros(len(x)), np.array([f"{n}{i}" for i in range(len(x))]))
        for n, x in (("a", members), ("b", controls))
    }
    check_alike({(1, 0): of["a"]}, of["b"], None)


def test_people_who_are_equal_by_coarse_values_are_no_clients() -> None:
    flowers: Any = load_iris()
    rng = np.random.default_rng(0)
    x = rng.permutation(np.unique(flowers.data, axis=0)).astype(np.float32)
    members, controls = x[:70].copy(), x[70:].copy()
    controls[0] = members[0]
    held_out(members, controls)  # two flowers may well have the same four lengths
    with pytest.raises(InputError, match="TB-REPLAY-015"):
        held_out(members, np.concatenate([controls, members[:20]]))
    members += rng.normal(0, 1e-3, members.shape).astype(np.float32)
    controls[0] = members[0]
    with pytest.raises(InputError, match="TB-REPLAY-015"):  # values this fine are not met twice
        held_out(members, controls)


def test_an_app_that_is_not_described_is_asked_about_and_not_guessed(alone: Path, tmp_path: Path) -> None:
    found = judged(alone, "analytic_linear")  # the arrays alone: names of layers, and no model
    assert isinstance(found.measure, Estimate)
    assert isinstance(found.positive_control, Unmeasured)
    assert "positive_control_missing" in found.validity.flags


@pytest.mark.parametrize(
    ("given", "error"),
    [
        ({"records": {}}, "TB-REPLAY-020"),
        ({"controls": None}, "TB-REPLAY-020"),
        ({"records": {"first": "client0.npz"}}, "TB-REPLAY-009"),
        ({"records": {7: "client0.npz"}}, "TB-REPLAY-013"),
        ({"records": {"9.0": "client0.npz"}}, "TB-REPLAY-013"),
        ({"records": {0: "nothing.npz"}}, "TB-DATA-084"),
        ({"records": {0: "client0.pt"}}, "TB-DATA-085"),
        ({"records": {0: "damaged.npz"}}, "TB-DATA-086"),
        ({"records": {0: "controls.npz"}}, "TB-REPLAY-015"),
        ({"controls": "mixed.npz"}, "TB-REPLAY-015"),
        ({"controls": "named.npz", "auxiliary": "named.npz"}, "TB-REPLAY-023"),
        ({"controls": "few.npz"}, "TB-REPLAY-016"),
        ({"controls": "pictures.npz"}, "TB-REPLAY-014"),
        ({"records": {0: "few.npz"}}, "TB-REPLAY-010"),
        ({"knows": ["everything"]}, "TB-REPLAY-021"),
        ({"attack": "see_through"}, "TB-REPLAY-011"),
        ({"loss": "bce"}, "TB-REPLAY-017"),
        ({"loss": "entropy", "model": f"{HERE}:make_risk"}, "TB-MODEL-008"),
        ({"model": f"{HERE}:make_pair"}, "TB-REPLAY-042.*returns a tuple"),
        ({"truth": "truth.npz"}, "TB-REPLAY-018"),
    ],
)
def test_what_cannot_judge_is_refused(
    alone: Path, monkeypatch: pytest.MonkeyPatch, given: dict[str, object], error: str
) -> None:
    monkeypatch.chdir(alone)
    np.savez("few.npz", x=people(5, 55)[0])
    x = people(300, 56)[0]
    np.savez("named.npz", x=x, persons=np.arange(300).astype(str))
    x[:9] = np.load("client0.npz")["x"]  # 3 % of the controls were trained on
    np.savez("mixed.npz", x=x)
    np.savez("pictures.npz", x=np.zeros((300, 1, 4, 4)))
    Path("client0.pt").write_bytes(b"")
    Path("damaged.npz").write_bytes(b"PK")
    asked: dict[str, object] = {"records": own(Path()), "controls": "controls.npz", "attack": "analytic_linear"}
    with pytest.raises((UsageError, InputError), match=error):
        testbed.replay("t.transcript", **(asked | given))  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("kind", "batch", "told", "records"),
    [
        ("fedavg", 8, None, 8),
        ("fedavg", 8, 20.0, 20),
        ("fedavg", None, 1e9, None),  # no attack reads so many, and the number may be damaged
        ("fedsgd", 8, 20.0, 8),
        ("fedsgd", 8, 5.0, 5),
        ("fedsgd", None, float("nan"), None),
    ],
)
def test_how_many_records_stand_behind_an_exchange(
    kind: Any, batch: int | None, told: float | None, records: int | None
) -> None:
    metrics = {} if told is None else {"num-examples": told}
    assert used(Protocol(kind, batch), Exchange(1, 0, None, None, metrics=metrics)) == records


LEARNER = {
    "objective": {"name": "binary:logistic"},
    "learner_model_param": {"base_score": "5E-1", "num_feature": "5"},
    "gradient_booster": {"name": "gbtree", "model": {"trees": []}},
}
TREES = np.frombuffer(json.dumps({"learner": LEARNER}).encode(), np.uint8)


@pytest.mark.parametrize(
    ("returned", "model", "fitting"),
    [
        ({"w": np.zeros((2, 5), np.float32)}, ModelSpec("mlp", {"shape": [5], "classes": 2, "hidden": [4]}), (5,)),
        ({"w": np.zeros((2, 6), np.float32)}, ModelSpec("mlp", {"shape": [1, 2, 3], "classes": 2}), (1, 2, 3)),
        ({"0": TREES}, None, (5,)),
    ],
)
def test_records_with_a_column_too_many_or_too_few_are_refused(
    returned: Any, model: ModelSpec | None, fitting: tuple[int, ...]
) -> None:
    view = Transcript((Exchange(1, 0, None, returned),), model, Protocol(), "server")
    check_records(view, fitting)
    for shape in ((4,), (7,), (*fitting, 2)):
        with pytest.raises(InputError, match="TB-REPLAY-024"):
            check_records(view, shape)
    check_records(Transcript((Exchange(1, 0, None, {"w": np.zeros(3, np.float32)}),), None, Protocol(), "server"), (4,))


def make_words() -> torch.nn.Module:
    """A network that reads twelve word numbers, each as eight numbers."""
    return torch.nn.Sequential(torch.nn.Embedding(50, 8), torch.nn.Flatten(), torch.nn.Linear(96, 2))


def written(folder: Path, model: torch.nn.Module, beside: str = "") -> Path:
    """A loop of one client and one round that sends the model back a little changed, and one more array if named."""
    weights = {k: v.numpy().copy() for k, v in model.state_dict().items()}
    extra = {beside: np.ones(4)} if beside else {}
    with testbed.transcript.Writer(folder / "t", protocol=Protocol("fedavg", 4, learning_rate=0.1)) as writer:
        for round_ in (1, 2):
            writer.sent(round_, 0, {**weights, **extra})
            writer.returned(round_, 0, {**{k: v * 1.001 for k, v in weights.items()}, **extra}, {"num-examples": 4})
        writer.final(weights)
    return folder / "t"


def test_arrays_beside_the_model_are_said_to_be_unread(tmp_path: Path) -> None:
    x, y = people(300, 1)
    np.savez(tmp_path / "mine.npz", x=x[:40], y=y[:40])
    np.savez(tmp_path / "others.npz", x=x[40:], y=y[40:])
    for beside in ("", "control.weight"):
        done = testbed.replay(
            written(tmp_path, make_risk(), beside),
            "loss_threshold",
            model=f"{HERE}:make_risk",
            loss="bce",
            records={0: tmp_path / "mine.npz"},
            controls=tmp_path / "others.npz",
        )
        said = [t for t in done.result.threat.not_tested if "no part of the model" in t]
        assert said == ([f"arrays that are no part of the model, such as {beside}"] if beside else [])


def test_the_shape_of_records_is_taken_from_them_if_the_first_layer_does_not_show_it(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    for name, count in (("mine", 40), ("others", 300)):
        np.savez(tmp_path / f"{name}.npz", x=rng.integers(0, 50, (count, 12)), y=rng.integers(0, 2, count))
    done = testbed.replay(
        written(tmp_path, make_words()),
        "loss_threshold",
        model=f"{HERE}:make_words",
        records={0: tmp_path / "mine.npz"},
        controls=tmp_path / "others.npz",
    )
    assert isinstance(done.result.findings[0].measure, Estimate)


def of_hospital(number: int, count: int, rng: np.random.Generator) -> Cohort:
    """People of a hospital with a case mix of its own: one measurement is raised, and one diagnosis is the rule."""
    x = rng.random((count, 8)).astype(np.float32)
    x[:, number] += 1.5
    return Cohort(
        x, np.full(count, number % 2), np.array([f"{number} {i} {rng.integers(2**60)}" for i in range(count)])
    )


def together(groups: list[Cohort]) -> Cohort:
    return Cohort(*(np.concatenate([getattr(g, f) for g in groups]) for f in ("x", "y", "persons")))


@pytest.mark.parametrize("measured", [False, True])
def test_a_control_is_asked_of_a_client_that_could_have_held_it(measured: bool) -> None:
    rng = np.random.default_rng(3)

    def drawn(number: int, count: int) -> Cohort:
        people = of_hospital(number, count, rng)
        return Cohort(people.x, people.x[:, 7].copy(), people.persons) if measured else people

    pooled = _pool({(1, n): drawn(n, 50) for n in range(4)}, together([drawn(n, 80) for n in range(4)]), 0)
    true = pooled.people.x[:, :4].argmax(1)
    controls = ~pooled.used
    assert (pooled.suspected[controls] == true[controls]).mean() > 0.8


@pytest.mark.parametrize("attack", ["update_cosine", "client_loss"])
def test_the_case_mix_of_hospitals_is_no_membership(tmp_path: Path, attack: str) -> None:
    """The records named are of people of the same hospitals on whom nobody trained: there is nothing to recognise."""
    rng, spec = np.random.default_rng(1), ModelSpec("mlp", {"shape": [8], "classes": 2, "hidden": [16]})
    rules = Protocol("fedavg", 150, learning_rate=0.1, local_steps=1)
    first = models.get_parameters(models.build(spec, 0))
    seen: list[Exchange] = []
    for number in range(6):
        people = of_hospital(number, 150, rng)
        made = local_update(spec, first, people, rules, [np.arange(150)])
        noisy = {k: v + rng.normal(scale=0.02, size=v.shape).astype(np.float32) for k, v in made.items()}
        seen.append(Exchange(1, number, first, noisy))
        np.savez(tmp_path / f"client{number}.npz", **saved(of_hospital(number, 150, rng)))
    np.savez(tmp_path / "controls.npz", **saved(together([of_hospital(n, 400, rng) for n in range(6)])))
    np.savez(tmp_path / "others.npz", **saved(together([of_hospital(n, 40, rng) for n in range(6)])))
    transcript.write(tmp_path / "t.transcript", Transcript(tuple(seen), spec, rules))
    asked = {"records": own(tmp_path, 6), "controls": tmp_path / "controls.npz", "auxiliary": tmp_path / "others.npz"}
    (found,) = testbed.replay(tmp_path / "t.transcript", attack, **asked).result.findings  # type: ignore[arg-type]
    assert isinstance(found.excess, Estimate)
    assert found.excess.value < 0.02


def saved(people: Cohort) -> dict[str, Array]:
    return {"x": people.x, "y": people.y, "persons": people.persons}


def hinge(outputs: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
    return torch.relu(1 - outputs[:, 0] * (2 * y.float() - 1))


def make_line() -> torch.nn.Module:
    return torch.nn.Linear(COLUMNS, 1)


@pytest.mark.parametrize(("loss", "values"), [(f"{HERE}:hinge", (0, 1)), ("mse", (40, 90))])
def test_what_y_means_is_left_to_the_loss_that_is_named(tmp_path: Path, loss: str, values: tuple[int, int]) -> None:
    x, _ = people(1, 0)
    first = {"weight": np.zeros((1, COLUMNS), np.float32), "bias": np.zeros(1, np.float32)}
    stepped = {"weight": first["weight"] + 0.1 * x, "bias": first["bias"] + 0.1}
    seen = Transcript((Exchange(1, 0, first, stepped),), None, Protocol("fedavg", 1, learning_rate=0.1, local_steps=1))
    transcript.write(tmp_path / "t.transcript", seen)
    np.savez(tmp_path / "client0.npz", x=x, y=np.array([values[1]]))
    others = people(150, 5)[0]
    np.savez(tmp_path / "controls.npz", x=others, y=np.resize(values, 150))
    found = judged(
        tmp_path, "analytic_linear", records={0: tmp_path / "client0.npz"}, model=f"{HERE}:make_line", loss=loss
    )
    assert isinstance(found.measure, Estimate)
    assert found.measure.value == 1.0
