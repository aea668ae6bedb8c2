"""What the results and choosing.md say of what goes beyond the paper, computed from the committed tables."""

from __future__ import annotations

from collections.abc import Iterator
from functools import cache
from pathlib import Path

import numpy as np
import pandas as pd

from hnas_kit import benchmarks
from hnas_kit.names import MEASURES
from hnas_kit.runs import profiles, provided
from hnas_kit.runs.command_params import Simulate
from hnas_kit.samplers import relearning
from hnas_kit.studies import beyond, forests, readings, rule, study
from hnas_kit.training import Schedule

# of trees.csv: supernets of NAS-Bench-Macro that were trained for 40 epochs, and those for 20 and 10
LONG, SHORT = ["macro_s0", "macro_s4", "macro_s5", "macro_s6"], ["macro_s1", "macro_s2", "macro_s3"]
RESULTS = Path(__file__).resolve().parents[1] / "docs" / "results"


@cache
def table(name: str = "beyond") -> pd.DataFrame:
    return pd.read_csv(RESULTS / f"{name}.csv")


def changes(tree: str, **where: object) -> pd.DataFrame:
    """Cells of NAS-Bench-Macro whose tree's name begins so, without the prior and with it (``_with``)."""
    rows = table()[(table()["benchmark"] == "macro") & table()["tree"].str.startswith(tree)]
    for name, value in where.items():
        rows = rows[rows[name] == value]
    keys = [key for key in beyond.KEYS if key not in ("prior", "growth")]
    one, other = (
        rows[rows["prior"] == prior].set_index(keys).sort_index() for prior in ("branches", "leaves")
    )
    return one.join(other, suffixes=("", "_with"))


def pair(wide: pd.DataFrame, benchmark: str, tree: str, bonus: str, share: str) -> list[float]:
    """Without the prior and with it."""
    return [wide.loc[(benchmark, tree), (bonus, share, prior)] for prior in ("branches", "leaves")]


def counts(both: pd.DataFrame) -> tuple[int, int, int]:
    """In how many cells what is found is better with the prior, worse, and of how many."""
    change = both["found_with"] - both["found"]
    return int((change < 0).sum()), int((change > 0).sum()), len(change)


def ranks() -> Iterator[str]:
    for exploration in (beyond.PAPERS, 0.0):
        wide = beyond.summary(table(), exploration).loc["macro"]
        columns = [(bonus, share) for bonus in ("sqrt", "linear") for share in beyond.SHARES]
        for label, row in wide.iterrows():
            pairs = [[row[*column, prior] for prior in ("branches", "leaves")] for column in columns]
            cells = [" → ".join(f"{value:,.0f}" for value in pair) for pair in pairs]
            yield f"| {label} | {' | '.join(cells)} |"
    for (benchmark, bonus, share), row in beyond.gained(table()).iterrows():
        said = f"{row['better']:.0f}, {row['worse']:.0f} of {row['cells']:.0f}; {row['ratio']:.2f}"
        yield f"| {benchmark} | {bonus} | {share} | {said}; {row['best quarter']:+.2f} |"
    (seeds,) = table()["seeds"].unique()
    yield f"all of the paper's length, {seeds} seeds a cell"
    limit = rule.RULE
    yield f"Lambda by the rule: {limit['sqrt']:g} under Eq. 3 and {limit['linear']:g} under Algorithm 1:"


def settings() -> Iterator[str]:
    usual, steps = Simulate.defaults(), [round(11_760 * beyond.SHARES[share]) for share in beyond.SHARES]
    yield f"after each {usual['relearn_every']:g} of the third phase"
    yield "are (1 - w) Z + w D, where"
    yield "w = 1 - exp(-t / growth) at"
    yield f"`growth` is {beyond.GROWTHS[0]:g} or {beyond.GROWTHS[1]:g}; five such"
    assert usual["imitated"] == 5
    yield f"The paper's lambda, {beyond.PAPERS}:"
    first, *others = (f"{count:,}" for count in steps)
    for bonus, unit in (("Eq. 3", " steps"), ("Algorithm 1", "")):
        yield f"{bonus}, {first}{unit} | {' | '.join(others)} |"
    yield f"{steps[1]:,} steps under Eq. 3"
    yield f"At {first} steps"
    yield f"T = {usual['temperature_start']:g} outweigh any number of networks, and at {first} steps C,"
    assert (usual["start"], usual["batch_size"]) == ("one", 256)
    yield "which starts at 1, does the same."
    yield "are still close to 1, so"


