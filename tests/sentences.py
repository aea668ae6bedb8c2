"""What README, results, choosing.md and 05 say, each figure computed from the committed table named."""

from __future__ import annotations

import re
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import numpy as np
import pandas as pd
import sentences_beyond as more

from hnas_kit import benchmarks
from hnas_kit.names import SUPERNETS
from hnas_kit.runs.params import NOTEBOOKS
from hnas_kit.spaces import make_space
from hnas_kit.studies import ablations, evidence, forests, paper, readings, rule, study

ROOT = Path(__file__).resolve().parents[1]
WORDS = ("none", "one", "two", "three", "four", "five", "six", "seven", "eight")
LEARNED, ONEHOT = list(study.LEARNED), study.ONEHOT
RECORDS = [benchmarks.supernet(number).record for number in range(SUPERNETS)]
KENDALL = [record["figures"]["01_pretrain"]["kendall_tau"] for record in RECORDS]


@cache
def table(name: str) -> pd.DataFrame:
    """A table of ``docs/results``; p stays as it is shown."""
    path = ROOT / "docs" / "results" / f"{name}.csv"
    return pd.read_csv(path, dtype={"p": str} if name == "table1" else None)


def of(values: list[float], form: str = ".2f") -> str:
    """Figures one after another, ``and`` before the last."""
    *first, last = (format(value, form) for value in values)
    return f"{', '.join(first)} and {last}"


def span(values: pd.Series, form: str = ".2f", by: int = 1) -> str:
    """From the least to the largest."""
    return f"{by * values.min():{form}} to {by * values.max():{form}}"


def example() -> Iterator[str]:
    stored = (ROOT / "notebooks" / "04_mcts.ipynb").read_text(encoding="utf-8")
    (rank,) = re.findall(r"learned: found [^ ]* truly number (\d+)", stored)
    yield f"the search's choice is truly number {rank}.*"


def methods() -> Iterator[str]:
    rows = {data: own.set_index("method").fillna({"p": ""}) for data, own in table("table1").groupby("data")}
    seeds = {data: own["seeds"].iloc[0] for data, own in rows.items()}
    yield f"| method | textures, {seeds['textures']} seeds | p | digits, {seeds['digits']} seeds | p |"
    for method in rows["digits"].index.drop(["Mixture", "MCTS + Reg, equivalent nodes"]):
        one, other = (rows[data].loc[method] for data in ("textures", "digits"))
        cells = [f"{own['rank']} ± {own['deviation']} | {own['p']}" for own in (one, other)]
        yield f"| {method} | {' | '.join(cells)} | {one['paper']} |".replace("|  |", "| |")


def on_images() -> Iterator[str]:
    rows = table("evidence")
    rank = evidence.methods(rows)["mean rank"]
    for bonus, end in (("Eq. 3", ""), ("Algorithm 1", ", linear")):
        learned, default = f"{evidence.LEARNED}{end}", f"{evidence.DEFAULT}{end}"
        ahead = evidence.differences(rows, learned, default)
        often = f"{(ahead > 0).sum()} of {len(ahead)}"
        yield f"| {bonus} | {rank[learned]:.1f} | {rank[default]:.1f} | {often} |"
    assert (ahead > 0).all()
    yield "Under Algorithm 1 it is ahead on every seed."
    yield f"over at most {WORDS[rows.groupby('label').size().max()]} seeds"
    uniform, regularised = rank[evidence.UNIFORM], rank["MCTS + Reg"]
    yield f"Uniform sampling finds {uniform:.1f} and regularised search {regularised:.1f}"
    every = rows.pivot(index="seed", columns="label", values="rank")
    every = every[[name for name in every if not name.endswith(", linear")]].dropna()
    learned, uniform = every.mean()[[evidence.LEARNED, evidence.UNIFORM]]
    assert every.mean().nsmallest(2).index.tolist() == [evidence.UNIFORM, evidence.LEARNED]
    seeds, methods = WORDS[len(every)], WORDS[every.shape[1]]
    yield f"On the {seeds} seeds that all {methods} methods have under Eq. 3, uniform"
    yield f" sampling ({uniform:.1f}) is ahead of the learned tree ({learned:.1f})."


