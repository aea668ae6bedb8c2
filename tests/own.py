"""What a user might bring, other than what docs/extend.md shows; named as a plugin by tests."""

import numpy as np
import torch
from sklearn.datasets import load_digits
from torch import nn

from hnas_kit import data, rewards, samplers, spaces
from hnas_kit.supernets.blocks import Classifier, ConvBN, batch_norm


class Shuffle(nn.Module):
    """Channels of two groups, interleaved."""

    def forward(self, x):
        return x.unflatten(1, (2, -1)).transpose(1, 2).flatten(1, 2)


class Grouped(spaces.SearchSpace):
    """Three layers of plain, grouped or dilated convolutions; at most one is dilated."""

    name = "grouped"
    ops = (("plain", "grouped", "dilated"),) * 3
    separator = ""

    def advance(self, state, layer, op):
        dilated = state + (op == 2)
        return dilated if dilated <= 1 else None

    def describe(self):
        return "3 layers of 0 (plain), 1 (grouped) or 2 (dilated), which stands at most once"

    def stem(self, in_channels, width, shared):
        return ConvBN(in_channels, width, 3, shared, stride=2, activation=nn.ReLU)

    def block(self, layer, op, width, shared):
        if op == 1:
            return nn.Sequential(ConvBN(width, width, 3, shared, groups=2, activation=nn.ReLU), Shuffle())
        if op == 2:
            convolution = nn.Conv2d(width, width, 3, padding=2, dilation=2, bias=False)
            return nn.Sequential(convolution, batch_norm(width, shared), nn.ReLU())
        return ConvBN(width, width, 3, shared, activation=nn.ReLU)

    def head(self, channels, num_classes):
        return nn.Sequential(nn.Dropout(0.1), Classifier(channels, num_classes))


class Descent(samplers.Sampler):
    """Epsilon-greedy descent of a tree: at each node mostly the child of the best mean reward."""

    def __init__(self, tree, epsilon=0.3):
        super().__init__(tree.archs)
        self.tree, self.epsilon = tree, epsilon
        self.mean, self.visits = np.ones(tree.num_nodes), np.zeros(tree.num_nodes)

    def _children(self, node):
        return np.flatnonzero(self.tree.parent == node)

    def _down(self, choose):
        node = 0
        while len(children := self._children(node)):
            node = int(choose(children))
        return self.archs[self.tree.arch_index[node]]

    def _best(self, children):
        return children[np.argmax(self.mean[children])]

    def sample(self, rng):
        return self._down(lambda c: rng.choice(c) if rng.random() < self.epsilon else self._best(c))

    def update(self, arch, reward):
        node = self.tree.leaf[arch]
        while node >= 0:
            self.visits[node] += 1
            self.mean[node] += (reward - self.mean[node]) / self.visits[node]
            node = self.tree.parent[node] if node else -1

    def probabilities(self):
        found = {}

        def walk(node, share):
            children = self._children(node)
            if not len(children):
                found[self.archs[self.tree.arch_index[node]]] = share
            for child in children:
                best = (1 - self.epsilon) * (child == self._best(children))
                walk(child, share * (self.epsilon / len(children) + best))

        walk(0, 1.0)
        return found

    def greedy(self):
        return self._down(self._best)


class Above:
    """How much less than its moving average the loss of the step's own mini-batch is."""

    def __init__(self):
        self.average = None

    def __call__(self, arch, logits, labels):
        loss = nn.functional.cross_entropy(logits, labels).item()
        self.average = loss if self.average is None else 0.9 * self.average + 0.1 * loss
        return self.average - loss

    def state_dict(self):
        return {"average": self.average}

    def load_state_dict(self, state):
        self.average = state["average"]


def turned(device):
    """Digits as they are and upside down: which is it?"""
    x = torch.from_numpy(load_digits().images.astype("uint8") * 15)[:400, None]
    y = torch.arange(400) % 2
    x = torch.where(y[:, None, None, None] == 1, x.flip(2), x)
    arrays = {"train_x": x[:300], "train_y": y[:300], "test_x": x[300:], "test_y": y[300:]}
    return data.from_arrays("turned", arrays, ["upright", "upside down"], device)


spaces.register(Grouped)
samplers.register("descent", Descent)
rewards.register("training above average", Above())
data.register("turned", turned)
