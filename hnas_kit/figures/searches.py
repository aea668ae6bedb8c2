"""Figures of searches: what they draw over the steps, and the terms of Eq. 3."""

from collections.abc import Mapping, Sequence

import matplotlib as mpl
import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from hnas_kit.figures.style import COLOURS, DRAWN, TRULY, colours, mark_phases, plain, smooth
from hnas_kit.samplers import compiled
from hnas_kit.training import PHASES

BARS = 60  # of a histogram over ranks


def search_curves(
    histories: Mapping[str, pd.DataFrame],
    starts: Sequence[int],
    steps: int,
    rewards: Mapping[str, str],
    truth: pd.Series | None,
) -> Figure:
    """Over the steps of each search: reward and true accuracy of the drawn architectures (Fig. 3 right).

    A search with more steps than ``steps`` (a mixture) is drawn to the same length. ``rewards`` names the
    reward of each; those that learn from another one than the first are not drawn on the left.
    """
    panels = 1 if truth is None else 2
    figure, axes = plt.subplots(1, panels, figsize=(4.5 * panels + 0.9, 3.4), squeeze=False)
    reward, colour, lines = rewards[next(iter(histories))], colours(histories), {}
    percent = 100 if reward == "absolute validation accuracy" else 1
    for name, history in histories.items():
        step = np.linspace(0, steps, len(history))
        shown = [(axes[0, 0], percent * history["reward"])] if rewards[name] == reward else []
        if truth is not None:
            shown.append((axes[0, 1], truth[history["architecture"]]))
        dashes = ("-", "--", "-.", ":")[list(histories).index(name) % 4]  # told apart in gray, too
        for axis, values in shown:
            (lines[name],) = axis.plot(step, smooth(values), dashes, color=colour[name])
    what = DRAWN if percent == 100 else f"{reward}\nof the drawn architecture"
    axes[0, 0].set(xlabel="step", ylabel=what)
    if truth is not None:
        axes[0, 1].axhline(truth.mean(), color="0.7", linestyle=":")
        axes[0, 1].set(xlabel="step", ylabel=TRULY)
    for axis in axes.flat:
        mark_phases(axis, starts, steps)
    figure.legend(lines.values(), lines, loc="outside right center")
    return figure


def visits_by_rank(histories: Mapping[str, pd.DataFrame], ranks: pd.Series) -> Figure:
    """How often the third phase drew each architecture, from the truly best to the truly worst.

    The best quarter is bracketed, with the share of draws that went to it. Many architectures are taken
    together, in groups of neighbouring ranks.
    """
    figure, axes = plt.subplots(
        1, len(histories), figsize=(3.6 * len(histories), 3.3), sharey=True, squeeze=False
    )
    order, colour = ranks.sort_values(), colours(histories)
    size, quarter = -(-len(order) // BARS), len(order) / 4
    starts, best = np.arange(0, len(order), size), {}
    for axis, (name, history) in zip(axes.flat, histories.items(), strict=True):
        drawn = history.loc[history["phase"] == PHASES[2], "architecture"]
        share = drawn.value_counts(normalize=True).reindex(order.index, fill_value=0).to_numpy()
        heights = 100 * np.add.reduceat(share, starts)
        axis.bar(starts + (1 + size) / 2, heights, color=colour[name], width=0.85 * size)
        axis.axhline(100 * size / len(order), color="0.5", linestyle=":")
        axis.set(xlabel="true rank (1: best)")
        axis.set_title(name, color=colour[name], weight="bold")
        best[name] = f"{100 * share[order.to_numpy() <= quarter].sum():.0f} %"
    top = 1.04 * max(axis.get_ylim()[1] for axis in axes.flat)
    for axis, share in zip(axes.flat, best.values(), strict=True):
        axis.text(0.5, top, f"best quarter: {share}", va="bottom")
        axis.plot([0.5, 0.5, quarter + 0.5, quarter + 0.5], [0.98 * top, top, top, 0.98 * top], color="0.2")
        axis.set_ylim(0, 1.12 * top)
    said = ", ".join(f"{name} {share}" for name, share in best.items())
    figure.suptitle(f"Share of the third phase on the truly best quarter: {said}", size="medium")
    axes[0, 0].set_ylabel("draws in the third phase (%)")
    axes[0, 0].text(len(order), 100 * size / len(order), "uniform", ha="right", va="bottom", size="small")
    return figure


def bonuses(exploration: float, temperature: float, parent: int = 1000) -> Figure:
    """The exploration bonus of a node by its visits, by Eq. 3 and by Algorithm 1 as typeset; T beside them.

    Args:
        exploration: lambda, above 0.
        temperature: T; a difference between siblings that is larger decides the draw.
        parent: visits of its parent.
    """
    visits = np.unique(np.geomspace(1, parent, 200).astype(int))
    figure, axis = plt.subplots(figsize=(6, 3.4))
    for name, label, linear in (
        ("learned", "Eq. 3: λ sqrt(ln N / n)", False),
        ("default", "Algorithm 1: λ sqrt(ln N) / n", True),
    ):
        added = [compiled.bonus(exploration, linear, np.log(parent), n) for n in visits]
        axis.loglog(visits, added, color=COLOURS[name], label=label)
        there = compiled.bonus(exploration, linear, np.log(parent), parent // 10)
        axis.plot(parent // 10, there, "o", color=COLOURS[name])
        axis.annotate(f"{there:.2g}", (parent // 10, there), (6, 4), textcoords="offset points")
    plain(axis.xaxis, axis.yaxis)
    axis.axhline(temperature, color="0.6", linestyle=":")
    axis.annotate(f"T = {temperature:g}", (1, temperature), (2, 3), textcoords="offset points", color="0.4")
    axis.set(xlabel=f"visits n of a node, of N = {parent:,} of its parent", ylabel="bonus added to C")
    axis.legend()
    return figure


def uct_terms(terms: pd.DataFrame, starts: Sequence[int], steps: int) -> Figure:
    """The two terms of R over the steps, as differences between siblings in units of T.

    Args:
        terms: indexed by step; columns ``C`` and ``exploration``: mean over visited inner nodes of the
            largest difference between siblings, divided by the step's T.
        starts: first step of each phase.
        steps: number of steps.
    """
    figure, axis = plt.subplots(figsize=(6, 3.4))
    axis.semilogy(terms["C"], color=COLOURS["learned"], label="accuracy term C")
    axis.semilogy(terms["exploration"], color=COLOURS["default"], label="exploration term")
    axis.axhline(1, color="0.6", linestyle=":")
    axis.yaxis.set_major_locator(mpl.ticker.LogLocator(subs=(1, 2, 5)))
    plain(axis.yaxis)
    axis.set(xlabel="step", ylabel="difference between siblings / T")
    mark_phases(axis, starts, steps)
    axis.legend()
    return figure