def choosing_tree_on_images() -> Iterator[str]:
    trees = f"{evidence.LEARNED}, linear", f"{evidence.DEFAULT}, linear"
    ahead = evidence.differences(table("evidence"), *trees)
    assert (ahead > 0).all()
    yield f"One thing {WORDS[len(ahead)]} seeds show: with the bonus of Algorithm 1 the learned tree is ahead"


def alone() -> Iterator[str]:
    path = ROOT / "docs" / "results" / "cifar10_jpeg-pooling.csv"
    truth = benchmarks.own_table(path, make_space("pooling")).mean(axis=1)
    published = benchmarks.load("cifar10-pooling")["accuracy"]
    yield f"(Kendall's tau {truth.corr(published, method='kendall'):.2f} with the published order)"
    rank = evidence.methods(evidence.ranked_by(table("evidence"), truth))["mean rank"]
    trees = [f"{name}{end}" for end in ("", ", linear") for name in (evidence.LEARNED, evidence.DEFAULT)]
    one, two, three, four = rank[trees]
    yield f"under Eq. 3 the learned tree has {one:.1f} and the default tree {two:.1f}, under Algorithm 1"
    yield f" {three:.1f} and {four:.1f}, uniform sampling {rank[evidence.UNIFORM]:.1f}."


def chance() -> Iterator[str]:
    rows = table("table1").query("data == 'textures'").set_index("method")
    yield f"but not beyond chance (p = {rows['p'][evidence.DEFAULT]})"
    share = {name: f"{value} %" for name, value in rows["best quarter"].items()}
    assert share["MCTS + Reg"] == share["MCTS + Reg, equivalent nodes"]
    yield f"It sends {share[evidence.LEARNED]} of its third phase to the best quarter, the default tree"
    yield f" {share[evidence.DEFAULT]}, regularised search {share['MCTS + Reg']} and uniform draws"
    yield f" {share[evidence.UNIFORM]}."


def corrected() -> Iterator[str]:
    p = ablations.paired(table("searches").query("sweep == 'table1' and data == 'textures'"))["p"]
    assert p[p == p.min()].index.tolist() == ["MCTS + Reg", "MCTS + Reg, equivalent nodes"]
    holm = f"p = {p.min():.2f}, but {len(p) * p.min():.2f} after Holm's correction"
    yield f"{holm} for the {WORDS[len(p)]} comparisons"


def choices() -> Iterator[str]:
    textures, large = (
        table("choices").query(f"data == '{data}'") for data in ("textures", "cifar10_jpeg-macro")
    )
    (seeds,) = textures["seeds"].unique()
    yield f"On textures, {seeds} seeds each"
    ranks = textures.set_index(["choice", "value"])["rank"]
    grown = ranks["pre-training and tree (Fig. 3)"]
    yield f"trees without any find {grown['no pre-training']}, after 12 epochs {grown['12 epochs']}. A random"
    assert grown.idxmax() == "random tree"
    yield f" tree is last with {grown['random tree']}."
    rewards = [name.removeprefix("MCTS + Reg, ") for name in paper.TABLE_7.index[::2]]
    searched = large[large["choice"] == "reward (Table 7)"].set_index("value")["rank"]
    ahead = []
    for rank in (ranks["reward (Table 7)"], paper.TABLE_7["average rank"], searched):
        behind = [r for r in rewards if rank[f"{evidence.LEARNED}, {r}"] >= rank[f"MCTS + Reg, {r}"]]
        ahead.append(f"{len(rewards) - len(behind)} of {len(rewards)} rewards")
        if rank is not searched:
            yield f"with {ahead[-1]}, all but the {' and '.join(behind)}"
    (seeds,) = large["seeds"].unique()
    learned = searched.index.str.startswith(evidence.LEARNED)
    yield f"with {WORDS[seeds]} seed, the learned tree is ahead with {ahead[-1]}: it finds ranks"
    yield f" {span(searched[learned], ',.0f')}, regularised search {span(searched[~learned], ',.0f')}."
    _, ward = macro()
    own = ward[(ward["source"] == "macro_s0_64") & (ward["steps"] == 980)]
    own = own.groupby("measure")["found"].median()
    yield f"with true accuracies, too (`macro_s0_64`, rank {own['kl']:,.0f})."
    other = large[large["choice"] == "distance (Table 2)"].set_index("value")["rank"]
    yield f"cross-entropy finds {other['cross-entropy']:,.0f} and L2 {other['L2']:,.0f}, though with true"
    yield f" accuracies the tree by L2 finds {own['l2']:.0f}."
    rows = table("searches").query("data == 'cifar10_jpeg-macro'")
    yield f"after 5 epochs it has {span(rows['validation'], '.1f')} % on validation images"


