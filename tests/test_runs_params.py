"""The parameters of the notebooks: defaults, profiles, and one line for each mistake."""

from __future__ import annotations

import ast
import itertools
from pathlib import Path

import nbformat
import pytest

from hnas_kit import trees
from hnas_kit.errors import HnasError
from hnas_kit.places import READS
from hnas_kit.rewards import REWARDS
from hnas_kit.runs import params, profiles
from hnas_kit.runs.params import NOTEBOOKS, result_params
from hnas_kit.samplers import COMMUNICATIONS, METHODS, READINGS, SAMPLERS, TREES, Method
from hnas_kit.spaces import make_space
from hnas_kit.training import Schedule

ROOT = Path(__file__).resolve().parents[1]
QUICK = {name: cls.defaults() for name, cls in NOTEBOOKS.items()}


def test_the_notebooks_are_in_the_order_in_which_they_read_one_another():
    assert list(READS) == list(NOTEBOOKS)
    for number, reads in enumerate(READS.values()):
        assert set(reads) <= set(list(READS)[:number])


def mistake(notebook: str, **changes: object) -> str:
    """The error of the quick parameters with changes; it is one line that begins with where it was."""
    with pytest.raises(HnasError) as caught:
        NOTEBOOKS[notebook].checked(QUICK[notebook] | changes, "here")
    line = str(caught.value)
    assert line.startswith("here: ")
    assert "\n" not in line
    return line.removeprefix("here: ")


@pytest.mark.parametrize("notebook", NOTEBOOKS)
def test_a_parameter_is_declared_with_a_default_that_is_allowed_and_its_meaning(notebook):
    cls = NOTEBOOKS[notebook]
    assert (
        cls.checked({}, "").model_dump() == cls.checked(QUICK[notebook], "").model_dump() == QUICK[notebook]
    )
    assert all(field.description for field in cls.model_fields.values())


@pytest.mark.parametrize("notebook", NOTEBOOKS)
def test_a_notebooks_cell_has_a_handful_of_them_as_they_are_declared(notebook):
    cells = nbformat.read(ROOT / "notebooks" / f"{notebook}.ipynb", as_version=4).cells
    (cell,) = [c for c in cells if "parameters" in c.metadata.get("tags", [])]
    head, *lines = cell.source.splitlines()
    assert head == f"# Parameters; all others and what they may be: hnas parameters {notebook[:2]}"
    assert 3 <= len(lines) <= 9
    fields = NOTEBOOKS[notebook].model_fields
    for line in lines:
        (assigned,) = ast.parse(line).body
        name = assigned.targets[0].id
        assert ast.literal_eval(assigned.value) == fields[name].default
        assert line.partition("  # ")[2] == fields[name].description


def test_equal_parameters_have_one_hash_lists_or_not():
    one, same, other = (NOTEBOOKS["04_mcts"].checked({"seed": seed}, "") for seed in (1, 1, 2))
    assert len({one, same, other}) == 2


def test_a_name_counts_from_when_it_is_registered(monkeypatch):
    alone = {"sampler": "mine", "tree": "", "compare": []}
    assert mistake("04_mcts", **alone).startswith("sampler is 'mine': Input should be 'uniform', ")
    monkeypatch.setitem(SAMPLERS, "mine", SAMPLERS["boltzmann"])
    assert search(**alone, beta=0.5).unused(["beta"]) == ""
    assert mistake("04_mcts", sampler="min").endswith("'mcts', 'mcts_reg' or 'mine'")
    assert "compare[0].sampler is 'min'" in mistake("04_mcts", compare=[{"label": "x", "sampler": "min"}])


