"""The steps of the search inside a window of MACs (Sec. 5.4): pool, pre-training, searches, Table 5.

What trains may run in several processes (:func:`launch`), and leaves its result beside its checkpoints; it is
not run again when it has finished.
"""

import time
from collections.abc import Mapping, Sequence
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch

from hnas_kit import cost, runs, search, training, trees
from hnas_kit.cost import BudgetSampler
from hnas_kit.data import Dataset
from hnas_kit.errors import HnasError
from hnas_kit.files import sha256, torch_bytes, torch_value, write_atomic
from hnas_kit.processes import distributed
from hnas_kit.processes.distributed import Team
from hnas_kit.runs.params import Imagenet
from hnas_kit.samplers import Sampler, comparable
from hnas_kit.samplers.relearning import Planted
from hnas_kit.spaces import Arch, SearchSpace, make_space
from hnas_kit.studies import paper
from hnas_kit.supernets import Supernet
from hnas_kit.training import Checkpoints
from hnas_kit.training.problem import Problem
from hnas_kit.trees import ArchTree

ON_POOL = ("learned", "boltzmann", "relearned")  # draw from the pool; the others from the whole window
PART = 1024  # test images at once


@lru_cache(maxsize=4)
def window(low: float, high: float) -> BudgetSampler:
    """The ImageNet space between so many millions of MACs of the full-size network; counted once.

    Raises:
        HnasError: if it is empty; the line says the nearest MACs that there are.
    """
    return BudgetSampler(make_space("mobile"), round(1e6 * low), round(1e6 * high))


def draw_pool(budget: BudgetSampler, size: int, rng: np.random.Generator) -> list[Arch]:
    """``size`` different architectures, all sets of that size in the window equally likely.

    Raises:
        HnasError: if the window has fewer.
    """
    if size > budget.count():
        raise HnasError(f"pool is {size}; the window has only {budget.count()} architectures")
    pool: dict[Arch, None] = {}
    while len(pool) < size:
        pool |= dict.fromkeys(budget.sample(rng, size - len(pool)))
    return list(pool)


def shares(space: SearchSpace) -> np.ndarray:
    """(layers, operations) of all architectures of a space, the share with that operation there; exact."""
    found = np.zeros((space.num_layers, max(map(len, space.ops))))
    ahead = [1]
    for layer, table in enumerate(space.transitions):
        behind = space.completions[layer + 1]
        beginnings = [0] * len(behind)
        for (state, op), after in np.ndenumerate(table):
            if after >= 0:
                found[layer, op] += ahead[state] * behind[after] / space.size
                beginnings[after] += ahead[state]
        ahead = beginnings
    return found


def drawn_shares(archs: Sequence[Arch], space: SearchSpace) -> np.ndarray:
    """(layers, operations) the same among some architectures."""
    codes = np.array(archs)[:, :, None]
    return (codes == np.arange(max(map(len, space.ops)))).mean(axis=0)


def load(p: Imagenet, device: torch.device | None = None) -> Problem:
    """The images at the size that the network gets, and their halves for training and validation.

    Raises:
        HnasError: if there are fewer of them than the parameters ask for.
    """
    problem = Problem.of({"space": "mobile"} | dict(p), device or runs.device_of(p))
    there = {"images": problem.valid, "scored": problem.valid, "tested": problem.dataset.test}
    for name, split in there.items():
        if getattr(p, name) > len(split):
            has = f"data set {p.dataset} has {len(split)} such images"
            raise HnasError(f"{name} is {getattr(p, name)}; {has}")
    return problem


def _keep(checkpoints: Checkpoints, net: Supernet, **more: Any) -> None:
    more |= {"took": checkpoints.took, "codes": sorted(checkpoints.codes)}
    content = torch_bytes({"net": {name: value.cpu() for name, value in net.state_dict().items()}} | more)
    write_atomic(checkpoints.folder / f"result-{sha256(content)[:16]}.pt", content)


