"""Red's second look at a candidate: what stays within a row if its dates move alike and its series is scaled.

python second_look.py DESK NUMBER writes loot/round-NN.second_look.csv on red's desk.
"""

import sys
from pathlib import Path

import numpy as np
import pandas as pd
from numpy.typing import NDArray

DAY = 0.02
"""How much one day between two dates weighs, beside a difference of 1 between two logarithms of CRP."""


def within_rows(table: pd.DataFrame) -> NDArray[np.float64]:
    """The days between the dates, and the logarithms of CRP from one day to the next (n, 9)."""
    dates = table[["admitted", "operated", "discharged"]].to_numpy(dtype="datetime64[D]").astype(int)
    series = np.log(table.filter(regex=r"^crp_\d+$").to_numpy(float))
    return np.hstack([DAY * np.diff(dates, axis=1), np.diff(series, axis=1)])


def main() -> None:
    desk, number = Path(sys.argv[1]), int(sys.argv[2])
    names, release = pd.read_csv(desk / "names.csv"), pd.read_csv(desk / f"release-{number:02d}.csv")
    apart = np.abs(within_rows(names)[:, None] - within_rows(release)[None]).sum(2).min(1)
    target = desk / "loot" / f"round-{number:02d}.second_look.csv"
    target.parent.mkdir(mode=0o700, exist_ok=True)
    pd.DataFrame({"name": names["name"], "score": -apart}).to_csv(target, index=False)
    print(target)


if __name__ == "__main__":
    main()