def test_the_profile_of_the_paper_has_the_papers_values():
    """Appendix B.1; KL is the best measure of Table 2; the default width is that of ResNet20."""
    profile = profiles.load_profile(ROOT / "params" / "pooling_cifar10")
    names = ("01_pretrain", "02_distances", "03_tree", "04_mcts")
    pretrain, distances, tree, search = (QUICK[name] | profile[name] for name in names)
    assert pretrain["space"] == "pooling"
    assert pretrain["dataset"] == "cifar10"
    assert pretrain["width"] == 16
    assert [pretrain[k] for k in ("epochs", "batch_size", "lr", "weight_decay")] == [300, 512, 0.1, 1e-3]
    assert distances["measure"] == "kl"
    assert tree["linkage"] == "ward"
    assert [search[k] for k in ("epochs", "batch_size", "lr")] == [400, 256, 0.05]
    assert (search["temperature_start"], search["temperature_end"]) == (0.02, 0.0025)
    assert (search["beta"], search["exploration"]) == (0.95, 0.5)
    shares = search["uniform_share"], search["warmup_share"]
    assert [*shares, 1 - sum(shares)] == pytest.approx([0.40, 0.25, 0.35])
    assert search["final"] == "path"
    assert (search["sampler"], search["tree"], search["communication"]) == ("mcts", "learned", "")
    assert search["reward"] == "absolute validation accuracy"
    assert distances["decay"] == 1.0


def test_the_profile_of_imagenet_has_the_papers_values():
    """Sec. 5.4 and Appendix B.1; batch, lr and weight decay are those of MCT-NAS, which the paper follows."""
    (values,) = profiles.load_profile(ROOT / "params" / "imagenet").values()
    p = NOTEBOOKS["06_imagenet"].checked(values, "")
    assert (p.low, p.high) == (0.99 * 280, 280)
    assert (p.width, p.image_size, p.pool, p.epochs, p.final_samples) == (32, 224, 5000, 100, 50)
    assert (p.batch_size, p.lr, p.weight_decay, p.precision) == (1024, 0.12, 4e-5, "bfloat16")
    assert (p.beta, p.exploration, p.measure) == (0.95, 0.5, "kl")
    assert [p.uniform_share, p.warmup_share] == [0.40, 0.25]
    assert p.methods == ["learned", "regularised", "boltzmann", "uniform"]
    assert p.tested == 0


def test_the_quick_window_and_methods_are_the_papers():
    paper = QUICK["06_imagenet"] | profiles.load_profile(ROOT / "params" / "imagenet")["06_imagenet"]
    for name in ("low", "high", "methods", "final_samples", "measure", "linkage", "coefficient"):
        assert QUICK["06_imagenet"][name] == paper[name]


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"low": 281.0}, "low is 281.0 and high 280.0; low must not be above high"),
        ({"methods": ["uniform", "uniform"]}, "methods must not repeat a method"),
        ({"methods": []}, "methods is []: List should have at least 1 item after validation, not 0"),
        (
            {"methods": ["mixture"]},
            "methods[0] is 'mixture': Input should be 'learned', 'boltzmann', 'uniform', 'regularised', "
            "'default', 'independent' or 'relearned'",
        ),
        (
            {"uniform_share": 0.7},
            "uniform_share + warmup_share must be below 1, to leave steps for the search",
        ),
    ],
)
def test_a_window_that_makes_no_sense_is_refused(changes, said):
    assert mistake("06_imagenet", **changes) == said