def relearning_on_macro() -> tuple[dict, float, float]:
    """Supernet 0's record, the seconds of its 02 and 03, and the share of a search that twice that is."""
    record, rows = benchmarks.supernet(0).record, table("searches")
    seconds = sum(record["seconds"][name] for name in ("02_distances", "03_tree"))
    epochs = int(profiles.load_profile(provided("params/macro_cpu"))["04_mcts"]["epochs"])
    search = epochs / 5 * rows.loc[rows["data"] == "cifar10_jpeg-macro", "seconds"].mean()
    return record, seconds, 2 * seconds / search


def costs() -> Iterator[str]:
    spent = table("searches").groupby("data")["relearning_share"]
    mean, most = spent.mean(), spent.max()
    yield f"took {mean['textures']:.1f} % of a search's time on textures ({most['textures']:.1f} % at most)"
    yield f"and {mean['digits']:.1f} % on digits ({most['digits']:.1f} %)"
    record, seconds, share = relearning_on_macro()
    images = record["lineage"]["02_distances"]["images"]
    yield f"On NAS-Bench-Macro 02 and 03 took {seconds:.0f} s for supernet 0 (3,969"
    yield f" networks, {images} images;"
    yield f"twice that is {100 * share:.0f} % of a search of `macro_cpu`,"
    yield " 20 epochs, if each takes as long as those of 5"


def better(data: str, method: str) -> str:
    """By how many ranks, with the interval."""
    row = table("beyond_images").set_index(["data", "method"]).loc[(data, method)]
    return f"{row['better']} ranks ({row['low']} to {row['high']})"


def on_images() -> Iterator[str]:
    share = table("beyond_images").set_index(["data", "method"])["best quarter"]["textures"]
    yield f"On textures the prior makes the default tree better by {better('textures', 'MCTS, leaves')}:"
    yield f"{share['MCTS, leaves']} % of the third phase instead of {share['MCTS']} % go to the best quarter."
    learned = "MCTS + Learned, leaves"
    yield f"On the learned tree it is {better('textures', learned)}"
    yield f"on digits {better('digits', 'MCTS, leaves')} and {better('digits', learned)}."
    for name in ("MCTS, relearned tree", "MCTS, relearned tree, leaves"):
        yield f"{better('textures', name)} on textures and {better('digits', name)} on digits"


def on_cifar10() -> Iterator[str]:
    (seed,) = table("evidence_beyond")["seed"].unique()
    ranks = table("evidence_beyond").set_index("label")["rank"]
    without = table("evidence").query("seed == @seed").set_index("label")["rank"]
    learned, default = (ranks[f"{label}, leaves"] for label in ("MCTS + Learned", "MCTS"))
    yield f"seed {seed} alone has run"
    yield f"the learned tree finds rank {learned:.0f} (without it {without['MCTS + Learned']:.0f})"
    yield f"and the default tree {default:.0f} ({without['MCTS']:.0f})"
    anew = "MCTS, relearned tree"
    yield f"learned anew finds rank {ranks[anew]:.0f}, with the prior {ranks[f'{anew}, leaves']:.0f}."


def choosing_on_images() -> Iterator[str]:
    least = table("searches").groupby("data")["relearning_share"].mean().min()
    yield f"They cost {least:.0f} to {100 * relearning_on_macro()[2]:.0f} % of a search."
    yield f"by {better('textures', 'MCTS, leaves')} on textures"


def images_in_the_notebook() -> Iterator[str]:
    yield f"by {better('textures', 'MCTS, leaves')}"
    share = table("searches").groupby("data")["relearning_share"].mean()
    yield f"took {share['digits']:.0f} to {share['textures']:.0f} % of a search's time"


def choosing_settings() -> Iterator[str]:
    usual = Simulate.defaults()
    yield f"mini-batches of {usual['batch_size']} images"
    yield "Anywhere between 36 and 3,969 networks"
    yield "(Pooling, 36 networks; NAS-Bench-Macro, 3,969)"
    yield f"median over {forests.SEEDS} to {beyond.SEEDS} seeds"
    yield f"(`trees.csv`, {forests.STEPS['macro'][0]} steps)"
    yield f"fails at {forests.STEPS['macro'][0]} steps whatever lambda is"
    yield f"with the paper's lambda {usual['exploration']} it"
    yield f"(`growth` {beyond.GROWTHS[0]:g})"


