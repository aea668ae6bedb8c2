"""The Pooling space: the published 36 architectures, their order, codes and text forms."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from hnas_kit.errors import HnasError
from hnas_kit.spaces import make_space

SPACE = make_space("pooling")
ARCHS = SPACE.enumerate()
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