@pytest.mark.parametrize(
    ("notebook", "name", "value", "allowed"),
    [
        ("06_imagenet", "pool", 1, "greater than or equal to 2"),
        ("06_imagenet", "low", 0, "greater than 0"),
        ("06_imagenet", "measure", "onehot", "'kl', 'sqrt_kl', 'hellinger', 'l2' or 'cross_entropy'"),
        ("01_pretrain", "epochs", "3", "a valid integer"),
        ("01_pretrain", "epochs", 3.0, "a valid integer"),
        ("01_pretrain", "epochs", True, "a valid integer"),
        ("01_pretrain", "epochs", -1, "greater than or equal to 0"),
        ("04_mcts", "epochs", 0, "greater than or equal to 1"),
        ("01_pretrain", "lr", "1e-3", "a valid number"),
        ("01_pretrain", "lr", True, "a valid number"),
        ("01_pretrain", "lr", 0, "greater than 0"),
        ("01_pretrain", "lr", float("inf"), "a finite number"),
        ("01_pretrain", "lr", float("nan"), "a finite number"),
        ("01_pretrain", "weight_decay", -0.1, "greater than or equal to 0"),
        ("01_pretrain", "momentum", 1.0, "less than 1"),
        ("01_pretrain", "seed", -1, "greater than or equal to 0"),
        ("01_pretrain", "seed", 2**32, "less than 4294967296"),
        ("01_pretrain", "device", "gpu", "'auto', 'cpu', 'cuda' or 'mps'"),
        ("01_pretrain", "precision", "float64", "'float32', 'bfloat16' or 'float16'"),
        ("01_pretrain", "space", "poling", "'pooling', 'macro' or 'mobile'"),
        ("01_pretrain", "dataset", None, "a valid string"),
        ("01_pretrain", "image_size", 7, "at least 8, or 0 for the size that the images have"),
        ("01_pretrain", "image_size", -1, "greater than or equal to 0"),
        ("02_distances", "images", 0, "greater than or equal to 1"),
        (
            "02_distances",
            "measure",
            "l1",
            "'kl', 'sqrt_kl', 'hellinger', 'l2', 'cross_entropy', 'vector' or 'onehot'",
        ),
        ("02_distances", "decay", 0.0, "greater than 0"),
        ("02_distances", "decay", 1.5, "less than or equal to 1"),
        ("03_tree", "linkage", "single", "'ward', 'average' or 'complete'"),
        ("04_mcts", "beta", 1.5, "less than 1"),
        ("04_mcts", "temperature_start", 0.0, "greater than or equal to 0.000001"),
        ("04_mcts", "temperature_end", -0.1, "greater than or equal to 0.000001"),
        ("04_mcts", "final", "best", "'path' or 'samples'"),
        ("04_mcts", "compare", "learned", "a valid list"),
        ("04_mcts", "coefficient", 1.5, "less than or equal to 1"),
        ("04_mcts", "coefficient", -0.5, "greater than or equal to 0"),
        ("04_mcts", "models", 0, "greater than or equal to 1"),
        ("04_mcts", "retrain", -1, "greater than or equal to 0"),
        ("04_mcts", "retrain_epochs", 0, "greater than or equal to 1"),
        ("04_mcts", "simulated", -1, "greater than or equal to 0"),
        (
            "04_mcts",
            "sampler",
            "mct",
            "'uniform', 'independent', 'boltzmann', 'mixture', 'mcts' or 'mcts_reg'",
        ),
        ("04_mcts", "tree", "binary", "'', 'learned', 'default', 'random', 'accuracy' or 'relearned'"),
        ("04_mcts", "communication", "all", "'', 'shared_table' or 'equivalent_nodes'"),
    ],
)
def test_a_bad_value_is_named_with_what_is_allowed(notebook, name, value, allowed):
    assert mistake(notebook, **{name: value}) == f"{name} is {value!r}: Input should be {allowed}"


@pytest.mark.parametrize("reward", REWARDS)
def test_every_reward_is_taken(reward):
    assert NOTEBOOKS["04_mcts"].checked(QUICK["04_mcts"] | {"reward": reward}, "").reward == reward


@pytest.mark.parametrize("reward", ["validation accuracy", "absolute  training loss", "", None])
def test_another_reward_is_refused_with_the_eight(reward):
    said = mistake("04_mcts", reward=reward)
    assert said.startswith(f"reward is {reward!r}: Input should be ")
    assert all(repr(name) in said for name in REWARDS)


def search(**changes: object) -> params.Search:
    return NOTEBOOKS["04_mcts"].checked(QUICK["04_mcts"] | changes, "")


