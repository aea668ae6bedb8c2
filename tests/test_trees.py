"""Trees: the builders against scipy, scikit-learn and brute force; the numbering that all rely on."""

from __future__ import annotations

import io
import itertools
import re

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.cluster import hierarchy
from scipy.spatial.distance import pdist, squareform
from sklearn.cluster import AgglomerativeClustering

from hnas_kit import trees
from hnas_kit.errors import HnasError
from hnas_kit.spaces import make_space
from hnas_kit.studies.toy import ToySpace
from hnas_kit.trees.tree import is_numbered

SPACE = make_space("pooling")
ARRAYS = ("parent", "first_child", "num_children", "arch_index", "height")


def some_archs(n: int) -> list[tuple[int, ...]]:
    return list(itertools.islice(itertools.product(range(3), repeat=4), n))


def random_matrix(n: int, seed: int, ties: bool = False) -> np.ndarray:
    rng = np.random.default_rng(seed)
    values = rng.integers(1, 4, n * (n - 1) // 2).astype(float) if ties else rng.random(n * (n - 1) // 2)
    return squareform(values)


def blocks(labels: np.ndarray) -> set[frozenset[int]]:
    """A partition of 0 .. N-1 as a set of sets."""
    return {frozenset(np.flatnonzero(labels == label).tolist()) for label in set(labels.tolist())}


def leaves_under(tree: trees.ArchTree) -> list[frozenset[int]]:
    """For each node the positions of the architectures under it."""
    below = [frozenset([i]) if i >= 0 else frozenset() for i in tree.arch_index.tolist()]
    for v in range(tree.num_nodes - 1, 0, -1):
        below[tree.parent[v]] |= below[v]
    return below


def cut(tree: trees.ArchTree, height: float) -> set[frozenset[int]]:
    """The partition into the largest clusters that were merged at no more than that height."""
    below = leaves_under(tree)
    return {
        below[v]
        for v in range(tree.num_nodes)
        if tree.height[v] <= height and (v == 0 or tree.height[tree.parent[v]] > height)
    }


def three_leaves() -> trees.ArchTree:
    """Architectures 0 and 1 are merged at 1, then 2 with them: root -> (2, (0, 1))."""
    return trees.learned([1.0, 4.0, 4.0], [(0,), (1,), (2,)], linkage="average")


random_trees = st.builds(
    lambda n, seed, ties, linkage: (
        random_matrix(n, seed, ties),
        trees.learned(random_matrix(n, seed, ties), some_archs(n), linkage),
        linkage,
    ),
    n=st.integers(2, 25),
    seed=st.integers(0, 2**32),
    ties=st.booleans(),
    linkage=st.sampled_from(trees.LINKAGES),
)


# numbering


@given(random_trees)
@settings(deadline=None)
def test_nodes_are_numbered_breadth_first(built):
    _, tree, _ = built
    nodes = range(tree.num_nodes)
    assert tree.num_nodes == 2 * tree.num_leaves - 1
    assert tree.parent[0] == -1
    children = {v: [c for c in nodes if tree.parent[c] == v] for v in nodes}
    for v in nodes:
        first, n = tree.first_child[v], tree.num_children[v]
        assert children[v] == (list(range(first, first + n)) if n else [])
        assert all(c > v for c in children[v])
        assert (tree.arch_index[v] >= 0) == (n == 0)
        if n == 0:
            assert first == -1
            assert tree.height[v] == 0
        else:
            assert all(tree.height[v] >= tree.height[c] for c in children[v])
    queue, order = [0], []
    while queue:
        order.append(queue.pop(0))
        queue += children[order[-1]]
    assert order == list(nodes)


@given(random_trees)
@settings(deadline=None)
def test_every_architecture_has_one_leaf(built):
    _, tree, _ = built
    assert sorted(tree.arch_index[tree.arch_index >= 0]) == list(range(tree.num_leaves))
    assert set(tree.leaf) == set(tree.archs)
    for arch, v in tree.leaf.items():
        assert tree.archs[tree.arch_index[v]] == arch


@given(random_trees)
@settings(deadline=None)
def test_depth_and_levels_count_the_choices(built):
    _, tree, _ = built

    def choices(v: int) -> int:
        return 0 if v == 0 else 1 + choices(tree.parent[v])

    assert tree.level.tolist() == [choices(v) for v in range(tree.num_nodes)]
    assert tree.depth == max(choices(v) for v in tree.leaf.values())


@given(random_trees)
@settings(deadline=None)
def test_groups_refine_from_one_of_all_to_one_of_each(built):
    _, tree, _ = built
    below = leaves_under(tree)
    partitions = [blocks(tree.groups(level)) for level in range(tree.depth + 1)]
    assert partitions[0] == {frozenset(range(tree.num_leaves))}
    assert partitions[-1] == {frozenset([i]) for i in range(tree.num_leaves)}
    for coarse, fine in itertools.pairwise(partitions):
        assert len(coarse) < len(fine)
        assert all(any(part <= whole for whole in coarse) for part in fine)
    for level in range(tree.depth + 1):
        for i, v in enumerate(tree.groups(level)):
            assert i in below[v]
            assert tree.level[v] == level or (tree.level[v] < level and tree.arch_index[v] == i)


# the learned tree


@given(random_trees)
@settings(deadline=None)
def test_learned_is_scipys_clustering(built):
    matrix, tree, linkage = built
    expected = hierarchy.linkage(squareform(matrix), linkage)
    given_back = tree.to_linkage()
    assert hierarchy.is_valid_linkage(given_back)
    np.testing.assert_array_equal(given_back[:, 2], expected[:, 2])
    np.testing.assert_array_equal(hierarchy.cophenet(given_back), hierarchy.cophenet(expected))
    if len(set(expected[:, 2])) == len(expected):  # only merges at the same height may change places
        np.testing.assert_array_equal(given_back, expected)
    for height in (0.0, *expected[:, 2]):
        same = blocks(hierarchy.fcluster(expected, height, "distance"))
        assert blocks(hierarchy.fcluster(given_back, height, "distance")) == same
        assert cut(tree, height) == same


@pytest.mark.parametrize("linkage", trees.LINKAGES)
def test_learned_parts_like_scikit_learn(linkage):
    points = np.random.default_rng(5).standard_normal((30, 3))
    matrix = squareform(pdist(points))
    tree = trees.learned(matrix, some_archs(30), linkage)
    for clusters in range(1, 31):
        # scikit-learn's Ward takes points only
        fit = AgglomerativeClustering(
            clusters, linkage=linkage, metric="euclidean" if linkage == "ward" else "precomputed"
        )
        labels = fit.fit_predict(points if linkage == "ward" else matrix)
        heights = np.append(np.sort(tree.height[tree.num_children > 0])[::-1], 0.0)
        assert cut(tree, heights[clusters - 1]) == blocks(labels), clusters


def test_ward_is_the_default_and_condensed_distances_are_as_good():
    matrix = random_matrix(12, seed=3)
    trio = [
        trees.learned(matrix, some_archs(12)),
        trees.learned(squareform(matrix), some_archs(12)),
        trees.learned(matrix, some_archs(12), linkage="ward"),
    ]
    for name in ARRAYS:
        for tree in trio[1:]:
            np.testing.assert_array_equal(getattr(tree, name), getattr(trio[0], name))


@pytest.mark.parametrize("linkage", trees.LINKAGES)
def test_cophenetic_correlation_is_scipys(linkage):
    matrix = random_matrix(20, seed=4)
    expected, _ = hierarchy.cophenet(hierarchy.linkage(squareform(matrix), linkage), squareform(matrix))
    tree = trees.learned(matrix, some_archs(20), linkage)
    assert trees.cophenetic_correlation(tree, matrix) == pytest.approx(expected, abs=1e-12)


@pytest.mark.parametrize(
    ("distances", "complaint"),
    [
        (np.ones((4, 4)), "diagonal must be zero"),
        (np.triu(np.ones((4, 4)), 1), "must be symmetric"),
        (np.zeros((4, 3)), "square"),
        (np.zeros((2, 2, 2)), "one-dimensional"),
        (np.zeros(5), "binomial"),
        (np.full(6, np.nan), "not finite"),
        (np.array([1.0, 2, 3, 4, 5, np.inf]), "not finite"),
        (-np.ones(6), "negative"),
        (np.zeros(0), "empty"),
        (np.zeros((5, 5)), "4 architectures .* 5 rows"),
        (np.zeros((1, 1)), "4 architectures .* 1 rows"),
    ],
)
def test_what_is_no_distance_matrix_is_refused_in_one_line(distances, complaint):
    with pytest.raises(HnasError, match=rf"\A.*{complaint}.*\Z"):
        trees.learned(distances, some_archs(4))


def test_unknown_linkage_and_repeated_architectures_are_refused_in_one_line():
    with pytest.raises(HnasError, match=r"\A.*unknown linkage 'wards' \(did you mean 'ward'\?\).*\Z"):
        trees.learned(random_matrix(3, 0), some_archs(3), linkage="wards")
    with pytest.raises(HnasError, match=r"\A3 architectures \(2 different\).*all different.*\Z"):
        trees.learned(random_matrix(3, 0), [(0,), (1,), (0,)])
    with pytest.raises(HnasError, match=r"\A1 architectures.*at least two.*\Z"):
        trees.default(SPACE, SPACE.enumerate()[:1])


# the default tree and the random one


def test_default_has_a_node_for_each_beginning_that_can_be_completed():
    tree = trees.default(SPACE)
    valid = [arch for arch in itertools.product((0, 1), repeat=9) if sum(arch) == 2]
    assert (tree.num_leaves, tree.depth) == (36, 9)
    assert list(tree.archs) == SPACE.enumerate()
    assert set(tree.archs) == set(valid)
    beginnings = []
    for v, below in enumerate(leaves_under(tree)):
        (beginning,) = {tree.archs[i][: tree.level[v]] for i in below}
        assert below == {i for i, arch in enumerate(tree.archs) if arch[: len(beginning)] == beginning}
        beginnings.append(beginning)
    assert len(beginnings) == len(set(beginnings))
    assert set(beginnings) == {arch[:n] for arch in valid for n in range(10)}
    for v in range(1, tree.num_nodes - 1):  # operations in their order
        if tree.parent[v] == tree.parent[v + 1]:
            assert beginnings[v] < beginnings[v + 1]


def test_default_over_some_architectures_has_no_others():
    few = SPACE.enumerate()[3:20:4]
    tree = trees.default(SPACE, few)
    assert list(tree.archs) == few
    assert set(tree.leaf) == set(few)
    assert tree.depth == 9


def test_random_is_the_seeds():
    archs = SPACE.enumerate()
    one, again, other = trees.random(archs, 1), trees.random(archs, 1), trees.random(archs, 2)
    np.testing.assert_array_equal(one.to_linkage(), again.to_linkage())
    assert not np.array_equal(one.arch_index, other.arch_index)
    assert set(one.leaf) == set(other.leaf) == set(archs)


# the tree by accuracy, and the flat one


def halves(values: list[float], group: list[int]) -> list:
    """Nested halves of the positions, better half first, by repeated selection of the best (ties: first)."""
    if len(group) == 1:
        return group[0]
    left, best_first = list(group), []
    while left:
        best = max(left, key=lambda i: (values[i], -i))
        best_first.append(best)
        left.remove(best)
    half = (len(group) + 1) // 2
    return [halves(values, best_first[:half]), halves(values, best_first[half:])]


def nested(tree: trees.ArchTree, v: int = 0) -> list | int:
    if tree.num_children[v] == 0:
        return int(tree.arch_index[v])
    return [nested(tree, tree.first_child[v] + k) for k in range(tree.num_children[v])]


@given(st.lists(st.sampled_from([0.1, 0.5, 0.50001, 0.7, 0.9]) | st.floats(0, 1), min_size=2, max_size=30))
@settings(deadline=None)
def test_accuracy_halves_again_and_again(values):
    archs = some_archs(len(values))
    tree = trees.accuracy(values, archs)
    assert list(tree.archs) == archs
    assert nested(tree) == halves(values, list(range(len(values))))
    assert is_numbered(tree)
    below = leaves_under(tree)
    for v, members in enumerate(below):
        of_members = [values[i] for i in members]
        assert tree.height[v] == max(of_members) - min(of_members)
        if tree.num_children[v]:
            assert tree.num_children[v] == 2
            better, worse = below[tree.first_child[v]], below[tree.first_child[v] + 1]
            assert len(better) - len(worse) in (0, 1)
            assert min(values[i] for i in better) >= max(values[i] for i in worse)
    assert hierarchy.is_valid_linkage(tree.to_linkage())
    assert tree.depth == int(np.ceil(np.log2(len(values))))


def test_accuracy_by_hand():
    tree = trees.accuracy([0.2, 0.9, 0.5, 0.9, 0.1], some_archs(5))
    # best first 1, 3 (a tie, so the first one leads), 2, 0, 4; of five the better half are three
    assert nested(tree) == [[[1, 3], 2], [0, 4]]
    np.testing.assert_allclose(tree.height, [0.8, 0.4, 0.1, 0, 0, 0, 0, 0, 0], atol=1e-15)


@pytest.mark.parametrize(
    ("values", "n", "complaint"),
    [
        ([0.1, 0.2], 3, "3 architectures .* 2 accuracies"),
        ([0.1], 1, "1 architectures .*at least two"),
        ([0.1, float("nan")], 2, "one finite number"),
        ([0.1, float("inf")], 2, "one finite number"),
        ([[0.1], [0.2]], 2, "one finite number"),
        ([], 0, "0 architectures"),
    ],
)
def test_accuracies_that_make_no_tree_are_refused_in_one_line(values, n, complaint):
    with pytest.raises(HnasError, match=rf"\A.*{complaint}.*\Z"):
        trees.accuracy(values, some_archs(n))


@pytest.mark.parametrize("n", [2, 3, 36])
def test_flat_has_every_architecture_below_the_root(n):
    archs = some_archs(n)
    tree = trees.flat(archs)
    assert nested(tree) == list(range(n))
    assert list(tree.archs) == archs
    assert (tree.depth, tree.num_nodes, tree.num_leaves) == (1, n + 1, n)
    assert trees.load(tree.to_bytes()).leaf == tree.leaf
    with pytest.raises(HnasError, match=r"\A1 architectures.*at least two.*\Z"):
        trees.flat(archs[:1])


class ThreeOps(ToySpace):
    """Three layers of three operations."""

    ops = (("a", "b", "c"),) * 3

    def enumerate(self) -> list[tuple[int, ...]]:
        return list(itertools.product(range(3), repeat=3))


@pytest.mark.parametrize("linkage", ["average", "complete"])
@pytest.mark.parametrize("space", [SPACE, ToySpace(), ThreeOps()], ids=lambda space: type(space).__name__)
def test_clustering_by_where_the_default_tree_parts_gives_its_groups_back(space, linkage):
    """Distance: the height of the lowest node that two architectures have in common."""
    archs = space.enumerate()
    matrix = np.zeros((len(archs), len(archs)))
    for i, j in itertools.combinations(range(len(archs)), 2):
        common = next(k for k, (a, b) in enumerate(zip(archs[i], archs[j], strict=True)) if a != b)
        matrix[i, j] = matrix[j, i] = space.num_layers - common
    default, tree = trees.default(space), trees.learned(matrix, archs, linkage)
    branching = {
        members
        for members, children in zip(leaves_under(default), default.num_children, strict=True)
        if children > 1
    }
    assert len(branching) > 3
    assert branching <= set(leaves_under(tree))
    for height in range(space.num_layers + 1):
        assert cut(tree, height) == cut(default, height)
        by_default = blocks(default.groups(space.num_layers - height))
        assert cut(tree, height) == by_default


# forms on paper and on disk


def parse_newick(text: str) -> list[tuple[frozenset[str], float]]:
    """(names of the leaves below, branch length) of every node; quoted names, as they are written here."""
    tokens = re.findall(r"'[^']*'|[(),;]|:[^(),;]+", text)
    assert "".join(tokens) == text
    position, found = 0, []

    def node() -> frozenset[str]:
        nonlocal position
        names = []
        if tokens[position] == "(":
            while tokens[position] in "(,":
                position += 1
                names.append(node())
            assert tokens[position] == ")"
        else:
            names.append(frozenset([tokens[position].strip("'")]))
        position += 1
        length = 0.0
        if tokens[position].startswith(":"):
            length = float(tokens[position][1:])
            position += 1
        below = frozenset().union(*names)
        found.append((below, length))
        return below

    node()
    assert tokens[position:] == [";"]
    return found


@pytest.mark.parametrize("build", [lambda a: trees.random(a, 7), lambda a: trees.default(SPACE, a)])
def test_newick_read_back_has_the_same_clades_and_lengths(build):
    tree = build(SPACE.enumerate())
    found = parse_newick(tree.to_newick(SPACE.format))
    names = [SPACE.format(arch) for arch in tree.archs]
    below = [frozenset(names[i] for i in members) for members in leaves_under(tree)]
    assert sorted(map(sorted, below)) == sorted(sorted(clade) for clade, _ in found)
    for name in names:  # all leaves end at the same height
        way = sum(length for clade, length in found if name in clade)
        assert way == pytest.approx(tree.height[0], rel=1e-5)


def test_newick_of_three_leaves():
    assert three_leaves().to_newick() == "('2':4,('0':1,'1':1):3);"


def test_only_a_binary_tree_has_a_linkage_matrix():
    with pytest.raises(HnasError, match=r"\Aonly a binary tree.*\Z"):
        trees.default(SPACE).to_linkage()


@pytest.mark.parametrize("build", [lambda a: trees.random(a, 7), lambda a: trees.default(SPACE, a)])
def test_saved_and_loaded_is_the_same(tmp_path, build):
    tree = build(SPACE.enumerate())
    tree.save(tmp_path / "tree.npz")
    for loaded in (
        trees.load(tmp_path / "tree.npz"),
        trees.load(str(tmp_path / "tree.npz")),
        trees.load(tree.to_bytes()),
    ):
        assert loaded.archs == tree.archs
        assert loaded.leaf == tree.leaf
        assert loaded.depth == tree.depth
        for name in ARRAYS:
            np.testing.assert_array_equal(getattr(loaded, name), getattr(tree, name))
            assert getattr(loaded, name).dtype == getattr(tree, name).dtype


def changed(**arrays: np.ndarray) -> bytes:
    """The file of :func:`three_leaves` with other arrays, None to leave one out."""
    with np.load(io.BytesIO(three_leaves().to_bytes())) as file:
        arrays = {**file, **arrays}
    buffer = io.BytesIO()
    np.savez(buffer, **{name: array for name, array in arrays.items() if array is not None})
    return buffer.getvalue()


WHOLE = three_leaves().to_bytes()
DAMAGED = {
    "empty": b"",
    "text": b"not a tree\n" * 10,
    "cut": WHOLE[: len(WHOLE) // 2],
    "flipped": WHOLE[:80] + bytes([WHOLE[80] ^ 255]) + WHOLE[81:],  # in the first array, behind its header
    "an array less": changed(height=None),
    "a length": changed(height=np.zeros(3)),
    "a root without end": changed(first_child=np.array([0, -1, 3, -1, -1])),
    "its own parent": changed(
        parent=np.array([-1, 1, 1, 2, 2]),
        num_children=np.array([0, 2, 2, 0, 0]),
        first_child=np.array([-1, 1, 3, -1, -1]),
    ),
    "no such architecture": changed(arch_index=np.array([-1, 9, -1, 0, 1])),
    "an architecture without a leaf": changed(archs=np.array([[0], [1], [2], [3]])),
    "fractions": changed(num_children=np.array([2.0, 0, 2, 0, 0])),
}


@pytest.mark.parametrize("content", DAMAGED.values(), ids=DAMAGED)
def test_a_file_that_is_no_tree_is_refused_in_one_line(tmp_path, content):
    path = tmp_path / "tree.npz"
    path.write_bytes(content)
    with pytest.raises(HnasError, match=r"\A.*tree\.npz cannot be read as a tree.*03_tree\Z"):
        trees.load(path)
    with pytest.raises(HnasError, match=r"\Athe given bytes cannot be read as a tree.*\Z"):
        trees.load(content)


def test_an_absent_file_is_refused_in_one_line(tmp_path):
    with pytest.raises(HnasError, match=r"\A.*absent\.npz cannot be read as a tree.*03_tree\Z"):
        trees.load(tmp_path / "absent.npz")


# what a tree says of a value


def test_variance_explained_by_hand():
    # values 1, 3 and 8, mean 4: squared deviations 9 + 1 + 16 = 26 in all;
    # level 1 has {2} with 16 and {0, 1} with mean 2, so 2 (2 - 4)^2 = 8: 24 of 26
    groups, share = trees.variance_explained(three_leaves(), [1, 3, 8])
    assert groups.tolist() == [1, 2, 3]
    np.testing.assert_allclose(share, [0, 24 / 26, 1], atol=1e-15)


@given(random_trees, st.integers(0, 2**32))
@settings(deadline=None)
def test_variance_explained_grows_from_none_to_all(built, seed):
    _, tree, _ = built
    groups, share = trees.variance_explained(tree, np.random.default_rng(seed).random(tree.num_leaves))
    assert len(groups) == len(share) == tree.depth + 1
    assert (groups[0], groups[-1]) == (1, tree.num_leaves)
    assert share[0] == pytest.approx(0, abs=1e-12)
    assert share[-1] == pytest.approx(1, abs=1e-12)
    assert np.all(np.diff(share) >= -1e-12)


def test_a_random_tree_explains_what_chance_does():
    values = np.random.default_rng(0).random(36)
    shares, expected = [], []
    for seed in range(200):
        groups, share = trees.variance_explained(trees.random(SPACE.enumerate(), seed), values)
        shares.append(share[2])
        expected.append((groups[2] - 1) / 35)
    assert np.mean(shares) == pytest.approx(np.mean(expected), abs=4 * np.std(shares) / 200**0.5)


@pytest.mark.parametrize(
    "tree", [trees.default(SPACE), trees.random(SPACE.enumerate(), 0)], ids=["default", "random"]
)
def test_the_members_of_a_node_are_the_leaves_whose_path_goes_through_it(tree):
    through = [[] for _ in range(tree.num_nodes)]
    for i, arch in enumerate(tree.archs):
        v = tree.leaf[arch]
        while v >= 0:
            through[v].append(i)
            v = tree.parent[v]
    assert [sorted(below) for below in tree.members] == through
    for v in np.flatnonzero(tree.num_children):  # a node's are its children's, side by side
        first = tree.first_child[v]
        children = tree.members[first : first + tree.num_children[v]]
        assert tree.members[v] == list(itertools.chain(*children))
