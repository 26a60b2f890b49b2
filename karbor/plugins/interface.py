# SPDX-License-Identifier: Apache-2.0
"""The contract of plugins: what can be protected (`Protectable`) and how (`Protection`, with one `Work` an operation).

A plugin starts, asks after, finishes and cancels work on one resource; Karbor keeps the books:
what a method returns is recorded before anything else happens, and after an interruption the work
goes on from there. A method may be called from any thread and, after a crash, again. Faults are
raised as they come from the client library; `exception.BackendFault` tells a tenant more.
"""

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from enum import IntFlag
from typing import TYPE_CHECKING, Any, ClassVar

from oslo_config import cfg

if TYPE_CHECKING:
    from karbor.clients import Cloud
    from karbor.objects.restore import Restore
    from karbor.plugins.banks.interface import Section


@dataclass(frozen=True)
class Resource:
    """Something in the cloud. ``type`` and ``id`` are its identity; ``extra_info`` is any JSON object or None."""

    type: str
    id: str
    name: str = field(compare=False)
    extra_info: Any = field(default=None, compare=False)

    @property
    def key(self) -> tuple[str, str]:
        return self.type, self.id


@dataclass(frozen=True)
class State:
    """How the work on a resource stands: ``word`` is build, active, error or a cloud's own word (`statuses`
    knows them).

    ``progress`` is a whole percent or None; ``new_id`` the id of what a restore made, as soon as
    it is known; ``extra`` goes to the operation log's ``extra_info``.
    """

    word: str
    details: str | None = None
    progress: int | None = None
    new_id: str | None = None
    extra: Mapping[str, Any] | None = None


class Hook(IntFlag):
    """When in an operation a resource's work is done: parents' PREPARE_BEGIN before their children's,
    children's PREPARE_FINISH and COMPLETE before their parents', MAIN all at once."""

    PREPARE_BEGIN = 1
    PREPARE_FINISH = 2
    MAIN = 4
    COMPLETE = 8


@dataclass(slots=True)
class Assignment:
    """The ``work`` that a method of `Work` is about: one resource in one operation.

    ``section`` is the bank below this resource's prefix; ``cloud`` makes clients with the user's
    credentials; ``parameters`` are the options of plan or restore for this resource, of the types
    that the schema says; ``new_ids`` maps (type, id) of what the restore has made so far to new ids;
    ``tag`` is to be put on everything that is created in a back end; ``protected``, of a delete, is the
    handle of the protect that made the checkpoint, for a checkpoint whose protect did not get to `finish`; ``source``,
    of a copy, is the ``section`` of the resource in the checkpoint that is copied.

    While a wave is at work there are also ``hook``, the one that is under way; ``check``, which raises when the
    work has to stop; and ``tell``, which writes values to the row of the resource (type, id), whose id may be a
    new one. ``run`` is for what the engine itself brings along.
    """

    operation_id: str
    operation_type: str
    project_id: str
    checkpoint_id: str
    resource: Resource
    tag: str
    attempt: int
    parameters: Mapping[str, Any]
    section: 'Section'
    cloud: 'Cloud'
    new_ids: Mapping[tuple[str, str], str]
    restore: 'Restore | None' = None
    protected: Mapping[str, Any] | None = None
    source: 'Section | None' = None
    operation_started_at: Any = None
    hook: Hook | None = None
    check: Callable[[], None] | None = None
    tell: Callable[..., None] | None = None
    run: Any = None


@dataclass(frozen=True)
class Leftover:
    """An object in a back end that carries a ``tag`` of Karbor. ``created_at`` is naive UTC, None where nobody tells.

    ``is_copy`` tells what a protect made from what a restore made: that is its user's from the moment it is restored.
    """

    kind: str
    id: str
    tag: str
    created_at: Any
    is_copy: bool


class Protectable(ABC):
    """A type of resource of a ``service`` that can be put in a plan.

    A ``container`` has no data of its own and needs no `Protection`.
    """

    resource_type: ClassVar[str]
    service: ClassVar[str] = 'karbor'
    parent_types: ClassVar[tuple[str, ...]] = ()
    container: ClassVar[bool] = False

    @abstractmethod
    def list(self, cloud: 'Cloud', parameters: Mapping[str, Any] | None = None) -> Sequence[Resource]:
        """The resources of the user's project that can be protected now."""

    @abstractmethod
    def show(self, cloud: 'Cloud', id: str, parameters: Mapping[str, Any] | None = None) -> Resource:
        """The resource. Raises ProtectableNotFound, ProtectableInvalidStatus."""

    def children(self, cloud: 'Cloud', parent: Resource) -> Sequence[Resource]:
        """The resources of this type that depend on ``parent``, whose type is one of ``parent_types``."""
        return ()


