"""The Pooling space: its 36 architectures, their order, codes and text forms; the automaton of any space."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from common import ARCHS, SPACE
from hypothesis import given
from hypothesis import strategies as st

from hnas_kit.errors import HnasError
from hnas_kit.spaces import Arch, SearchSpace, StagedSpace, make_space

architectures = st.sampled_from(ARCHS)


def test_there_are_36_distinct_architectures():
    assert len(ARCHS) == len(set(ARCHS)) == 36
    assert all(SPACE.is_valid(arch) for arch in ARCHS)


@pytest.mark.parametrize(
    ("index", "text"), [(1, "[1,1,8]"), (24, "[4,3,3]"), (34, "[7,1,2]"), (36, "[8,1,1]")]
)
def test_the_order_is_that_of_the_published_indices(index, text):
    assert SPACE.format(ARCHS[index - 1]) == text


def test_the_order_is_by_n1_then_n2():
    texts = [SPACE.format(arch) for arch in ARCHS]
    assert texts == sorted(texts)


def test_the_text_counts_layers_from_the_stem():
    # stem and 3 blocks, pool, 3 blocks, pool, 3 blocks
    assert SPACE.parse("[4,3,3]") == (0, 0, 0, 1, 0, 0, 1, 0, 0)


@given(architectures, st.text(alphabet=" \t", max_size=3))
def test_parse_undoes_format(arch, blank):
    assert SPACE.parse(SPACE.format(arch)) == arch
    assert SPACE.parse(SPACE.format(arch).replace(",", f"{blank},{blank}") + blank) == arch


@given(st.tuples(*[st.integers(0, 11)] * 3))
def test_parse_takes_exactly_the_counts_that_make_ten_layers(counts):
    text = "[{},{},{}]".format(*counts)
    if min(counts) >= 1 and sum(counts) == 10:
        assert SPACE.format(SPACE.parse(text)) == text
    else:
        with pytest.raises(HnasError, match="add up to 10"):
            SPACE.parse(text)


@pytest.mark.parametrize("text", ["", "4,3,3", "[4,3]", "[4,3,2,1]", "[-1,3,8]", "[4.0,3,3]", "[4,3,3] x"])
def test_parse_refuses_other_text(text):
    with pytest.raises(HnasError, match="is not an architecture of the pooling space"):
        SPACE.parse(text)


@given(architectures)
def test_canonical_is_idempotent_and_makes_plain_ints(arch):
    canonical = SPACE.canonical(np.array(arch))
    assert canonical == SPACE.canonical(canonical) == arch
    assert {type(op) for op in canonical} == {int}


@given(st.lists(st.integers(0, 1), min_size=9, max_size=9))
def test_valid_is_nine_layers_with_two_pools(arch):
    assert SPACE.is_valid(arch) == (sum(arch) == 2) == (tuple(arch) in ARCHS)


@given(architectures, st.integers(0, 8))
def test_another_length_is_not_valid(arch, layer):
    assert not SPACE.is_valid(arch[:layer])
    assert not SPACE.is_valid(arch + (0,) * (layer + 1))


@given(architectures, st.integers(0, 8), st.integers().filter(lambda op: op not in (0, 1)))
def test_an_operation_out_of_range_is_not_valid(arch, layer, op):
    assert not SPACE.is_valid((*arch[:layer], op, *arch[layer + 1 :]))


def test_two_pools_must_be_two_layers():
    assert not SPACE.is_valid((2, 0, 0, 0, 0, 0, 0, 0, 0))
    assert not SPACE.is_valid((-1, 1, 1, 1, 0, 0, 0, 0, 0))


@given(architectures, st.integers(0, 8), st.sampled_from([bool, float, str, np.bool_, np.float64]))
def test_an_operation_that_is_no_integer_is_not_valid(arch, layer, kind):
    assert not SPACE.is_valid((*arch[:layer], kind(arch[layer]), *arch[layer + 1 :]))


@pytest.mark.parametrize("use", [SPACE.canonical, SPACE.format])
def test_an_invalid_architecture_is_refused_with_what_is_valid(use):
    with pytest.raises(HnasError, match="exactly two pools"):
        use((0,) * 9)


def test_an_unknown_space_is_refused_with_the_known_ones():
    with pytest.raises(HnasError, match=r"unknown search space 'poling' \(did you mean 'pooling'\?\)"):
        make_space("poling")


# the automaton of a constraint, and encodings


class Toy(SearchSpace):
    """A space whose architectures are listed by :meth:`allows`, which knows nothing of the automaton."""

    name = "toy"
    ops = (("a", "b", "c"),) * 4

    def allows(self, arch: Arch) -> bool:
        return True

    def sequences(self) -> list[Arch]:
        return list(itertools.product(*(range(len(names)) for names in self.ops)))

    def enumerate(self) -> list[Arch]:
        return [arch for arch in self.sequences() if self.allows(arch)]


class Even(Toy):
    """The sum of the operations is even; layers differ in how many they have."""

    ops = (("a", "b"), ("a", "b", "c"), ("a",), ("a", "b", "c", "d"))

    def allows(self, arch: Arch) -> bool:
        return sum(arch) % 2 == 0

    def advance(self, state: int, layer: int, op: int) -> int:
        return (state + op) % 2

    def accepts(self, state: int) -> bool:
        return state == 0


class NoRepeat(Toy):
    """No operation twice in a row; the start is a state of its own."""

    start = -1

    def allows(self, arch: Arch) -> bool:
        return all(a != b for a, b in itertools.pairwise(arch))

    def advance(self, state: int, layer: int, op: int) -> int | None:
        return None if op == state else op


class Spend(Toy):
    """All of a budget of 7 is spent in four layers of 0 to 2, so that who saves at first has lost."""

    start = 7

    def allows(self, arch: Arch) -> bool:
        return sum(arch) == 7

    def advance(self, state: int, layer: int, op: int) -> int | None:
        return state - op if state >= op else None

    def accepts(self, state: int) -> bool:
        return state == 0


class LateC(Toy):
    """Operation c from the third layer on only, and once at most: the move depends on the layer."""

    def allows(self, arch: Arch) -> bool:
        return 2 not in arch[:2] and arch.count(2) <= 1

    def advance(self, state: int, layer: int, op: int) -> int | None:
        if op < 2:
            return state
        return 1 if layer >= 2 and state == 0 else None


class OnlyOne(Toy):
    """All but one way are dead ends, found at the very end."""

    def allows(self, arch: Arch) -> bool:
        return arch == (2, 1, 0, 2)

    def advance(self, state: int, layer: int, op: int) -> int:
        return 3 * state + op

    def accepts(self, state: int) -> bool:
        return state == 2 * 27 + 1 * 9 + 0 * 3 + 2


class Staged(StagedSpace, Toy):
    """Stages of one and three layers; the identity is neither the first operation nor the last."""

    stages = (1, 3)
    identity = 1

    def allows(self, arch: Arch) -> bool:
        return not (arch[2] == 1 and arch[3] != 1)


TOYS = (Toy, Even, NoRepeat, Spend, LateC, OnlyOne, Staged)
SPACES = [SPACE, *(toy() for toy in TOYS)]


def read_by_tables(space: SearchSpace, arch: Arch) -> bool:
    state = 0
    for table, op in zip(space.transitions, arch, strict=True):
        state = table[state, op]
        if state < 0:
            return False
    return True


@pytest.mark.parametrize("space", SPACES, ids=lambda space: type(space).__name__)
def test_tables_accept_exactly_the_architectures(space):
    sequences = list(itertools.product(*(range(len(names)) for names in space.ops)))
    accepted = [arch for arch in sequences if read_by_tables(space, arch)]
    assert accepted == [a for a in sequences if space.is_valid(a) and space.canonical(a) == a]
    assert sorted(accepted) == sorted(space.enumerate())
    assert accepted
    assert len(accepted) < len(sequences) or type(space) is Toy


@pytest.mark.parametrize("space", SPACES, ids=lambda space: type(space).__name__)
def test_tables_have_no_dead_ends_and_no_state_that_is_never_reached(space):
    tables = space.transitions
    archs = space.enumerate()
    assert [table.shape[1] for table in tables] == [len(names) for names in space.ops]
    assert len(tables[0]) == 1
    reached = {0}
    for layer, table in enumerate(tables):
        assert reached == set(range(len(table)))
        assert np.all((table >= 0).any(axis=1))  # from every state something is allowed
        reached = set(table[table >= 0].tolist())
        # what can follow an architecture's beginning is what the tables allow there
        for beginning in {arch[:layer] for arch in archs}:
            state = 0
            for before, op in zip(tables, beginning, strict=False):
                state = before[state, op]
            follows = {arch[layer] for arch in archs if arch[:layer] == beginning}
            assert set(np.flatnonzero(table[state] >= 0)) == follows


def test_the_tables_of_pooling_count_pools():
    sizes = [len(table) for table in SPACE.transitions]
    assert sizes == [1, 2, 3, 3, 3, 3, 3, 3, 2]  # 0 pools; 0 or 1; ...; 0 pools are too few before the last
    assert SPACE.transitions is SPACE.transitions
    np.testing.assert_array_equal(SPACE.transitions[-1], [[-1, 0], [0, -1]])


@pytest.mark.parametrize("kind", ["vector", "onehot"])
@pytest.mark.parametrize("space", SPACES, ids=lambda space: type(space).__name__)
def test_an_encoding_is_the_loop_over_layers(space, kind):
    archs = space.enumerate()[::-1]
    rows = []
    for arch in archs:
        row = []
        said, counts = arch, [len(names) for names in space.ops]
        if space.name == "pooling":  # the resolution, of which there are three
            said, counts = itertools.accumulate(arch), [3] * 9
        for value, count in zip(said, counts, strict=True):
            row += [value] if kind == "vector" else [float(value == other) for other in range(count)]
        rows.append(row)
    encoded = space.encode(archs, kind)
    assert encoded.dtype == np.float64
    np.testing.assert_array_equal(encoded, rows)
    assert len(np.unique(encoded, axis=0)) == len(archs)


def test_pooling_says_the_resolution_of_each_block():
    """Of [2,3,5] one block (and the stem) is at the high one, three at the middle, five at the low one."""
    (row,) = SPACE.encode([SPACE.parse("[2,3,5]")])
    assert row.tolist() == [0, 1, 1, 1, 2, 2, 2, 2, 2]
    (row,) = SPACE.encode([SPACE.parse("[2,3,5]")], "onehot")
    assert row.reshape(9, 3).argmax(axis=1).tolist() == [0, 1, 1, 1, 2, 2, 2, 2, 2]
    assert row.sum() == 9


def test_the_vector_encoding_is_the_default_and_others_are_refused():
    np.testing.assert_array_equal(SPACE.encode(ARCHS), SPACE.encode(ARCHS, "vector"))
    assert SPACE.encode(ARCHS).shape == (36, 9)
    assert SPACE.encode(ARCHS, "onehot").shape == (36, 27)
    with pytest.raises(HnasError, match=r"\Aunknown encoding 'onhot' \(did you mean 'onehot'\?\).*\Z"):
        SPACE.encode(ARCHS, "onhot")


# NAS-Bench-Macro

MACRO = make_space("macro")
NETWORKS = MACRO.enumerate()
codes = st.tuples(*[st.integers(0, 2)] * 8)


def by_hand(code: tuple[int, ...]) -> tuple[int, ...]:
    """The first layer of each stage stays; of the others, those that are no identity come first."""
    canonical: list[int] = []
    for stage in (code[:2], code[2:5], code[5:]):
        others = [op for op in stage[1:] if op != 0]
        canonical += [stage[0], *others, *[0] * (len(stage) - 1 - len(others))]
    return tuple(canonical)


def test_all_codes_are_3969_networks():
    everything = list(itertools.product(range(3), repeat=8))
    assert len(everything) == 6561
    assert all(MACRO.is_valid(code) for code in everything)
    assert sorted({by_hand(code) for code in everything}) == NETWORKS
    assert len(NETWORKS) == 3969


@given(codes)
def test_a_code_becomes_its_network(code):
    canonical = MACRO.canonical(np.array(code))
    assert canonical == by_hand(code) == MACRO.canonical(canonical)
    assert {type(op) for op in canonical} == {int}
    text = "".join(map(str, code))
    assert MACRO.parse(f" {text}\n") == canonical
    assert MACRO.format(code) == "".join(map(str, canonical))


@pytest.mark.parametrize("text", ["", "2221222", "222122201", "2221222x", "[2,2]", "22212223", "-2221222"])
def test_other_text_is_no_network(text):
    with pytest.raises(
        HnasError, match=r"\A.*is not an architecture of the macro space: write digits for 8 layers of 0 .*\Z"
    ):
        MACRO.parse(text)


@given(codes, st.integers(0, 7), st.sampled_from([-1, 3, True, 1.0]))
def test_other_operations_are_no_network(code, layer, op):
    assert not MACRO.is_valid((*code[:layer], op, *code[layer + 1 :]))
    assert not MACRO.is_valid(code[:layer])


# the ImageNet space

MOBILE = make_space("mobile")
NAMED = {
    "MCT-NAS-C": "3,12,3,3,4,4,3,3,4,5,12,4,5,5,12,3,4,4,4,5,11",
    "MCT-NAS-B": "5,12,12,3,4,4,9,3,3,12,10,10,10,3,3,3,10,4,11,3,11",
}


def test_the_mobile_space_has_its_published_size():
    assert (MOBILE.num_layers, {len(names) for names in MOBILE.ops}) == (21, {13})
    assert MOBILE.size == 24_505**5 * 13
    assert MOBILE.ops[0][0:12:3] == ("k3 e3", "k3 e3 se", "k3 e6", "k3 e6 se")


def test_the_size_of_a_space_is_the_number_of_its_architectures():
    assert SPACE.size == 36
    assert MACRO.size == len(MACRO.enumerate()) == 3969


def test_a_space_too_large_to_list_says_how_to_draw_from_it():
    with pytest.raises(
        HnasError, match=r"\Athe mobile space has 1.149e\+23 architectures, .*BudgetSampler\Z"
    ):
        MOBILE.enumerate()


@given(st.lists(st.integers(0, 12), min_size=21, max_size=21))
def test_identities_of_a_mobile_stage_come_last(code):
    """Behind the first layer of each stage; the other layers of the stage keep their order."""
    canonical, stages = MOBILE.canonical(code), [(i, i + 4) for i in range(0, 20, 4)] + [(20, 21)]
    for first, last in stages:
        before, after = code[first + 1 : last], canonical[first + 1 : last]
        kept = [op for op in before if op != 12]
        assert after == (*kept, *[12] * (len(before) - len(kept)))
        assert canonical[first] == code[first]
    assert MOBILE.canonical(canonical) == MOBILE.parse(MOBILE.format(code)) == canonical


@pytest.mark.parametrize("name", NAMED)
def test_published_mobile_architectures_are_read(name):
    arch = MOBILE.parse(NAMED[name])
    assert sorted(arch) == sorted(int(op) for op in NAMED[name].split(","))
    assert MOBILE.parse(MOBILE.format(arch).replace(",", " , ")) == arch


@pytest.mark.parametrize("text", ["", "0", ",".join("0" * 20), ",".join(["13"] * 21), ",".join(["-1"] * 21)])
def test_other_mobile_text_is_refused(text):
    with pytest.raises(HnasError, match="write numbers with commas between them for 21 layers of 0 to 11 "):
        MOBILE.parse(text)
