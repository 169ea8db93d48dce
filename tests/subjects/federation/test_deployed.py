"""What the processes of a deployment tell each other: errors with their words, and no text that may quote a record."""

from __future__ import annotations

from pathlib import Path

from testbed.core.errors import RunError, UsageError
from testbed.subjects.federation import deployed


def test_errors_keep_their_kind_and_words_on_the_way_to_another_process(tmp_path: Path) -> None:
    for kind in (RunError, UsageError):
        deployed.write_error(tmp_path / "failed.json", kind("TB-X-001", "What.", "Why.", "Fix."))
        again = deployed.read_error(tmp_path / "failed.json")
        assert (type(again), again.id, str(again)) == (kind, "TB-X-001", "TB-X-001: What. Why. Fix.")


def test_the_text_of_another_librarys_error_is_not_repeated() -> None:
    told = deployed.told(ValueError("age 93 is too high"))
    assert told.id == "TB-DEPLOY-005"
    assert "ValueError" in str(told)
    assert "93" not in str(told)
