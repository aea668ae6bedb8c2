"""How much faster several processes train than one, when each has as much to do as the one had.

Images per second of ``hnas_kit.training.train`` with 1, 2, ... processes, up to the machine's GPUs (a process
each) or cores (a process and a thread each), the batch growing with their number; efficiency is images per
second over as many times those of one process. The numbers of processes take turns; an efficiency is the
median of those inside one turn. The start of the processes is not timed. Images are random. Prints one JSON
object.

    python performance/scaling.py [--quick] [--space pooling|macro|mobile] [--steps N] [--repeats N]
                                 [--processes N] [--precision float32|bfloat16|float16]
                                 [--device auto|cpu|cuda]
"""

from __future__ import annotations

import argparse
import json
import statistics
import tempfile
from pathlib import Path

import torch
from autocast import IMAGE_SIZE, draw, photos
from train_step import Clock, median_ratio

from hnas_kit.processes import distributed
from hnas_kit.processes.distributed import Team
from hnas_kit.processes.parallel import cores
from hnas_kit.provenance import provenance
from hnas_kit.spaces import Arch, make_space
from hnas_kit.supernets import make_supernet, skeleton
from hnas_kit.training import PRECISIONS, pick_device, train


def work(team: Team, file: Path, parameters: dict) -> None:
    """Train, and write down the images per second of all processes together."""
    name, each = parameters["space"], parameters["batch_size_of_each"]
    steps, warm_up = parameters["steps"], parameters["warm_up"]
    archs, clock = draw(name, warm_up + steps), Clock(warm_up, team.device)

    def choose(step: int) -> Arch:
        clock.begin(step)
        return archs[step]

    net = make_supernet(
        make_space(name), width=parameters["width"], generator=torch.Generator().manual_seed(1)
    )
    batches = photos(2 * each * team.size, parameters["image_size"], each * team.size, team.device)
    settings = {"lr": 0.01, "weight_decay": 1e-4, "precision": parameters["precision"]}
    train(net, batches, choose, len(archs), parts=team.size, team=team, **settings)
    seconds = clock.end()
    team.barrier()
    if team.main:
        file.write_text(repr(steps * each * team.size / seconds))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--quick", action="store_true", help="a tiny network and few steps, to see it work")
    parser.add_argument("--space", default="pooling", choices=IMAGE_SIZE)
    parser.add_argument("--steps", type=int, help="timed steps a turn (default: 8 on a CPU, 200 on a GPU)")
    parser.add_argument("--repeats", type=int, help="turns of each number of processes (default: 3)")
    parser.add_argument("--processes", type=int, help="at most so many (default: GPUs or cores)")
    parser.add_argument("--precision", default="float32", choices=PRECISIONS)
    parser.add_argument("--device", default="auto", choices=("auto", "cpu", "cuda", "mps"))
    options = parser.parse_args()
    device = pick_device(options.device)
    gpu = device.type == "cuda"
    most = options.processes or (torch.cuda.device_count() if gpu else cores())
    counts = [n for n in (2**k for k in range(10)) if n < most] + [most]
    parameters = {
        "space": options.space,
        "width": 4 if options.quick else skeleton(make_space(options.space)).width,
        "image_size": 32 if options.quick else IMAGE_SIZE[options.space],
        "batch_size_of_each": 8 if options.quick else 256 if gpu else 32,
        "precision": options.precision,
        "steps": options.steps or (2 if options.quick else 200 if gpu else 8),
        "warm_up": 50 if gpu and not options.quick else 1,
        "repeats": options.repeats or (1 if options.quick else 3),
    }
    if not gpu:
        torch.set_num_threads(1)  # or one process alone would have the cores of all
    speeds: dict[int, list[float]] = {n: [] for n in counts}
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "images_per_second"
        for turn in range(parameters["repeats"]):
            for n in counts if turn % 2 == 0 else reversed(counts):
                distributed.launch(work, (file, parameters), n, device)
                speeds[n].append(float(file.read_text()))
    result = {
        "benchmark": "scaling",
        "parameters": parameters | {"quick": options.quick},
        "device": torch.cuda.get_device_name() if gpu else "cpu",
        "threads": torch.get_num_threads(),
        "images_per_second": {n: round(statistics.median(v), 1) for n, v in speeds.items()},
        "images_per_second_of_each_turn": {n: [round(x, 1) for x in v] for n, v in speeds.items()},
        "efficiency": {n: round(median_ratio(v, speeds[1]) / n, 3) for n, v in speeds.items()},
        "provenance": provenance(),
    }
    print(json.dumps(result, indent=2))


if __name__ == "__main__":
    main()