def protocol() -> Iterator[str]:
    how = study.protocol()
    shares = [100 * how.uniform_share, 100 * how.warmup_share]
    shares = of([*shares, 100 - sum(shares)], ".0f")
    yield f"without the network: {how.steps:,} steps, phases of {shares} %, T from"
    yield f" {how.temperature_start}, lambda {how.exploration}, beta {how.beta}, and the best of"
    yield f" {how.final_samples} final draws."
    yield f"seen through mini-batches of {how.batch_size}, and lower at first"
    yield f"by the factor 1 - exp(-t / {how.learning}) at the share t"
    yield f"the last T, {how.temperature_end}, are chosen here"
    yield f"of 3,969, median over {how.seeds} searches"


def supernets() -> Iterator[str]:
    yield f"the supernet of seed 0 ranks the 3,969 networks at Kendall {KENDALL[0]:.2f}."
    yield f"They rank the 3,969 networks at Kendall {of(KENDALL)}."
    (epochs,) = {record["lineage"]["01_pretrain"]["epochs"] for record in RECORDS}
    yield f"supernets that this kit trained for {epochs} epochs on CIFAR-10 (JPEG)"
    first, *others = (record["lineage"]["02_distances"]["images"] for record in RECORDS)
    (images,) = set(others)
    yield f"from {first} images for supernet 0 and from {images} for the others."
    first, *others = (record["lineage"]["01_pretrain"]["scored"] for record in RECORDS)
    (images,) = set(others)
    yield f"were measured on {images} images, which tell fewer networks apart than supernet 0's {first:,};"


def simulated() -> tuple[pd.Series, pd.Series]:
    """By rewards, lambda, bonus and method the found rank, and the share (%) on the best quarter."""
    rows = table("simulate").set_index(["rewards", "exploration", "bonus", "method"]).sort_index()
    return rows["found rank"].str.split().str[0].astype(int), rows["best quarter (%)"]


def near() -> tuple[pd.DataFrame, str, str]:
    """The combinations of readings; how far the four nearest are from the paper's ranks, and the others."""
    rows = readings.nearest(table("readings"))
    four = rows.head(4).index
    assert (four.get_level_values("bonus") == "sqrt").all()
    assert (four.get_level_values("warmup") == "branches").all()
    factor = rows["factor"]
    first, others = (f"{part.min():.1f} to {part.max():.1f}" for part in (factor[:4], factor[4:]))
    return rows, first, others


def nearest_bonus() -> Iterator[str]:
    _, first, others = near()
    yield f"off by a factor of {first}. The others are off by {others}."


def nearest() -> Iterator[str]:
    rows, first, others = near()
    factor = rows["factor"]
    yield f"the {len(rows)} combinations of readings are off the paper's four ranks by factors of"
    yield f" {factor.min():.1f} to {factor.max():.1f}."
    own = factor[tuple(readings.DEFAULTS.values())]
    yield f"phases draw branches alike, {first}; the others have {others}, the defaults of this kit"
    yield f" {own:.1f}."
    every = table("readings")
    changed = readings.same(every)
    (pairs,) = changed["pairs"].unique()
    bonus, start, uniform, refresh = (f"{100 * share:.0f} %" for share in changed["changed"])
    yield f"Of {pairs:,} pairs of cells"
    yield f"by more than 0.05 in {bonus} for the bonus, {start} for the start of C, {uniform} for the uniform"
    yield f" phases and {refresh} for when R is recomputed."
    yield f"(Welch's t test, p below 0.001) it changes in {of(100 * changed['told'], '.0f')} %."
    assert list(changed.index) == ["bonus", "start", "warmup", "refresh"]
    random, macro = every["tree"].str.startswith("random"), every["benchmark"] == "macro"
    told = [readings.same(every[which]).loc["refresh", "told"] for which in (random & macro, ~random & macro)]
    random, others = (100 * share for share in told)
    yield f"({random:.0f} % of pairs on NAS-Bench-Macro, {others:.1f} % on the other trees there"
    assert readings.same(every[~macro]).loc["refresh", "told"] == 0
    macro, pooling = (rows[f"{name}, default"] for name in ("macro", "pooling"))
    yield f"the default tree finds ranks {macro.min():.0f} to {macro.max():.0f}, and on Pooling"
    yield f" {pooling.min():.0f} to {pooling.max():.0f}, where the paper has"
    ranks = (paper.TABLES["table1"][name].loc["MCTS", "average rank"] for name in ("macro", "pooling"))
    yield " " + " and ".join(f"{rank:g}" for rank in ranks)


