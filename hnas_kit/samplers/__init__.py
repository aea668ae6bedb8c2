"""Samplers of architectures behind one interface, and the methods that searches compare by name.

The samplers themselves are imported when they are used: compiled loops take seconds.
"""

from hnas_kit.names import COMMUNICATIONS, PRIORS, READINGS, SAMPLERS, TREES, lazy
from hnas_kit.samplers.methods import IN_BUDGET, METHODS, Method, comparable, make_sampler

__getattr__, __dir__ = lazy(
    __name__,
    {name: "flat" for name in ("Independent", "Mixture", "Uniform")}
    | {name: "mcts" for name in ("MCTS", "Boltzmann", "MCTSReg")}
    | {"Sampler": "sampler", "register": "brought"},
)