@pytest.mark.parametrize("sampler", SAMPLERS)
def test_what_is_searched_with_is_refused_in_words_unless_it_makes_sense(sampler):
    accepted = set()
    for tree, communication in itertools.product(("", *TREES), ("", *COMMUNICATIONS)):
        changes = {"sampler": sampler, "tree": tree, "communication": communication, "compare": []}
        if words := Method(sampler, tree, communication).mistake():
            assert mistake("04_mcts", **changes) == words
        else:
            (method,) = search(**changes).searched.values()
            assert method == Method(sampler, tree, communication)
            accepted.add((tree, communication))
    if sampler == "mcts":
        assert accepted == {(tree, "") for tree in TREES}
    elif sampler == "mcts_reg":
        assert accepted == {("default", communication) for communication in COMMUNICATIONS}
    else:
        assert accepted == {("", "")}


@pytest.mark.parametrize(("name", "method"), METHODS.items())
def test_every_method_can_be_searched_with_and_compared(name, method):
    others = [other for other in METHODS if other != name]
    changes = {"sampler": method.sampler, "tree": method.tree, "communication": method.communication}
    found = search(**changes, compare=others)
    assert list(found.searched) == [name, *others]  # the first one's result is the run's
    assert found.searched == METHODS
    said = mistake("04_mcts", **changes, compare=[name])
    assert said == f"compare must not repeat a method, nor {name}, which is searched anyway"
    assert mistake("04_mcts", **changes, compare=[others[0]] * 2) == said


def test_no_method_is_called_as_the_table_of_results_is():
    said = mistake("04_mcts", compare=[{"label": "found", "sampler": "uniform"}])
    assert said == "a method cannot be called found, as the table of results is"


def test_what_is_compared_is_known():
    said = mistake("04_mcts", compare=["default", "mcts"])
    assert said.startswith("compare[1] is 'mcts': Input should be ")
    assert all(repr(name) in said for name in METHODS)


LOSS = "absolute validation loss"
ENTRY = {"label": "MCTS + Reg", "sampler": "mcts_reg", "tree": "default", "communication": "shared_table"}


def test_what_is_compared_may_have_settings_of_its_own():
    own = {"reward": "relative validation accuracy", "bonus": "linear", "temperature_end": 0.01}
    found = search(compare=[ENTRY | own, "uniform"])
    method, reward = found.searched["MCTS + Reg"], "absolute validation accuracy"
    assert list(found.searched) == ["learned", "MCTS + Reg", "uniform"]
    assert (method.sampler, method.tree, method.communication) == ("mcts_reg", "default", "shared_table")
    assert [found.reward_of(m) for m in found.searched.values()] == [reward, own["reward"], reward]
    assert found.schedule(640, method).temperature_end == 0.01
    assert found.schedule(640).temperature_end == 0.0025
    made = method.make(make_space("pooling"), {}, **found.sampler_settings)
    assert (made.rule.linear, made.rule.exploration) == (True, 0.02)  # its own, and the run's
    assert found.model_dump()["compare"] == [ENTRY | own, "uniform"]  # what was said, no more
    assert found.readings.endswith(
        "MCTS + Reg: communication shared_table, reward relative validation accuracy, bonus linear, "
        "temperature_end 0.01"
    )


@pytest.mark.parametrize(
    ("entry", "said"),
    [
        ({"label": "x", "sampler": "uniform", "bonus": "linear"}, "uniform has no bonus; it has no settings"),
        ({"label": "x", "sampler": "boltzmann", "warmup": "branches"}, "boltzmann has no warmup; it has "),
        ({"label": "x", "sampler": "mixture", "start": "first"}, "mixture has no start; it has models, "),
        (ENTRY | {"phases": "all"}, "sampler mcts_reg has no phases; it has coefficient, "),
        ({"label": "x", "sampler": "uniform", "reward": LOSS}, "sampler uniform has no reward; "),
        ({"label": "x", "sampler": "mcts"}, "sampler mcts walks a tree: set tree to one of learned, "),
    ],
)  # fmt: skip
def test_a_setting_that_a_sampler_cannot_have_is_refused_by_name(entry, said):
    assert said in mistake("04_mcts", compare=[entry])
    assert mistake("04_mcts", compare=[entry]).startswith("compare[0] is {")