def result(checkpoints: Checkpoints) -> dict | None:
    """What a training left beside its checkpoints; None if it has not finished, or the file is damaged."""
    for path in checkpoints.folder.glob("result-*.pt"):
        content = path.read_bytes()
        if sha256(content)[:16] == path.stem.split("-")[1]:
            return torch_value(content)
        print(f"{path} is corrupt; it is made again")
        path.unlink()
    return None


def _finished(team: Team, checkpoints: Checkpoints) -> bool:
    """Whether there is a result already, as the main process sees it: it also removes one that is damaged."""
    with team.main_first():
        return result(checkpoints) is not None


def pretrain(team: Team, p: Imagenet, checkpoints: Checkpoints) -> None:
    """Train a supernet by uniform draws from the window (Algorithm 1, "pre-training"); leaves a result.

    Its ``net`` is the weights, ``losses`` the training loss of every step.
    """
    if _finished(team, checkpoints):
        return
    problem, budget = load(p, team.device), window(p.low, p.high)
    steps = problem.steps(p.pretrain_epochs, p.batch_size)
    with runs.progress(steps, "pre-training", team.main) as bar:
        net, losses = training.pretrain(
            problem,
            seed=p.seed,
            epochs=p.pretrain_epochs,
            batch_size=p.batch_size,
            draw=lambda rng: budget.sample(rng, 1)[0],
            parts=p.parts,
            team=team,
            checkpoints=checkpoints,
            progress=bar.update,
            **p.optimiser,
        )
    if team.main:
        _keep(checkpoints, net, losses=torch.from_numpy(losses))


def make_sampler(p: Imagenet, name: str, tree: ArchTree) -> Sampler:
    """A new sampler of a method: over the tree's pool, or over the whole window."""
    method, settings = comparable()[name], p.sampler_settings
    if name in ON_POOL:
        return method.make(make_space("mobile"), {method.first_tree: tree}, **settings)
    return method.make(make_space("mobile"), {}, window(p.low, p.high), **settings)


def run(team: Team, p: Imagenet, method: str, tree: ArchTree, checkpoints: Checkpoints) -> None:
    """Search with one method from new weights to the final choice, 50 draws at lambda = 0; leaves a result.

    Methods start from the same weights and see the same batches. See :func:`found` for the result.
    """
    if _finished(team, checkpoints):
        return
    problem = load(p, team.device)
    schedule = p.schedule(len(problem.train), comparable()[method])
    with runs.progress(schedule.steps, f"search: {method}", team.main) as bar:
        done = search.trial(
            problem,
            make_sampler(p, method, tree),
            schedule,
            parts=p.parts,
            team=team,
            checkpoints=checkpoints,
            progress=bar.update,
            **p.trial(comparable()[method]),
        )
    if team.main:
        _keep(
            checkpoints,
            done.net,
            tree=tree.to_bytes(),
            sampler=done.sampler.state_dict(),
            history=done.history.to_dict("list"),
            candidates=list(done.scores.index),
            scores=done.scores.tolist(),
            seconds=done.seconds,
            planted=[one.state_dict() for one in done.planted],
        )


def launch(
    p: Imagenet,
    device: torch.device,
    checkpoints: Checkpoints,
    method: str = "",
    tree: ArchTree | None = None,
) -> None:
    """:func:`pretrain`, or with a method and a tree :func:`run`, in all the processes that train together.

    A search that was begun goes on with its own tree: one that is learned again may differ by rounding.
    """
    start, folder = time.perf_counter(), checkpoints.folder.resolve()
    if tree and not (folder / "tree.npz").exists():
        write_atomic(folder / "tree.npz", tree.to_bytes())
    distributed.launch(job, (p.model_dump(), str(folder), method), p.processes, device)
    if kept := result(checkpoints):
        checkpoints.seconds = max(kept["took"] - (time.perf_counter() - start), 0.0)
        checkpoints.codes.update(kept["codes"])


def job(team: Team, settings: dict[str, Any], folder: str, method: str) -> None:
    """What :func:`launch` calls in each process, with values that JSON has."""
    p, checkpoints = Imagenet(**settings), Checkpoints(Path(folder), settings["checkpoint_every"])
    if method:
        run(team, p, method, trees.load(Path(folder) / "tree.npz"), checkpoints)
    else:
        pretrain(team, p, checkpoints)


