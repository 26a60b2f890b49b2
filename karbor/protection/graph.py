# SPDX-License-Identifier: Apache-2.0
"""The resource graph of an operation: what a plan names, and what depends on it."""

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from functools import cached_property

import orjson

from karbor import exception
from karbor.plugins.interface import Resource

Key = tuple[str, str]


@dataclass
class Graph:
    """``nodes`` in the order that children stand before their parents; ``children`` by position in ``nodes``.

    Each resource stands in it once, whatever number of parents it has: (type, id) is its identity.
    """

    nodes: list[Resource] = field(default_factory=list)
    children: dict[int, list[int]] = field(default_factory=dict)

    @cached_property
    def positions(self) -> dict[Key, int]:
        """The position of each (type, id)."""
        return {node.key: position for position, node in enumerate(self.nodes)}

    @cached_property
    def parents(self) -> dict[int, list[int]]:
        """The positions of each position's parents."""
        found: dict[int, list[int]] = {}
        for parent, children in self.children.items():
            for child in children:
                found.setdefault(child, []).append(parent)
        return found

    @cached_property
    def levels(self) -> list[int]:
        """The depth of each node: 0 for a root, one more than its deepest parent for any other."""
        levels = [0] * len(self.nodes)
        for position in reversed(range(len(self.nodes))):  # parents come later in `nodes`
            for child in self.children.get(position, ()):
                levels[child] = max(levels[child], levels[position] + 1)
        return levels

    def ancestors(self, position: int) -> Iterator[int]:
        """Everything that depends on the node, each once."""
        seen: set[int] = set()
        waiting = list(self.parents.get(position, ()))
        while waiting:
            parent = waiting.pop()
            if parent not in seen:
                seen.add(parent)
                yield parent
                waiting.extend(self.parents.get(parent, ()))

    def text(self) -> str:
        """The JSON text that the API and the bank hold: ``[{sid: [type, id, name, extra_info]}, [[parent,
        [children]]]]``.
        """
        nodes = {hex(i): [r.type, r.id, r.name, r.extra_info] for i, r in enumerate(self.nodes)}
        adjacency = [[hex(p), [hex(c) for c in self.children[p]]] for p in sorted(self.children)]
        return orjson.dumps([nodes, adjacency]).decode()


def parse(text: str) -> Graph:
    """The graph that ``text`` tells, in its order, or in ours if it has parents before their children.
    Raises ValueError.
    """
    nodes, adjacency = orjson.loads(text)
    positions = {sid: position for position, sid in enumerate(nodes)}
    resources = [Resource(*(list(node) + [None])[:4]) for node in nodes.values()]
    children = {positions[parent]: [positions[sid] for sid in sids] for parent, sids in adjacency}
    if all(child < parent for parent, found in children.items() for child in found):
        return Graph(resources, children)
    below = {child for found in children.values() for child in found}
    places = {resource.key: position for position, resource in enumerate(resources)}
    roots = [resource for position, resource in enumerate(resources) if position not in below]
    return build(roots or resources, lambda r: [resources[c] for c in children.get(places[r.key], ())])


def build(roots: Sequence[Resource], children_of: Callable[[Resource], Iterable[Resource]]) -> Graph:
    """The graph below ``roots``. ``children_of`` is asked once for each resource; what it raises ends the building.

    Raises InvalidInput when a resource depends on itself. Neither depth nor sharing costs more than
    the number of edges.
    """
    graph = Graph()
    positions: dict[Key, int] = {}
    path: dict[Key, None] = {}
    for root in roots:
        stack: list[tuple[Resource, list[Resource], Iterator[Resource]]] = []
        _enter(root, children_of, positions, path, stack)
        while stack:
            resource, children, left = stack[-1]
            child = next(left, None)
            if child is not None:
                _enter(child, children_of, positions, path, stack)
                continue
            stack.pop()
            del path[resource.key]
            positions[resource.key] = len(graph.nodes)
            if children:
                graph.children[len(graph.nodes)] = [positions[c.key] for c in children]
            graph.nodes.append(resource)
    return graph


def _enter(
    resource: Resource,
    children_of: Callable[[Resource], Iterable[Resource]],
    positions: dict[Key, int],
    path: dict[Key, None],
    stack: list[tuple[Resource, list[Resource], Iterator[Resource]]],
) -> None:
    if resource.key in path:
        circle = ' -> '.join(
            f'{type} {id}' for type, id in [*list(path)[list(path).index(resource.key) :], resource.key]
        )
        raise exception.InvalidInput(field='resources', reason=f'a resource depends on itself: {circle}')
    if resource.key not in positions:
        children = list({child.key: child for child in children_of(resource)}.values())
        path[resource.key] = None
        stack.append((resource, children, iter(children)))