@pytest.mark.parametrize(
    ("entry", "said"),
    [
        ({"sampler": "uniform"}, "parameter compare[0].label is missing"),
        (ENTRY | {"bonsu": "linear"}, "unknown parameter compare[0].bonsu (did you mean bonus?)"),
        (ENTRY | {"bonus": "square"}, "compare[0].bonus is 'square': Input should be 'sqrt' or 'linear'"),
        (ENTRY | {"label": "a/b"}, "compare[0].label is 'a/b': should be 1 to 60 letters, "),
        (3, "compare[0] is 3: Input should be a valid dictionary"),
        (ENTRY | {"name": 3}, "unknown parameter compare[0].name (allowed: "),
    ],
)
def test_a_mistake_in_what_is_compared_is_named_with_its_place(entry, said):
    assert mistake("04_mcts", compare=[entry]).startswith(said)


def test_a_setting_of_the_profile_concerns_whom_it_concerns():
    alone = {"sampler": "uniform", "tree": "", "compare": []}
    found = search(**alone, bonus="linear", reward="relative training loss")  # nothing of it is used
    assert found.unused(["bonus", "seed"]) == "sampler uniform has no bonus; it has no settings"
    assert found.unused(["seed", "epochs", "final", "compare"]) == ""
    assert search(**alone | {"compare": ["default"]}).unused(["bonus", "reward"]) == ""
    assert search(compare=[]).unused(["temperature_flat"]).startswith("sampler mcts has no temperature_flat")


def test_a_window_knows_what_its_methods_have():
    found = NOTEBOOKS["06_imagenet"].checked(QUICK["06_imagenet"] | {"methods": ["uniform"]}, "")
    assert found.unused(["seed", "bonus"]) == "sampler uniform has no bonus; it has no settings"
    assert NOTEBOOKS["06_imagenet"].checked(QUICK["06_imagenet"], "").unused(["bonus", "coefficient"]) == ""


def test_methods_without_a_tree_have_no_phases_unless_all_have():
    methods = [name for name, method in METHODS.items() if not method.tree and method.allowed]
    assert methods == ["independent", "boltzmann", "mixture"]
    for name, method in METHODS.items():
        schedule = search(temperature_flat=0.3).schedule(640, method)
        assert schedule.phased == bool(method.tree), name
        assert schedule.temperature_start == (0.02 if method.tree else 0.3), name
        assert search(phases="all").schedule(640, method).phased


def test_decay_is_for_encodings():
    for measure in ("vector", "onehot"):
        checked = NOTEBOOKS["02_distances"].checked(
            QUICK["02_distances"] | {"measure": measure, "decay": 0.5}, ""
        )
        assert (checked.measure, checked.decay) == (measure, 0.5)
    for measure in ("kl", "l2", "cross_entropy"):
        said = mistake("02_distances", measure=measure, decay=0.5)
        assert said == f"decay weighs the layers of an encoding; with measure: {measure} it must be 1.0"


def test_a_search_knows_its_schedule_and_its_samplers_settings():
    changes = {"epochs": 3, "batch_size": 64, "uniform_share": 0.3, "warmup_share": 0.2}
    found = search(**changes, temperature_start=0.1, temperature_end=0.05, models=5, coefficient=0.7)
    assert found.schedule(130) == Schedule(9, 0.3, 0.2, 0.1, 0.05)  # 130 images are 3 batches of 64
    assert found.schedule(128).steps == 6
    readings = {name: next(iter(values)) for name, values in READINGS.items()}
    usual = {"beta": 0.95, "exploration": 0.02} | readings
    assert found.sampler_settings == usual | {"models": 5, "coefficient": 0.7, "prior": "branches"}


