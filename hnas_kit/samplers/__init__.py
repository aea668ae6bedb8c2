"""Samplers of architectures behind one interface, and the methods that searches compare by name."""

from hnas_kit.samplers.flat import Independent, Mixture, Uniform
from hnas_kit.samplers.mcts import COMMUNICATIONS, MCTS, READINGS, Boltzmann, MCTSReg
from hnas_kit.samplers.methods import IN_BUDGET, METHODS, SAMPLERS, TREES, Method, make_sampler
from hnas_kit.samplers.sampler import Sampler