class Work(ABC):
    """How one kind of operation is done on one resource. ``poll_interval`` is the longest pause between two
    polls, in seconds. ``hook`` may be a combination: the work is done once in each of these waves. ``waits`` tells
    that a call may last as long as the work itself.
    """

    hook: ClassVar[Hook] = Hook.MAIN
    service: ClassVar[str] = 'karbor'
    repeatable: ClassVar[bool] = False
    waits: ClassVar[bool] = False
    poll_interval: float = 15.0

    def __init__(self, config: cfg.ConfigOpts) -> None:
        self.config = config

    def hooks_of(self, resource: Resource) -> Hook:
        """The hooks of ``hook`` that the work on this resource has; the others are passed over."""
        return self.hook

    @abstractmethod
    def start(self, work: Assignment) -> dict[str, Any]:
        """Ask the back end for the work; the answer (JSON) is the handle, recorded before anything else happens."""

    def find(self, work: Assignment) -> dict[str, Any] | None:
        """The handle of what an interrupted `start` of this assignment left behind, by its tag; so a start
        happens once.
        """
        return None

    def poll(self, work: Assignment, handle: dict[str, Any]) -> State:
        """How it stands now. What it changes in ``handle`` is recorded."""
        return State('active')

    def poll_many(self, items: Sequence[tuple[Assignment, dict[str, Any]]]) -> Sequence[State | Exception]:
        """`poll` for each of ``items``, in their order; a plugin that can ask for all in one call does so."""
        return [self._polled(work, handle) for work, handle in items]

    def _polled(self, work: Assignment, handle: dict[str, Any]) -> State | Exception:
        try:
            return self.poll(work, handle)
        except Exception as fault:  # noqa: BLE001  whatever a plugin raises belongs to its resource, not to its neighbours
            return fault

    def finish(self, work: Assignment, handle: dict[str, Any]) -> None:
        """After `active`: put into the bank what a restore needs."""
        return None

    def cancel(self, work: Assignment, handle: dict[str, Any]) -> bool:
        """Undo or stop; also called for what a failed operation leaves. Called again until it answers True:
        all gone.
        """
        return True


class Protection(ABC):
    """How the types of ``resource_types`` are protected: a `Work` class for each operation, None where it
    cannot be done.
    """

    resource_types: ClassVar[tuple[str, ...]]
    OPTIONS: ClassVar[Mapping[str, Sequence[cfg.Opt]]] = {}

    protect: ClassVar[type[Work] | None] = None
    restore: ClassVar[type[Work] | None] = None
    delete: ClassVar[type[Work] | None] = None
    verify: ClassVar[type[Work] | None] = None
    copy: ClassVar[type[Work] | None] = None

    def __init__(self, config: cfg.ConfigOpts) -> None:
        self.config = config

    def check_restore(self, resource_id: str, options: Mapping[str, Any]) -> None:
        """Raise InvalidInput for options that no restore of this resource can have; no cloud is asked for it.

        It is called before a restore is accepted, with what the schema has let through.
        """
        return None

    def tagged(self, cloud: 'Cloud', installation: str) -> Iterable[Leftover]:
        """Everything in the project of ``cloud`` whose tag begins with ``installation``, for the search for orphans.

        A fault of the service is raised: what is not listed must not be taken for gone.
        """
        return ()

    def remove_leftover(self, cloud: 'Cloud', leftover: Leftover) -> bool:
        """Ask for the removal of what `tagged` told; False if it is gone, or does not carry the tag any more."""
        return False

    @classmethod
    def options_schema(cls, resource_type: str) -> dict[str, Any]:
        """The JSON schema of a plan's parameters for this type; the other three likewise."""
        return {}

    @classmethod
    def restore_schema(cls, resource_type: str) -> dict[str, Any]:
        return {}

    @classmethod
    def verify_schema(cls, resource_type: str) -> dict[str, Any]:
        return {}

    @classmethod
    def saved_info_schema(cls, resource_type: str) -> dict[str, Any]:
        return {}
