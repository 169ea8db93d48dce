"""How many different releases of one original were evaluated on this machine: many reports on one original can leak.

ReconSyn (Ganev and De Cristofaro 2023, arXiv 2312.05114) reconstructs outliers from the answers of privacy metrics
alone, by asking again and again. The file holds only digests under a random key of this machine, so it reveals nothing
about any table.
"""

from __future__ import annotations

import hashlib
import hmac
import json
import os
import secrets
from pathlib import Path
from typing import Any

import pandas as pd
from pandas import util as _util

MANY = 5
"""Number of different releases of one original from which the report warns."""


def evaluations(original: pd.DataFrame, release: pd.DataFrame, folder: Path) -> int | None:
    """Number of different releases of this original evaluated so far, with this one. None if no file can be kept."""
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        key_file, file = folder / "counter.key", folder / "counter.json"
        if not key_file.exists():
            key_file.write_bytes(secrets.token_bytes(32))
            key_file.chmod(0o600)
        key = key_file.read_bytes()
        counted: dict[str, Any] = json.loads(file.read_text(encoding="utf-8")) if file.exists() else {}
        seen = counted.setdefault(_digest(original, key), [])
        if (own := _digest(release, key)) not in seen:
            seen.append(own)
        staging = file.with_name(f".{file.name}.{os.getpid()}")
        staging.write_text(json.dumps(counted), encoding="utf-8")
        staging.chmod(0o600)
        staging.replace(file)
    except (OSError, ValueError, AttributeError, TypeError):
        return None
    return len(seen)


def _digest(table: pd.DataFrame, key: bytes) -> str:
    hashed: Any = _util.hash_pandas_object
    rows = hashed(table.astype(str), index=False)
    content = str(list(table.columns)).encode() + rows.to_numpy().tobytes()
    return hmac.new(key, content, hashlib.sha256).hexdigest()[:32]
