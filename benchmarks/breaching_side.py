"""Run inside breaching's own environment: its attacker on updates that the benchmark left in a folder.

python benchmarks/breaching_side.py FOLDER: reads FOLDER/job.pt, writes FOLDER/done.pt. Imports nothing of this project.
"""

from __future__ import annotations

import resource
import sys
import warnings
from pathlib import Path
from types import SimpleNamespace

import torch

warnings.simplefilter("ignore")
import breaching  # noqa: E402


def used() -> float:
    usage = resource.getrusage(resource.RUSAGE_SELF)
    return usage.ru_utime + usage.ru_stime


def main() -> None:
    folder = Path(sys.argv[1])
    job = torch.load(folder / "job.pt", weights_only=False)
    torch.set_num_threads(1)
    setup = {"device": torch.device("cpu"), "dtype": torch.float}
    data = SimpleNamespace(
        modality="vision",
        size=(1,),
        classes=job["classes"],
        shape=job["shape"],
        normalize=False,
        mean=(0.0,) * job["shape"][0],
        std=(1.0,) * job["shape"][0],
    )
    done = []
    for update in job["updates"]:
        torch.manual_seed(0)
        payload = [{"parameters": update["sent"], "buffers": [], "metadata": data}]
        metadata = {"num_data_points": len(update["y"]), "labels": update["y"], "local_hyperparams": None}
        shared = [{"gradients": update["returned"], "buffers": None, "metadata": metadata}]
        loss = torch.nn.CrossEntropyLoss()
        start = used()
        if job["attack"] == "imprint":
            from breaching.attacks.analytic_attack import ImprintAttacker

            impl = SimpleNamespace(dtype="float", mixed_precision=False, JIT="")
            config = SimpleNamespace(
                type="analytic",
                attack_type="imprint-readout",
                label_strategy=None,
                normalize_gradients=False,
                sort_by_bias=False,
                text_strategy="no-preprocessing",
                token_strategy="decoder-bias",
                token_recovery="from-limited-embedding",
                breach_reduction="weight",
                breach_padding=False,
                impl=impl,
            )
            attacker = ImprintAttacker(job["model"], loss, config, setup)
            secret = {
                "ImprintBlock": {"weight_idx": 0, "bias_idx": 1, "shape": job["shape"], "structure": "cumulative"}
            }
            found, _ = attacker.reconstruct(payload, shared, secret)
        else:
            config = breaching.get_attack_config("invertinggradients")
            config.optim.max_iterations = job["iterations"]
            config.optim.callback = job["iterations"]
            config.regularization.total_variation.scale = job["tv"]
            attacker = breaching.attacks.prepare_attack(job["model"], loss, config, setup)
            found, _ = attacker.reconstruct(payload, shared, {})
        done.append({"records": found["data"].detach().cpu(), "seconds": used() - start})
    torch.save(done, folder / "done.pt")


if __name__ == "__main__":
    main()