def trees_searched() -> Iterator[str]:
    rank, share = (values["true", 0.5] for values in simulated())
    cell = {key: f"{rank[key]:,}, {share[key]:.0f} %" for key in rank.index}
    rows = {f", learned tree of supernet {number}": name for number, name in enumerate(LEARNED)}
    rows |= {", default tree": "default", " + Reg, shared table": "regularised"}
    rows |= {" + Reg, equivalent nodes": "regularised, equivalent nodes"}
    rows |= {", tree from the accuracies in supernet 0": "accuracy", ", one-hot encodings, 1/2^l": ONEHOT}
    for said, name in rows.items():
        yield f"| MCTS{said} | {cell['sqrt', name]} | {cell['linear', name]} |"
    names = ["random", "random 1", "random 2"]
    found = [", ".join(map(str, rank[bonus][names])) for bonus in ("sqrt", "linear")]
    shares = [span(share[bonus][names], ".0f") for bonus in ("sqrt", "linear")]
    yield f"random trees | {found[0]}; {shares[0]} % | {found[1]}; {shares[1]} % |"
    names = {"uniform": "uniform", "Boltzmann": "boltzmann", "independent layers": "independent"}
    names |= {"random search (the 50 highest rewards)": "random search"}
    names |= {"regularised evolution (Real et al., 2019)": "regularised evolution"}
    assert all(cell["linear", name] == cell["sqrt", name] for name in names.values())
    yield "; ".join(f"{said} {cell['sqrt', name]}" for said, name in names.items()) + "."


def trees_compared() -> Iterator[str]:
    rank, _ = simulated()
    true, bonuses = rank["true", 0.5], ("sqrt", "linear")
    for other in ("default", ONEHOT):
        assert not any((true[bonus][LEARNED] < true[bonus][other]).any() for bonus in bonuses)
    yield "None of the four finds a better network than the default tree"
    alone = rank["true", 0.0, "sqrt"]
    yield f"the four find ranks {of(alone[LEARNED], 'd')}, the default tree {alone['default']}."
    rewards = [(f"supernet {number}", 0.5) for number in range(SUPERNETS)]
    own = {b: [rank[*key, b, name] for key, name in zip(rewards, LEARNED, strict=True)] for b in bonuses}
    other = {b: [rank[*key, b, "default"] for key in rewards] for b in bonuses}
    yield f"of rank {of(own['sqrt'], ',')} under `sqrt` (on the default tree {of(other['sqrt'], ',')}), and"
    yield f"{of(own['linear'], ',')} under `linear` ({of(other['linear'], ',')}), each supernet with its"
    ahead = np.array([*own.values()]) < np.array([*other.values()])
    yield f"So the learned tree is ahead in {WORDS[ahead.sum()]} of these {WORDS[ahead.size]} cases"


