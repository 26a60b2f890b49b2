# SPDX-License-Identifier: Apache-2.0
"""The resource graph: order, sharing, circles and its text."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from karbor import exception
from karbor.plugins.interface import Resource
from karbor.protection import graph


def resource(id, type='T', name=None, extra_info=None):
    return Resource(type, id, name or f'name of {id}', extra_info)


def built(roots, edges):
    return graph.build([resource(r) for r in roots], lambda parent: [resource(c) for c in edges.get(parent.id, ())])


@st.composite
def forests(draw):
    """Roots and edges without a circle: an edge leads from a lower to a higher number."""
    size = draw(st.integers(1, 12))
    edges = {str(n): draw(st.lists(st.integers(n + 1, size), unique=True)) if n < size else [] for n in range(size)}
    roots = draw(st.lists(st.integers(0, size), min_size=1))
    return [str(r) for r in roots], {parent: [str(c) for c in children] for parent, children in edges.items()}


def reachable(roots, edges):
    found, waiting = set(), list(roots)
    while waiting:
        id = waiting.pop()
        if id not in found:
            found.add(id)
            waiting.extend(edges.get(id, ()))
    return found


@given(forests())
def test_every_reachable_resource_stands_once_with_children_before_parents(forest):
    roots, edges = forest
    made = built(roots, edges)
    ids = [node.id for node in made.nodes]
    assert sorted(ids) == sorted(reachable(roots, edges))
    for position, node in enumerate(made.nodes):
        children = [ids[c] for c in made.children.get(position, ())]
        assert children == edges.get(node.id, [])
        assert all(ids.index(child) < position for child in children)


@given(forests())
def test_a_child_is_deeper_than_each_of_its_parents(forest):
    made = built(*forest)
    below = {child for children in made.children.values() for child in children}
    for position, level in enumerate(made.levels):
        parents = made.parents.get(position, [])
        assert level == (1 + max(made.levels[p] for p in parents) if parents else 0)
        assert (position in below) == (level > 0)


@given(forests())
def test_the_text_gives_the_same_graph_again(forest):
    made = built(*forest)
    again = graph.parse(made.text())
    assert (again.nodes, again.children, again.text()) == (made.nodes, made.children, made.text())


@given(forests())
def test_ancestors_are_exactly_what_reaches_the_node(forest):
    roots, edges = forest
    made = built(roots, edges)
    ids = [node.id for node in made.nodes]
    for position, node in enumerate(made.nodes):
        expected = {id for id in ids if id != node.id and node.id in reachable([id], edges)}
        assert {ids[a] for a in made.ancestors(position)} == expected


def test_the_text_is_as_karbor_1_6_wrote_it():
    volume, server = Resource('OS::Cinder::Volume', 'v1', 'vol1'), Resource('OS::Nova::Server', 's1', 'srv')
    made = graph.build([server], lambda r: [volume] if r is server else [])
    assert json.loads(made.text()) == [
        {'0x0': ['OS::Cinder::Volume', 'v1', 'vol1', None], '0x1': ['OS::Nova::Server', 's1', 'srv', None]},
        [['0x1', ['0x0']]],
    ]


def test_a_text_with_parents_first_is_put_in_order():
    text = '[{"0x0":["T","parent","p",null],"0x1":["T","child","c",{"a":1}]},[["0x0",["0x1"]]]]'
    made = graph.parse(text)
    assert [n.id for n in made.nodes] == ['child', 'parent']
    assert made.nodes[0].extra_info == {'a': 1}


def test_a_resource_under_another_name_is_the_same_resource():
    roots = [Resource('T', 'volume', 'as the plan calls it'), resource('server')]
    made = graph.build(roots, lambda r: [Resource('T', 'volume', 'as cinder calls it')] if r.id == 'server' else [])
    assert [n.id for n in made.nodes] == ['volume', 'server']


def test_one_id_with_two_types_is_two_resources():
    made = graph.build([resource('x', 'A'), resource('x', 'B')], lambda r: [])
    assert [n.type for n in made.nodes] == ['A', 'B']


def test_a_circle_is_refused_and_named():
    with pytest.raises(exception.InvalidInput, match='T a -> T b -> T a'):
        built(['a'], {'a': ['b'], 'b': ['a']})


def test_a_resource_below_itself_is_refused():
    with pytest.raises(exception.InvalidInput):
        built(['a'], {'a': ['a']})


def test_a_fault_of_a_listing_ends_the_building():
    def children_of(parent):
        raise exception.ProtectableListFailed(type='T', reason='away')

    with pytest.raises(exception.ProtectableListFailed):
        graph.build([resource('a')], children_of)


def test_a_chain_deeper_than_the_interpreters_stack_is_built():
    depth = 5000
    made = built(['0'], {str(n): [str(n + 1)] for n in range(depth)})
    assert len(made.nodes) == depth + 1
    assert made.levels[0] == depth


def test_each_resource_is_asked_for_its_children_once():
    asked = []

    def children_of(parent):
        asked.append(parent.id)
        return [resource('shared')] if parent.id != 'shared' else []

    graph.build([resource('a'), resource('b'), resource('c')], children_of)
    assert sorted(asked) == ['a', 'b', 'c', 'shared']
