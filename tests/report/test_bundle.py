"""A bundle: share/ alone, the same bytes each time, and nothing that the testbed did not write."""

from __future__ import annotations

import contextlib
import hashlib
import io
import zipfile
from pathlib import Path

import pytest

from testbed.core.errors import InputError, UsageError
from testbed.report import bundle

FILES = {"result.json": b"{}\n", "report.html": b"<p>"}


def share(run: Path, **more: bytes) -> Path:
    (run / "share").mkdir(parents=True)
    (run / "evidence").mkdir()
    (run / "evidence" / "TB-COPYING-001.npz").write_bytes(b"private")
    for name, content in {**FILES, **more}.items():
        (run / "share" / name).write_bytes(content)
    return run


def test_a_bundle_holds_share_alone_with_the_checksums_of_each_file(tmp_path: Path) -> None:
    files = bundle.files_of(share(tmp_path / "run"))
    with zipfile.ZipFile(io.BytesIO(bundle.packed(files))) as archive:
        assert archive.namelist() == ["checksums.txt", "report.html", "result.json"]
        lines = archive.read("checksums.txt").decode().splitlines()
    assert lines == [f"{hashlib.sha256(FILES[name]).hexdigest()}  {name}" for name in ("report.html", "result.json")]


def test_equal_files_give_equal_bytes(tmp_path: Path) -> None:
    one, other = share(tmp_path / "a"), share(tmp_path / "b")
    (other / "share" / "result.json").touch()
    assert bundle.packed(bundle.files_of(one)) == bundle.packed(dict(reversed(bundle.files_of(other).items())))


@pytest.mark.parametrize("name", ["signed.pdf", ".hidden", "original.csv"])
def test_what_the_testbed_did_not_write_is_not_passed_on(name: str, tmp_path: Path) -> None:
    run = share(tmp_path / "run", **{name: b"x"})
    with pytest.raises(UsageError, match="TB-BUNDLE-002"):
        bundle.files_of(run)


def test_a_link_out_of_the_folder_is_not_passed_on(tmp_path: Path) -> None:
    run = share(tmp_path / "run")
    (run / "share" / "report.html").unlink()
    (run / "share" / "report.html").symlink_to(run / "evidence" / "TB-COPYING-001.npz")
    with pytest.raises(UsageError, match="TB-BUNDLE-002"):
        bundle.files_of(run)


def test_a_folder_without_a_result_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="TB-BUNDLE-001"):
        bundle.files_of(tmp_path)


@pytest.mark.parametrize(("name", "id"), [("x.tar", "TB-BUNDLE-003"), ("photos.zip", "TB-BUNDLE-004")])
def test_a_bundle_overwrites_bundles_only(name: str, id: str, tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "photos.zip", "w") as archive:
        archive.writestr("cat.png", b"")
    with pytest.raises(UsageError, match=id):
        bundle.writable(tmp_path / name)
    bundle.write(tmp_path / "b.zip", bundle.packed(FILES))
    bundle.writable(tmp_path / "b.zip")
    assert sorted(p.name for p in tmp_path.iterdir()) == ["b.zip", "photos.zip"]


def test_an_altered_added_or_removed_file_does_not_have_its_checksum(tmp_path: Path) -> None:
    (tmp_path / "b.zip").write_bytes(bundle.packed(FILES))
    files = bundle.unpacked(tmp_path / "b.zip")
    assert bundle.checksums(files) is None
    assert bundle.checksums({**files, "report.html": b"<b>"}) == "report.html was altered"
    assert bundle.checksums({**files, "more.txt": b""}) == "more.txt is not listed"
    assert bundle.checksums({n: c for n, c in files.items() if n != "result.json"}) == "result.json is missing"
    assert bundle.checksums(FILES) == "checksums.txt is missing"


def hostile(folder: Path, **entries: bytes) -> Path:
    path = folder / "h.zip"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in entries.items():
            archive.writestr(name, content)
    return path


def test_a_zip_that_is_no_bundle_is_refused_in_words(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for entries in ({"../out.txt": b""}, {"a/b.txt": b""}, {f"f{i}": b"" for i in range(101)}):
        with pytest.raises(InputError, match="TB-BUNDLE-005"):
            bundle.unpacked(hostile(tmp_path, **entries))
    (tmp_path / "n.zip").write_bytes(b"PK no zip")
    with pytest.raises(InputError, match="TB-BUNDLE-005"):
        bundle.unpacked(tmp_path / "n.zip")
    monkeypatch.setattr(bundle, "LARGEST", 1000)
    with pytest.raises(InputError, match="larger"):
        bundle.unpacked(hostile(tmp_path, bomb=b"0" * 100_000))


def test_a_damaged_bundle_is_refused_in_words(tmp_path: Path) -> None:
    whole = bundle.packed({"result.json": bytes(range(256)) * 20})
    for place in range(0, len(whole), 7):
        damaged = whole[:place] + bytes([whole[place] ^ 0xFF]) + whole[place + 1 :]
        (tmp_path / "d.zip").write_bytes(damaged)
        with contextlib.suppress(InputError):
            bundle.checksums(bundle.unpacked(tmp_path / "d.zip"))