def lambdas() -> Iterator[str]:
    every, limit = table("readings"), rule.RULE
    yield f"up to {limit['sqrt']:g} with the bonus of Eq. 3"
    yield f"and up to {limit['linear']:g} with that of Algorithm 1"
    yield f"exploring costs more than {100 * readings.COST:.0f} % of these draws"
    yield "where 95 % of the fits are"
    grown = readings.exponent(every).loc[list(limit)].to_numpy()
    said = [f"{b:.2f} ({low:.2f} to {high:.2f})".replace("-0.00", "0.00") for b, low, high in grown]
    yield f"its exponent is {said[0]} under Eq. 3 and {said[1]} under Algorithm 1"
    rows = readings.usual(every)
    rows = rows[rows["exploration"].isin(readings.LAMBDAS)].reset_index()
    cells = rows.groupby(["bonus", "benchmark", "tree", "share"])["best_quarter"]
    least = rows.loc[cells.idxmax()].set_index("bonus")["exploration"] == readings.LAMBDAS[0]
    (one, n), (other, _) = ((least[bonus].sum(), len(least[bonus])) for bonus in ("sqrt", "linear"))
    yield f"in {one} of {n} cells under Eq. 3, and in {other} of {n} under Algorithm 1."
    error = readings.error(every)
    for name, row in error.iterrows():
        what = f"{name} (learned, of supernets 1 to 3)" if name == "other trees" else name
        cost = f"{100 * row['cost']:.0f} % on average, {100 * row['worst']:.0f} % at worst"
        yield f"- {what}: {cost}, factor {row['factor']:.1f}"
    much = readings.tested(every).query("cost > 0.1").reset_index().set_index("tree")
    assert set(much["benchmark"]) == {"macro"}
    learned, random = much.loc[much.index.isin(LEARNED), "share"], much.index.str.startswith("random").sum()
    assert set(learned) == {"1/12", "1/3"}
    assert len(much) == len(learned) + random
    yield f"(in all {len(LEARNED) * 2} cells of 980 steps)"
    assert (learned == "1/12").sum() == len(LEARNED) * 2
    yield f"Of {error['cells'].sum()} cells {len(much)} cost more than 10 %: {len(learned)} of learned trees,"
    yield f"and {random} of random trees."
    yield f"by the factor {error.loc['other benchmark', 'factor']:.1f}:"


def kinds_of_trees() -> Iterator[str]:
    found = forests.summary(table("trees"))
    labels = {f"estimates {i}, Ward": f"accuracies in supernet {i}, Ward" for i in range(SUPERNETS)}
    labels |= {"true accuracies, Ward": "true accuracies, Ward: nobody has them before a search"}
    labels |= {ONEHOT: "one-hot encodings, 1/2^l", "default": "default", "kl, ward": "outputs, KL, Ward (34)"}
    labels |= {"hellinger, ward": "outputs, Hellinger, Ward (34 trees)", "l2, ward": "outputs, L2, Ward (34)"}
    labels |= {"sqrt_kl, ward": "outputs, square root of KL, Ward (34)"}
    labels |= {"cross_entropy, ward": "outputs, cross-entropy, Ward (34)"}
    labels |= {name: f"learned tree of supernet {number}" for number, name in enumerate(LEARNED)}
    for label, said in labels.items():
        row = found.loc[("cifar10-macro", label)]
        assert row["trees"] == (34 if "(34" in said else 1)
        cells = [f"{row[f'best_quarter {at}']:.2f} ({row[f'found {at}']:,.1f})" for at in forests.LENGTHS]
        yield f"| {said} | {' | '.join(cells)} |".replace(".0)", ")")
    random = found.loc[[("cifar10-macro", f"random {i}") for i in range(3)]]
    cells = [
        f"{span(random[f'best_quarter {at}'])} ({span(random[f'found {at}'], '.0f')})"
        for at in forests.LENGTHS
    ]
    yield f"| random trees (3) | {' | '.join(cells)} |"
    whole = table("trees")  # without the supernets on textures whose pre-training was cut short
    found = forests.summary(whole[~whole["source"].str.contains("epochs-")])
    labels = {"kl, ward": "KL", "sqrt_kl, ward": "square root of KL", "hellinger, ward": "Hellinger"}
    labels |= {"default": "default tree", "one-hot": "one-hot encodings", ONEHOT: "one-hot encodings, 1/2^l"}
    labels |= {f"random {i}": f"random tree {i}" for i in range(3)}
    for label, said in labels.items():
        rows = [found.loc[(f"{data}-pooling", label)] for data in ("cifar10", "textures", "digits")]
        cells = [f"{row[f'best_quarter {at}']:.2f}" for row in rows for at in forests.LENGTHS]
        yield f"| {said} | {' | '.join(cells)} |"


def macro() -> tuple[pd.DataFrame, pd.DataFrame]:
    """The trees over NAS-Bench-Macro, and those from outputs alone by Ward's criterion."""
    rows = table("trees").query("benchmark == 'cifar10-macro'")
    return rows, rows[(rows["linkage"] == "ward") & ~rows["measure"].isin(forests.MIXED)]


