"""Trees that are learned anew while they are searched. Beyond the paper, whose search keeps its tree.

The authors' later method does so as well (Iterative Monte Carlo Tree Search for NAS, AutoML 2025).
"""

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple, Self

import pandas as pd
from torch import Tensor

from hnas_kit import distances, evaluation, trees
from hnas_kit.errors import HnasError, require_one_of
from hnas_kit.names import LINKAGES, MEASURES
from hnas_kit.processes.distributed import LONE, Team
from hnas_kit.samplers.mcts import MCTS
from hnas_kit.supernets import Supernet
from hnas_kit.training import Schedule
from hnas_kit.training.problem import Problem
from hnas_kit.trees import ArchTree


class Planted(NamedTuple):
    """A tree that a search went on with."""

    step: int  # from which on; 0 for the one it began with
    tree: ArchTree
    seconds: float = 0.0  # that it took to learn it

    def state_dict(self) -> dict[str, Any]:
        """As a file of tensors and plain values may hold it."""
        return self._asdict() | {"tree": self.tree.to_bytes()}

    @classmethod
    def of(cls, state: Mapping[str, Any]) -> Self:
        """What :meth:`state_dict` gave."""
        return cls(**state | {"tree": trees.load(state["tree"])})


@dataclass(frozen=True)
class Relearning:
    """When a search learns its tree anew, and from what: as 02 and 03 do, but from its own supernet.

    Attributes:
        x: (B, channels, H, W) validation images, on the network's device.
        every: share of the third phase after which the tree is learned anew, between 0 and 1.
        measure: of the distance between outputs, see :func:`hnas_kit.distances.from_outputs`.
        linkage: see :func:`hnas_kit.trees.learned`.
    """

    x: Tensor
    every: float
    measure: str = "kl"
    linkage: str = "ward"

    def __post_init__(self) -> None:
        require_one_of("measure of tree relearned", self.measure, MEASURES)
        require_one_of("linkage", self.linkage, LINKAGES)

    @classmethod
    def of(cls, problem: Problem, every: float, images: int, measure: str, linkage: str) -> Self:
        """From the first validation images, which 02 compares outputs on."""
        return cls(problem.dataset.fixed(problem.valid, limit=images)[0][:images], every, measure, linkage)

    def tree(self, net: Supernet, archs: Sequence[tuple[int, ...]], team: Team = LONE) -> ArchTree:
        """The tree of a network's outputs as they are now, the same in all processes of a team."""
        outputs = evaluation.outputs(net, archs, self.x).to(self.x.device, copy=True)
        team.average([outputs])  # where processes differ in the last bit, trees might
        return trees.learned(distances.from_outputs(outputs.cpu(), self.measure), archs, self.linkage)

    def replant(self, step: int, net: Supernet, sampler: MCTS, team: Team = LONE) -> Planted:
        """Learn the tree anew and have the sampler go on with it from this step on."""
        start = time.perf_counter()
        tree = self.tree(net, sampler.archs, team)
        sampler.replant(tree)
        return Planted(step, tree, time.perf_counter() - start)


def steps(schedule: Schedule, every: float) -> list[int]:
    """The steps before which a tree is learned anew: after each such share of the third phase, not its end.

    Raises:
        HnasError: if there is none.
    """
    if not 0 < every < 1:
        raise HnasError(f"relearn_every is {every}; allowed: above 0 and below 1")
    first, length = schedule.starts[2], schedule.steps - schedule.starts[2]
    shares = (k * every for k in range(1, int(1 / every) + 2))
    found = {first + round(share * length) for share in shares if share < 1 - 1e-9} - {first, schedule.steps}
    if not found:
        raise HnasError(f"the third phase has {length} steps, too few to learn its tree anew in it")
    return sorted(found)


def table(planted: Sequence[Planted], seconds: float = 0.0) -> pd.DataFrame:
    """One row a tree of a search: how far its first split moved, and what it cost to learn.

    Args:
        planted: the trees of a search, the first one included, see :class:`hnas_kit.search.Result`.
        seconds: of the whole search; 0 leaves out the share.

    Returns:
        Indexed by step: ``moved``, the share of pairs of architectures that the first split parts in this
        tree or in the one before it alone (see :func:`hnas_kit.trees.moved`); ``moved in all``, likewise
        against the first tree; ``new groups``, the share of its inner nodes whose architectures were no
        group of the tree before; ``depth``; ``seconds``; ``share (%)`` of the search's seconds.
    """
    rows = {}
    for before, now in zip((planted[0], *planted), planted, strict=False):
        inner = (now.tree.num_children > 0).sum()
        rows[now.step] = {
            "moved": trees.moved(before.tree, now.tree),
            "moved in all": trees.moved(planted[0].tree, now.tree),
            "new groups": float((trees.origins(before.tree, now.tree) < 0).sum() / inner),
            "depth": now.tree.depth,
            "seconds": now.seconds,
        } | ({"share (%)": 100 * now.seconds / seconds} if seconds else {})
    return pd.DataFrame.from_dict(rows, orient="index").rename_axis("step")