def test_a_relearned_tree_has_a_share_of_its_own_and_no_other_method_has_one(monkeypatch):
    entry = {"label": "often", "sampler": "mcts", "tree": "relearned", "relearn_every": 0.1}
    found = search(compare=["relearned", entry], relearn_every=0.2)
    made = {"images": 64, "measure": "l2", "linkage": "average"}
    monkeypatch.setattr(type(found), "tree_from", made)
    told = {name: found.trial(method).get("relearn") for name, method in found.searched.items()}
    assert told == {"learned": None, "relearned": {"every": 0.2} | made, "often": {"every": 0.1} | made}
    assert "; relearned: tree learned anew after each 0.2 of phase 3 (beyond the paper); " in found.readings
    assert found.unused(["relearn_every"]) == ""
    assert search().unused(["relearn_every"]) == "relearn_every is of tree relearned; tree is learned"
    assert "relearn_every" not in result_params(search())
    window = NOTEBOOKS["06_imagenet"].checked(QUICK["06_imagenet"] | {"methods": ["relearned"]}, "")
    relearn = window.trial(window.searched["relearned"])["relearn"]
    assert relearn == {"every": 0.34, "images": 128, "measure": "kl", "linkage": "ward"}


@pytest.mark.parametrize(
    ("change", "complaint"),
    [
        ({"relearn_every": 0.0}, "relearn_every is 0.0: Input should be greater than 0"),
        ({"relearn_every": 1.0}, "relearn_every is 1.0: Input should be less than 1"),
        (
            {"compare": [{"label": "x", "sampler": "mcts", "tree": "default", "relearn_every": 0.5}]},
            "compare[0] is {'label': 'x', 'sampler': 'mcts', 'tree': 'default', 'relearn_every': 0.5}: "
            "relearn_every is of tree relearned; tree is default",
        ),
        (
            {"compare": [{"label": "x", "sampler": "uniform", "relearn_every": 0.5}]},
            "sampler uniform has no relearn_every; it has no settings",
        ),
        ({"sampler": "uniform", "tree": "relearned"}, "sampler uniform walks no tree"),
        (
            {"sampler": "mcts_reg", "tree": "relearned", "communication": "shared_table"},
            "as only the default tree has: set tree to default instead of relearned",
        ),
    ],
)
def test_what_cannot_be_relearned_is_refused_in_one_line(change, complaint):
    assert complaint in mistake("04_mcts", **change)


def test_a_prior_is_a_setting_of_tree_searches_alone_and_no_part_of_results_made_before_it():
    entry = {"label": "leaves", "sampler": "mcts", "tree": "default", "prior": "leaves"}
    found = search(compare=[entry, "uniform"])
    space = make_space("pooling")
    forest = {"default": trees.default(space), "learned": trees.random(space.enumerate(), 0)}
    made = {n: m.make(space, forest, **found.sampler_settings) for n, m in found.searched.items()}
    assert (made["learned"].prior, made["leaves"].prior) == ("branches", "leaves")
    assert "prior" not in result_params(search())
    assert result_params(search(prior="leaves"))["prior"] == "leaves"
    for sampler in ("uniform", "boltzmann"):
        said = mistake("04_mcts", compare=[{"label": "x", "sampler": sampler, "prior": "leaves"}])
        assert f"sampler {sampler} has no prior; it has " in said
    assert mistake("04_mcts", prior="nodes") == "prior is 'nodes': Input should be 'branches' or 'leaves'"


@pytest.mark.parametrize("shares", [(0.6, 0.4), (0.9, 0.5)])
def test_the_first_two_phases_leave_steps_for_the_third(shares):
    said = mistake("04_mcts", uniform_share=shares[0], warmup_share=shares[1])
    assert said == "uniform_share + warmup_share must be below 1, to leave steps for the search"