def beaten() -> Iterator[str]:
    every, ward = macro()
    steers = ward.groupby([*forests.TREE[1:], "steps"])["best_quarter"].mean().unstack()
    finds = ward.groupby([*forests.TREE[1:], "steps"])["found"].median().unstack()
    default, onehot = (every[every["source"] == name].groupby("steps") for name in ("default", ONEHOT))
    supernets = WORDS[ward["source"].str.removesuffix("_64").nunique()]
    short, middle, long = (steers > default["best_quarter"].mean()).sum()
    yield f"of {len(steers)} trees by Ward's criterion, from outputs of {supernets} supernets, {short} steer"
    yield f"searches of 980 steps better ({middle} at 3,920 steps, {long} at 11,760)"
    short, middle, long = (finds < default["found"].median()).sum()
    yield f"only {short} find a better network ({middle}, {long})"
    short, middle, long = (steers > onehot["best_quarter"].mean()).sum()
    yield f"{WORDS[short]} of the {len(steers)} steer the short searches better ({middle} at 3,920 steps,"
    yield f" {long} at 11,760)."
    best = steers[980].nlargest(2)
    assert set(best.index) == {("macro_w16", measure, "ward", 512.0) for measure in ("hellinger", "sqrt_kl")}
    ranks = of(sorted(finds.loc[best.index, 980]), "g")
    yield f"on 512 images of a supernet of twice the width: {best.mean():.2f} with ranks {ranks},"
    own = steers[980].xs("macro_w16").xs(256.0, level="images")
    yield f"on 256 images they have {of(own[[('sqrt_kl', 'ward'), ('hellinger', 'ward')]])}."


def what_it_takes() -> Iterator[str]:
    every, ward = (rows[rows["steps"] == 980] for rows in macro())
    begun = every[~every["measure"].isin(forests.MIXED)]
    most = begun[begun["images"] == 512].groupby(["linkage", "measure"])["best_quarter"].mean()
    yield f"with {span(most['average'])} of the third phase at 980 steps on 512 images"
    yield f"complete linkage has {span(most['complete'])}, Ward's {span(most['ward'])}."
    images, source = (ward.groupby(key)["best_quarter"].mean() for key in ("images", "source"))
    hellinger = ward[ward["measure"] == "hellinger"].groupby("images")["best_quarter"].mean()
    yield f"(64 to 512 give {of(images)}, all distances; by Hellinger distance {of(hellinger)}),"
    yield f"Supernets 0 (trained anew) to 3 give {of(source[more.LONG])}"
    yield f"three that were trained for 20, 10 and 10 epochs {of(source[more.SHORT])}."
    yield f"Twice the width, at 20 epochs, gives {source['macro_w16']:.2f}."
    mixed, alone = (
        rows[(rows["images"] == 512) & rows["source"].isin([*more.LONG, "macro_w16"])].groupby("measure")
        for rows in (every, ward)
    )
    mixed, alone = mixed["best_quarter"].mean(), alone["best_quarter"].mean()
    yield f"{of(mixed[list(forests.MIXED)])} on the five supernets that have both, the outputs alone"
    onehot = every.loc[every["source"] == ONEHOT, "best_quarter"].mean()
    yield f" {of(alone[list(forests.MIXED.values())])}, one-hot {onehot:.2f}."
    named = begun.set_index("source").loc[[f"estimates {number}, Ward" for number in range(SUPERNETS)]]
    yield f"{of(named.groupby(level=0)['best_quarter'].mean())} for supernets 0 to 3."
    zero, *rest = named.groupby(level=0)["depth"].first()
    yield f"these trees are {min(rest)} to {max(rest)} levels deep, supernet 0's {zero}."


