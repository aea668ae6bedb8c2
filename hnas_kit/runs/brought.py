"""What a run uses of one's own, tried together before anything starts."""

from collections.abc import Mapping
from functools import lru_cache

from hnas_kit import plugins
from hnas_kit.errors import HnasError, require_one_of
from hnas_kit.names import DATASETS, LAYOUTS, REWARDS, SAMPLERS, SPACES
from hnas_kit.runs.params import Parameters, Pretrain, Search

FEW = 1000  # architectures that a sampler is tried out on


def check(params: Mapping[str, Parameters]) -> None:
    """Load a data set, build a network and measure a reward that were registered, as a run would.

    Args:
        params: of the notebooks of a run, by name. What was not registered is not tried.

    Raises:
        HnasError: one line, if something does not work, or not with the rest.
    """
    for notebook, each in params.items():
        name = getattr(each, "dataset", "textures")
        layout, _, path = name.partition(":")
        try:
            if not (path and layout in LAYOUTS):
                require_one_of("data set", name, (*DATASETS, *(f"{layout}:PATH" for layout in LAYOUTS)))
        except HnasError as error:
            raise HnasError(f"{notebook}: dataset is {name!r}: {error}") from None
    p, search = params.get("01_pretrain"), params.get("04_mcts")
    if not isinstance(p, Pretrain):
        return
    named = []
    if SAMPLERS.brought and isinstance(search, Search):
        from hnas_kit.spaces import make_space

        if (space := make_space(p.space)).size <= FEW:
            for method in search.searched.values():
                method.try_out(space)
    if REWARDS.brought and isinstance(search, Search):
        named = [search.reward_of(m) for m in search.searched.values() if "reward" in m.allowed]
    rewards = tuple(name for name in dict.fromkeys(named) if name in REWARDS.brought)
    if rewards or p.space in SPACES.brought or p.dataset in DATASETS.brought:
        _check(p.space, p.dataset, p.image_size, p.width, rewards, tuple(plugins.digests(p.plugins)))


@lru_cache(maxsize=64)
def _check(
    space: str, dataset: str, image_size: int, width: int, rewards: tuple[str, ...], code: tuple[str, ...]
) -> None:
    import torch

    from hnas_kit import data, supernets
    from hnas_kit.cost import CostTable
    from hnas_kit.rewards import make_reward
    from hnas_kit.spaces import make_space

    made = make_space(space)
    arch, channels, classes, size = made.first, 3, 10, image_size or made.image_size
    if dataset in DATASETS.brought:
        known = data.load(dataset, image_size=image_size)
        channels, classes, size = known.in_channels, known.num_classes, known.image_size
    if space in SPACES.brought:
        with torch.device("meta"):
            net = supernets.make_supernet(made, channels, classes, width)
        CostTable(net.eval(), size, channels).macs(arch)
    for name in rewards:
        make_reward(name).measured(torch.randn(4, classes), torch.zeros(4, dtype=torch.int64), arch)