@pytest.mark.parametrize("run", ["..", "/tmp/x", "a/../b", "../x", "a//b", "a/", ".hidden", "", "a b", "a\n"])
def test_a_run_stays_inside_outputs(run):
    what = "should be a plain name: letters, digits and _ . - (parts may be joined by /)"
    assert mistake("01_pretrain", run=run) == f"run is {run!r}: {what}"
    if run:  # an empty source is the run itself
        assert mistake("03_tree", source=run) == f"source is {run!r}: {what}"


def test_an_upstream_is_the_source_or_the_run_itself():
    tree = NOTEBOOKS["03_tree"].checked(QUICK["03_tree"], "")
    assert tree.upstream == tree.run == "quick"
    assert (
        NOTEBOOKS["03_tree"].checked(QUICK["03_tree"] | {"source": "sweep/a.1"}, "").upstream == "sweep/a.1"
    )


def test_a_misspelt_name_is_corrected_and_all_mistakes_are_named_at_once():
    assert mistake("01_pretrain", epoch=3) == "unknown parameter epoch (did you mean epochs?)"
    allowed = "allowed: run, seed, plugins, source, linkage"
    said = mistake("03_tree", zzz=3, seed="a")
    assert said == f"seed is 'a': Input should be a valid integer; unknown parameter zzz ({allowed})"


def test_read_finds_the_parameters_among_other_variables():
    namespace = {"linkage": "average", "np": object(), "tau": 1.0, "In": ["", "tau = 1.0", "p = 3"]}
    assert params.read("03_tree", namespace).model_dump() == QUICK["03_tree"] | {"linkage": "average"}
    assert params.read("03_tree", {"np": object()}).model_dump() == QUICK["03_tree"]


def test_read_knows_every_way_to_assign():
    given = {"lr": 0.2, "epochs": 3, "width": 8}
    cell = "# Parameters\nlr, epochs = 0.2, 3\nwidth: int = 8\nprint([i for i in range(3)])"
    found = params.read("01_pretrain", given | {"In": [cell]})
    assert (found.lr, found.epochs, found.width) == (0.2, 3, 8)
    with pytest.raises(HnasError, match="unknown parameter epoch "):
        params.read("01_pretrain", {"epoch": 3, "In": ["# Parameters\nepoch: int = 3"]})


def test_a_parameter_may_be_called_as_an_entry_is():
    for name in ("name", "entry"):
        assert mistake("01_pretrain", **{name: 1}).startswith(f"unknown parameter {name} (")
    assert mistake("04_mcts", compare=[ENTRY | {"settings": {"name": []}}]).startswith(
        "compare[0].settings.name"
    )


def test_read_takes_what_papermill_injects_also_if_the_cell_does_not_have_it():
    cells = [
        "",
        '# Parameters; others\nrun = "quick"',
        '# Parameters\nsource = "b"\nlinkage = "average"\n',
        "",
    ]
    found = params.read("03_tree", {"run": "quick", "source": "b", "linkage": "average", "In": cells})
    assert (found.source, found.linkage, found.seed) == ("b", "average", 0)


@pytest.mark.parametrize("before", [[], ["# Parameters; others\nepochs = 24"]])
def test_read_refuses_a_misspelt_name_in_the_cell_and_in_papermills(before):
    cells = [*before, "# Parameters; others\nlr = 0.1\nepoch = 3\n"]
    line = "^notebook 01_pretrain: unknown parameter epoch \\(did you mean epochs\\?\\)$"
    with pytest.raises(HnasError, match=line):
        params.read("01_pretrain", {"epochs": 24, "lr": 0.1, "epoch": 3, "In": cells})
    cells.append("# Parameters; others\nlr = 0.1\nepochs = 3\n")  # mended, and run again
    assert params.read("01_pretrain", {"epochs": 3, "lr": 0.1, "epoch": 3, "In": cells}).epochs == 3