def prior() -> Iterator[str]:
    learned = changes("learned")
    more = learned["best_quarter_with"] - learned["best_quarter"]
    means = [more.xs(share, level="share").mean() for share in beyond.SHARES]
    yield "in {} of {} cells, by {:.2f}, {:.2f} and {:.2f} at".format((more > 0).sum(), len(more), *means)
    (a, b, n), (c, d, _), (e, f, _) = (counts(changes("learned", share=share)) for share in beyond.SHARES)
    yield f"what is found is better in {a} of {n} cells and worse in {b}, at 3,920 in {c} and {d},"
    yield f"at the paper's length in {e} and {f}."
    default, onehot, random = (counts(changes(name)) for name in ("default", "one-hot", "random"))
    yield f"it is better in {default[0]} of {default[2]} cells and worse in {default[1]}, on one-hot"
    assert onehot[0] == 0
    yield f" encodings with 1/2^l never better and worse in {onehot[1]} of {onehot[2]}, on random"
    yield f"trees better in {random[0]} of {random[2]} and worse in {random[1]}."
    quarter, tree = beyond.summary(table(), 0.0, "best_quarter"), ("macro", "learned")
    (a, b), (c, d) = pair(quarter, *tree, "linear", "1/12"), pair(quarter, *tree, "sqrt", "1/3")
    e, f = pair(beyond.summary(table(), 0.0), *tree, "sqrt", "1/3")
    yield f"{b:.2f} instead of {a:.2f} at 980 steps under Algorithm 1, and at"
    yield f"{d:.2f} instead of {c:.2f}, with rank {f:.0f} instead of {e:,.0f}."
    a, b = pair(beyond.summary(table()), "pooling", "default", "sqrt", "1/3")
    yield f"a third of the length rank {b:.0f} instead of {a:.0f}."


def relearned() -> Iterator[str]:
    rows, keys = table()[table()["benchmark"] == "macro"], [*beyond.CELL, "tree"]
    kept, found = rows[rows["growth"].isna()].set_index(keys), []
    schedule = Schedule(11_760)
    shares = [step / schedule.steps for step in relearning.steps(schedule, 0.34)]
    for growth in beyond.GROWTHS:
        own = rows[rows["growth"] == growth]
        own = own.assign(tree=own["tree"].str.replace("relearned", "learned")).set_index(keys)
        both = own.join(kept, suffixes=("", "_kept"))
        ratio = np.exp(np.log(both["found"] / both["found_kept"]).median())
        change = both["found"] - both["found_kept"]
        noise = [round(100 * np.exp(-share / growth)) for share in shares]
        found.append(((change < 0).sum(), (change > 0).sum(), len(change), ratio, noise))
    (a, b, n, ratio, noise), (c, d, _, other, more) = found
    yield f"with growth 0.3, when noise is {noise[0]} and {noise[1]} % of the distances"
    yield f"better in {a} of {n} cells on NAS-Bench-Macro and worse in {b}, the found rank {ratio:.2f} times"
    yield f"with growth 1, {more[0]} and {more[1]} % noise, better in {c}, worse in {d}, {other:.2f} times."
    own = rows[(rows["growth"] == 1) & (rows["share"] == "1/12")]
    own = own.assign(tree=own["tree"].str.replace("relearned", "learned")).set_index(keys)
    both = own.join(kept, suffixes=("_new", ""))
    better = (both["found_new"] < both["found"]).sum()
    yield f"At 980 steps with growth 1 they find better ones in {better} of {len(both)} cells"


def choosing_prior() -> Iterator[str]:
    short, long = (counts(changes("learned", share=share)) for share in ("1/12", "1"))
    yield f"at 980 steps it finds better networks in {short[0]} of {short[2]} cells and worse in {short[1]}"
    yield f"At the paper's length it is {long[0]} and {long[1]}."
    yield "everywhere ({} and {} of {})".format(*counts(changes("one-hot")))
    a, b = pair(beyond.summary(table()), "pooling", "default", "sqrt", "1/3")
    yield f"under Eq. 3: rank {b:.0f} instead of {a:.0f} at a third"