def outlier() -> Iterator[str]:
    every, ward = macro()
    first, kl = every[every["source"] == "learned"].iloc[0], ward[ward["measure"] == "kl"]
    yield f"the best group lies {first['group_depth']} choices deep"
    yield f"siblings alike reach the best quarter in {100 * first['blind']:.0f} % of cases."
    trees = len(kl.drop_duplicates(forests.TREE))
    yield f"Of the {trees} trees by KL and Ward's criterion"
    blind = span(kl["blind"], ".0f", by=100)
    yield f"(best group {span(kl['group_depth'], 'd')} deep, {blind} % of such draws)"
    short = ward[ward["steps"] == 980].groupby(["measure", "source", "images"])
    share = short["best_quarter"].mean()
    failed, long = share < 0.1, share["kl"].index.get_level_values("source").str[:8].isin(more.LONG)
    yield f"{WORDS[failed['kl'].sum()]} send less than 0.10 of the third phase to the best quarter at 980"
    yield f"{WORDS[failed['kl'][long].sum()]} of the {long.sum()} from supernets of 40 epochs"
    yield f"{WORDS[failed['kl'][~long].sum()]} of the {(~long).sum()} from the others."
    source = failed["kl"].index.get_level_values("source").str[:8]
    gave = failed["kl"].groupby(source).any()
    long, others = gave[more.LONG], gave.drop(more.LONG)
    yield f"{WORDS[long.sum()].capitalize()} of the {WORDS[len(long)]} supernets of 40 epochs gave one, and"
    yield f" {WORDS[others.sum()]} of the {WORDS[len(others)]} others"
    same = share["kl"].loc[failed["kl"][failed["kl"]].index.get_level_values("source").str[:8].unique()]
    yield f"On other numbers of images the same supernets have up to {same.max():.2f}."
    one, two = WORDS[failed["sqrt_kl"].sum()], WORDS[failed["cross_entropy"].sum()]
    assert failed["sqrt_kl"].sum() == failed["l2"].sum()
    yield f"The square root of KL and L2 gave {one} such tree each, cross-entropy {two},"
    yield f"Hellinger distance none ({share['hellinger'].min():.2f} or more)."


def untrained() -> Iterator[str]:
    """Trees on textures by the length of the pre-training."""
    rows = table("trees").query("benchmark == 'textures-pooling' and linkage == 'ward' and images == 256")
    rows = rows[rows["measure"].isin(["kl", "hellinger"]) & (rows["steps"] == 300)]
    epochs = rows["source"].str.extract(r"epochs-(\d+)/")[0].fillna("12").astype(int)
    share = rows.groupby(["measure", epochs])["best_quarter"].mean()
    yield f"By Ward's criterion and {rows['images'].unique().item():.0f} images they have"
    yield f"at 300 steps {of(share['kl'])} by KL after {of(share['kl'].index, 'd')} epochs, and"
    yield f"{of(share['hellinger'])} by Hellinger distance"


def worth() -> Iterator[str]:
    told = forests.correlations(table("trees")).groupby("benchmark").median()
    here, pooling = told.loc["cifar10-macro"], told.drop("cifar10-macro")
    trees = len(macro()[0].drop_duplicates(forests.PROPERTIES))
    yield f"found rank is {here['group_depth']:.2f} on NAS-Bench-Macro, over {trees} different trees, and"
    yield f" {span(pooling['group_depth'])} on Pooling; that of the second is {here['blind']:.2f}, and"
    low, high = pooling.min(), pooling.max()
    yield f" {high['blind']:.2f} to {low['blind']:.2f} (medians over bonuses"
    yield f"less: {here['early_variance']:.2f} on NAS-Bench-Macro, and"
    yield f" {high['early_variance']:.2f} to {low['early_variance']:.2f} on Pooling."


def small_p() -> Iterator[str]:
    p = table("table1")["p"]
    yield f"do the {WORDS[(p == p.min()).sum()]} values of {p.min()} in the first figure survive?"


def without_bonus() -> Iterator[str]:
    rank = simulated()[0]["true", 0.0, "sqrt"]
    found = of([rank[tree] for tree in LEARNED], "d")
    yield f"the four find ranks {found}, the default tree {rank['default']}."


def first_branch() -> Iterator[str]:
    subject = study.setting()
    told = study.blind(subject.truth, subject.forest)["variance explained"]
    without = told.drop([*LEARNED, "accuracy"]).max()
    yield f"({span(told[LEARNED])}) than that of any tree made without a network ({without:.2f} at most;"


