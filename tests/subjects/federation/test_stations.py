"""The parts of a federation in containers: whose keys and whose records each of them holds, and who takes part."""

from __future__ import annotations

import pickle
from pathlib import Path

import numpy as np
import pytest
from cryptography import x509

from testbed.core import Cohort
from testbed.core.errors import RunError
from testbed.subjects.federation import certificates, deployment, stations
from testbed.subjects.federation.engines import ENGINES
from testbed.subjects.federation.federation import Federation
from testbed.subjects.federation.parties import Parties, for_client
from tests.subjects.federation.test_engine import SPEC, parts, protocol


def cohort(name: str) -> Cohort:
    return Cohort(np.zeros((2, 3)), np.zeros(2, np.int64), np.array([f"{name}-0", f"{name}-1"]))


def test_a_file_for_one_client_holds_its_records_and_no_others() -> None:
    everybody = Parties([cohort(name) for name in ("north", "harbour", "forest")])
    with for_client(1):
        alone = pickle.dumps(everybody)
    copy: Parties = pickle.loads(alone)
    assert len(copy) == 3
    assert copy[1].persons.tolist() == ["harbour-0", "harbour-1"]
    assert "north".encode("utf-32-le") not in alone
    assert "forest".encode("utf-32-le") not in alone
    for other in (0, 2):
        with pytest.raises(RunError, match="TB-DEPLOY-011"):
            copy[other]
    whole: Parties = pickle.loads(pickle.dumps(everybody))
    assert [c.persons[0] for c in whole] == ["north-0", "harbour-0", "forest-0"]


def test_what_a_node_is_sent_holds_the_records_of_its_own_client(monkeypatch: pytest.MonkeyPatch) -> None:
    """The file of each node, made as the deployment makes it."""
    marked = [
        Cohort(p.x + 0, p.y, np.array([f"person-{i}-{n}" for n in range(len(p))])) for i, p in enumerate(parts(3))
    ]
    files: list[bytes] = []

    def caught(server: object, client: object, nodes: int, seen: object) -> None:
        for number in range(nodes):
            with for_client(number):
                files.append(deployment.pickled(client))

    monkeypatch.setitem(ENGINES, "caught", caught)
    Federation(SPEC, protocol(), 3).run(marked, "caught")
    assert len(files) == 3
    for number, file in enumerate(files):
        held = [other for other in range(3) if f"person-{other}-".encode("utf-32-le") in file]
        assert held == [number]


def test_each_station_has_its_own_key_and_only_the_superlink_knows_all_public_ones(tmp_path: Path) -> None:
    trusted, link, *nodes = (tmp_path / name for name in ("trusted", "link", "node0", "node1"))
    for folder in (trusted, link, *nodes):
        folder.mkdir()
    certificates.stations(trusted, link, nodes, stations.NAME)
    own = {certificates.AUTHORITY, certificates.CERTIFICATE, certificates.KEY, certificates.SECRET}
    assert {p.name for p in trusted.iterdir()} == {certificates.AUTHORITY}
    assert {p.name for p in link.iterdir()} == own | {"node0.pub", "node1.pub"}
    for number, node in enumerate(nodes):
        assert {p.name for p in node.iterdir()} == own | {f"node{number}", f"node{number}.pub"}
        assert (node / f"node{number}").stat().st_mode & 0o777 == 0o600
    for file in (certificates.KEY, certificates.SECRET):
        assert len({(folder / file).read_bytes() for folder in (link, *nodes)}) == 3
        assert {(folder / file).stat().st_mode & 0o777 for folder in (link, *nodes)} == {0o600}
    authority = x509.load_pem_x509_certificate((trusted / certificates.AUTHORITY).read_bytes())
    for folder, names in ((link, ["link", "localhost"]), *((node, ["localhost"]) for node in nodes)):
        made = x509.load_pem_x509_certificate((folder / certificates.CERTIFICATE).read_bytes())
        made.verify_directly_issued_by(authority)
        told = made.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
        assert told.get_values_for_type(x509.DNSName) == names


def test_the_coordinator_sends_away_who_takes_no_part_and_waits_until_all_say_so(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(deployment.STATIONS, str(tmp_path))
    for name in ("server", "node0", "node1", "node2", "node3"):
        (tmp_path / name).mkdir()
    for number in range(3):  # the image has a folder for a fourth hospital, which this exercise does not have
        (tmp_path / f"node{number}" / stations.STATE).write_text("on 12ab", encoding="utf-8")
    (tmp_path / "server" / "7").mkdir()
    (tmp_path / "node0" / "7").mkdir()
    assert stations.settled(tmp_path)
    waits = stand_in(monkeypatch)
    with deployment.at([0, 2]):
        made = waits(2)
    made.stop()
    assert made.places == [0, 2]
    assert [n for n in range(4) if (tmp_path / f"node{n}" / deployment.AWAY).exists()] == [1]
    assert not (tmp_path / "node0" / "7").exists()
    assert not stations.settled(tmp_path)
    (tmp_path / "node1" / stations.STATE).write_text("off 12ab", encoding="utf-8")
    assert stations.settled(tmp_path)
    waits(3).stop()
    assert not (tmp_path / "node1" / deployment.AWAY).exists()
    assert not stations.settled(tmp_path)


def stand_in(monkeypatch: pytest.MonkeyPatch) -> type[deployment.Stationed]:
    """The coordinator's side with a supervisor that only says that it is ready."""
    monkeypatch.setattr(deployment.Stationed, "_supervisor", lambda _: "tests.subjects.federation.ready")
    return deployment.Stationed


def test_a_command_line_that_is_none_is_answered(capsys: pytest.CaptureFixture[str]) -> None:
    assert stations.station(["nodes"]) == 2
    assert "python -m testbed.subjects.federation.stations link NODES" in capsys.readouterr().err