def found(p: Imagenet, method: str, problem: Problem, checkpoints: Checkpoints) -> search.Result:
    """The result that :func:`run` left, its network on the images' device."""
    kept = result(checkpoints)
    if kept is None:
        raise HnasError(f"{checkpoints.folder} holds no finished search; run it again")
    net, sampler = problem.supernet(), make_sampler(p, method, trees.load(kept["tree"]))
    net.load_state_dict(kept["net"])
    sampler.load_state_dict(kept["sampler"])
    scores = pd.Series(kept["scores"], index=pd.Index(kept["candidates"], tupleize_cols=False))
    history = pd.DataFrame(kept["history"]).rename_axis("step")
    planted = tuple(Planted.of(one) for one in kept["planted"])
    where = problem.dataset.device
    return search.Result(net.to(where), sampler, history, scores.index[0], scores, kept["seconds"], planted)


@torch.inference_mode()
def top_accuracies(net: Supernet, arch: Arch, dataset: Dataset, images: int = 0) -> tuple[float, float]:
    """Top-1 and top-5 accuracy (%) of an architecture in its supernet, on the first test images (0: all).

    BatchNorm uses the statistics of each part of up to ``PART`` images.
    """
    right, count = torch.zeros(2, dtype=torch.int64), 0
    net.eval()
    for piece in dataset.pieces(dataset.test, images or None):
        parts = -(-len(piece[1]) // PART)
        for x, y in zip(*(tensor.tensor_split(parts) for tensor in piece), strict=True):
            best = net(x, arch).topk(min(5, dataset.num_classes)).indices == y[:, None]
            right += torch.stack([best[:, 0].sum(), best.sum()]).cpu()
            count += len(y)
    top_1, top_5 = (100 * right / count).tolist()
    return top_1, top_5


def table(results: Mapping[str, search.Result], dataset: Dataset, images: int = 0) -> pd.DataFrame:
    """What each method found, one row a method; ``images`` of the test set are looked at (0: all).

    Returns:
        ``architecture`` (text), ``top-1`` and ``top-5`` (%, test images, in the supernet), ``MACs (M)`` and
        ``parameters (M)`` of the full-size network alone, ``validation`` (%, of the final choice),
        ``candidates`` for it, ``different`` (architectures drawn in the third phase), ``seconds``.
    """
    space, rows = make_space("mobile"), {}
    for method, done in results.items():
        top_1, top_5 = top_accuracies(done.net, done.arch, dataset, images)
        third = done.history.loc[done.history["phase"] == "search", "architecture"]
        rows[method] = {
            "architecture": space.format(done.arch),
            "top-1": top_1,
            "top-5": top_5,
            "MACs (M)": cost.macs(space, done.arch) / 1e6,
            "parameters (M)": cost.params(space, done.arch) / 1e6,
            "validation": 100 * done.scores.iloc[0],
            "candidates": len(done.scores),
            "different": third.nunique(),
            "seconds": done.seconds,
        }
    return pd.DataFrame.from_dict(rows, orient="index").rename_axis("method")


def beside_published(ours: pd.DataFrame, scale: str) -> pd.DataFrame:
    """Table 5 with rows of our own, marked with their scale.

    Args:
        ours: of :func:`table`.
        scale: data and size that our rows belong to.
    """
    published = paper.TABLE_5.astype({"MACs (M)": object, "parameters (M)": object}).rename_axis("method")
    published["search"] = [days if days == "-" else f"{days} GPU days" for days in published.pop("GPU days")]
    published["measured on"] = "ImageNet, trained alone (paper)"
    mine = ours[["top-1", "top-5", "MACs (M)", "parameters (M)"]].round(1)
    beyond = {name: f"{name} tree (beyond the paper)" for name in ours.index if name not in paper.LABELS}
    mine.index = [f"{(paper.LABELS | beyond)[method]}, ours" for method in ours.index]
    mine["search"] = [f"{seconds:.0f} s" for seconds in ours["seconds"]]
    mine["measured on"] = scale
    return pd.concat([published, mine.astype(published.dtypes.to_dict())]).rename_axis("method")