def mapped() -> Iterator[str]:
    every = table("readings")
    yield f"median of {of(sorted(every['seeds'].unique(), reverse=True), 'd').replace('and', 'or')} seeds."
    rows = readings.usual(every)
    rows = rows[rows["exploration"].isin(readings.LAMBDAS)]
    low = rows["exploration"] <= rows["bonus"].map({"sqrt": 0.1, "linear": 0.5})
    macro = rows[(rows["benchmark"] == "macro") & rows["tree"].isin(LEARNED)]
    little = macro[low[macro.index]]
    for share, trees in {"1/12": LEARNED[3:], "1": LEARNED}.items():
        worst = little[(little["share"] == share) & little["tree"].isin(trees)]["found"].max()
        up_to = "$\\lambda = 0.1$ under Eq. 3, and up to 0.5 under Algorithm 1"
        yield f"one of the {worst:.0f} best up to {up_to}"
    paper = macro[(macro["share"] == "1") & (macro["bonus"] == "sqrt") & (macro["exploration"] == 0.5)]
    found = paper.set_index("tree")["found"][LEARNED]
    yield f"At 0.5 under Eq. 3 they find ranks {of(list(found), ',.0f')} ({paper['seeds'].max()} seeds;"
    yield f" the figures above have {NOTEBOOKS['05_ablations'].defaults()['simulated_seeds']})."
    layers = rows[rows["tree"].isin(("default", ONEHOT))]
    worst = layers.query("benchmark == 'macro'")["found"].max()
    yield f"(default, and one-hot with $1/2^l$) find one of the {worst:.0f} best in all of these."
    worst = rows.query("benchmark == 'pooling' and tree == 'learned'")["found"].max()
    yield f"The one learned tree here always finds one of the {WORDS[int(worst)]} best."
    bad = layers.query("benchmark == 'pooling'").groupby(["bonus", "share", "exploration"])["found"].min() > 9
    least = bad[bad].reset_index("exploration").groupby(level=[0, 1])["exploration"].min()
    assert least["sqrt", "1/12"] == least["sqrt", "1/3"]
    assert list(least["linear"].index) == ["1/12"]
    yield f"under Eq. 3 at {least['sqrt', '1/3']:g} in searches shorter than the paper's and at"
    yield f" {least['sqrt', '1']:g} in all, under Algorithm 1 at {least['linear', '1/12']:g} in the shortest."


STUDY = (kinds_of_trees, beaten, what_it_takes, outlier, untrained, worth)
FILES = {
    "README.md": {
        "notebooks/04_mcts.ipynb": (example,),
        "docs/results/table1.csv": (methods,),
        "docs/results/searches.csv": (corrected,),
        "docs/results/evidence.csv": (on_images,),
        "docs/results/cifar10_jpeg-pooling.csv": (alone,),
    },
    "docs/results.md": {
        "docs/results/table1.csv": (chance,),
        "docs/results/searches.csv": (corrected,),
        "docs/results/choices.csv": (choices,),
        "hnas_kit/runs/params.py": (protocol,),
        "hnas_kit/benchmarks/tables/macro-tree.json": (supernets,),
        "docs/results/simulate.csv": (trees_searched, trees_compared),
        "docs/results/readings.csv": (lambdas, nearest),
        "docs/results/trees.csv": STUDY,
        "docs/results/beyond.csv": (more.ranks, more.prior, more.relearned),
        "docs/results/beyond_images.csv": (more.on_images,),
        "docs/results/evidence_beyond.csv": (more.on_cifar10,),
        "hnas_kit/studies/beyond.py": (more.settings, more.costs),
    },
    "docs/choosing.md": {
        "docs/results/simulate.csv": (more.choosing_sampler,),
        "docs/results/evidence.csv": (choosing_tree_on_images,),
        "docs/results/trees.csv": (more.choosing_tree,),
        "docs/results/readings.csv": (more.choosing_lambda,),
        "docs/results/beyond.csv": (more.choosing_prior,),
        "docs/results/beyond_images.csv": (more.choosing_on_images,),
        "hnas_kit/studies/forests.py": (more.choosing_settings,),
    },
    "notebooks/05_ablations.ipynb": {
        "docs/results/table1.csv": (small_p,),
        "docs/results/simulate.csv": (without_bonus,),
        "hnas_kit/benchmarks/tables/macro-tree.npz": (first_branch,),
        "docs/results/readings.csv": (mapped, nearest_bonus),
        "docs/results/beyond.csv": (more.in_the_notebook,),
        "docs/results/beyond_images.csv": (more.images_in_the_notebook,),
    },
}