def choosing_sampler() -> Iterator[str]:
    methods = table("simulate")
    usual = methods[(methods["exploration"] == 0.5) & (methods["rewards"] == "true")]
    usual = usual.assign(rank=usual["found rank"].str.split().str[0]).set_index(["bonus", "method"])["rank"]
    rank = usual.loc["linear"]
    yield f"regularised tree search (rank {rank['regularised']}), one-hot encodings"
    yield f" with 1/2^l ({rank[study.ONEHOT]}) and the"
    yield f"default tree ({rank['default']}) are ahead; independent layers find {rank['independent']},"
    assert rank["random search"] == rank["regularised evolution"]
    yield f"evolution and random search {rank['random search']}, Boltzmann {rank['boltzmann']},"
    yield f"uniform draws {rank['uniform']}"
    yield f"with Eq. 3 the default tree finds {usual['sqrt', 'default']}."


def choosing_tree() -> Iterator[str]:
    short = forests.summary(table("trees")).loc["cifar10-macro"]["best_quarter short"]
    estimates = [short[f"estimates {i}, Ward"] for i in range(len(study.LEARNED))]
    outputs = [short[f"{measure}, ward"] for measure in MEASURES]
    yield f"a supernet's accuracies steers {min(estimates):.2f} to {max(estimates):.2f} of the third phase"
    yield f"one-hot encodings with 1/2^l {short[study.ONEHOT]:.2f},"
    yield f"the default tree {short['default']:.2f},"
    yield f"Ward's criterion on outputs {min(outputs):.2f} to {max(outputs):.2f}."
    rows = table("trees").query("benchmark == 'cifar10-macro' and linkage == 'ward' and steps == 980")
    source = rows.groupby("source")["best_quarter"].mean()
    assert source[SHORT].mean() > source[LONG].mean()
    yield "Supernets that were trained for 10 or 20 epochs gave better trees than those of 40"
    share = rows.groupby(["measure", "source", "images"])["best_quarter"].mean()
    failed, count = (share < 0.1).groupby("measure").sum(), len(share["kl"])
    assert not failed["hellinger"]
    yield f"steers short searches better than `kl`, and none of its {count} trees fails there, of `kl`'s"
    yield f" {failed['kl']} do."


def choosing_lambda() -> Iterator[str]:
    yield f"up to {rule.RULE['sqrt']:g} under Eq. 3 and {rule.RULE['linear']:g} under Algorithm 1, whatever"
    limit = readings.tested(table("readings"))
    apart = limit["best quarter"].unstack("bonus").diff(axis=1)["sqrt"].abs()
    most = 0.05
    far = apart[apart >= most]
    ((*_, tree),) = far.index
    assert tree == "learned"
    yield f"differ by less than {most} of the draws on the best quarter in all of {len(apart)} cells but one"
    yield f" ({far.iloc[0]:.2f}, a learned tree)"
    small = readings.usual(table("readings")).query(f"exploration == {readings.LAMBDAS[0]}")
    change = small.set_index(readings.CELLS)["found"].reindex(limit.index) - limit["found"]
    learned = change.index.get_level_values("tree").str.startswith("learned")
    one, other = ((sum(part < 0), sum(part > 0), len(part)) for part in (change[learned], change[~learned]))
    yield f"On learned trees {readings.LAMBDAS[0]:g} finds better networks in {one[0]} of {one[2]} cells"
    yield f" and worse ones in {one[1]}, on"
    yield f" other trees in {other[0]} and {other[1]} of {other[2]}"
    rows = readings.usual(table("readings")).query("benchmark == 'pooling' and bonus == 'linear'")
    worst = rows.loc[rows["exploration"] <= 0.5, "found"].max()
    yield f"On Pooling every tree finds one of the {worst:.0f} best under Algorithm 1 with lambda up to 0.5,"
    yield f"from {rows['steps'].min():,} steps on"
    short = table("trees").query("benchmark == 'cifar10-pooling' and source == 'default' and steps == 300")
    assert (short["found"] > worst).all()


def in_the_notebook() -> Iterator[str]:
    (seeds,) = table()["seeds"].unique()
    better, worse, cells = counts(changes("learned", exploration=beyond.PAPERS))
    yield f"median of {seeds} seeds, at $\\lambda = {beyond.PAPERS}$."
    yield f"finds better networks in {better} of these {cells} cells and worse ones in {worse}."
    yield f"a bonus of some tenths over $T = {Simulate.defaults()['temperature_start']:g}$ outweighs"
