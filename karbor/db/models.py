# SPDX-License-Identifier: Apache-2.0
"""Every table.

The tables and columns of Karbor 1.6 keep their names and meaning; what is ours stands under the
line "new". A model and the migrations must agree: a test compares them on each database.
"""

import datetime
from collections.abc import Iterator
from typing import Annotated, Any

import orjson
import sqlalchemy as sa
from oslo_db.sqlalchemy import models as oslo_models
from oslo_utils import timeutils
from sqlalchemy import orm
from sqlalchemy.dialects import mysql

# MySQL rounds DATETIME to seconds and cuts TEXT at 64 KiB unless told otherwise.
Moment = sa.DateTime().with_variant(mysql.DATETIME(fsp=6), 'mysql', 'mariadb')
LongText = sa.Text().with_variant(mysql.LONGTEXT(), 'mysql', 'mariadb')
LongBytes = sa.LargeBinary().with_variant(mysql.LONGBLOB(), 'mysql', 'mariadb')


class Json(sa.types.TypeDecorator[Any]):
    """A JSON value in a text column. Nothing is None; lists that only pass it on read the text itself."""

    impl = LongText
    cache_ok = True

    def process_bind_param(self, value: Any, dialect: Any) -> str | None:
        return None if value is None else orjson.dumps(value, option=orjson.OPT_NON_STR_KEYS).decode()

    def process_result_value(self, value: str | None, dialect: Any) -> Any:
        return None if value is None else orjson.loads(value)


# May be NULL and never is: PostgreSQL finds the order of a list in an index only if that is known.
FILLED = {'is_filled': True}
Id = Annotated[str, orm.mapped_column(sa.String(36), primary_key=True)]
Serial = Annotated[int, orm.mapped_column(sa.Integer, primary_key=True, autoincrement=True)]
Ref = Annotated[str, orm.mapped_column(sa.String(36))]
Name = Annotated[str, orm.mapped_column(sa.String(255))]
Word = Annotated[str, orm.mapped_column(sa.String(64))]
Time = Annotated[datetime.datetime, orm.mapped_column(Moment)]
Document = Annotated[Any, orm.mapped_column(Json)]
Long = Annotated[str, orm.mapped_column(LongText)]


class Base(oslo_models.ModelBase, orm.DeclarativeBase):
    __table_args__: Any = ({'mysql_engine': 'InnoDB', 'mysql_charset': 'utf8mb4'},)


def _table(*items: Any) -> tuple[Any, ...]:
    return (*items, *Base.__table_args__)


def _ways(table: str, *columns: str) -> Iterator[sa.Index]:
    """The indexes of a list that is sorted by ``columns``, id and time, or has one of ``columns`` fixed: for the rows
    of a project, and for those of all. The primary key has all rows by id.
    """
    yield sa.Index(f'ix_{table}_project_ids', 'project_id', 'deleted', 'id')
    yield sa.Index(f'ix_{table}_project_created', 'project_id', 'deleted', 'created_at', 'id')
    yield sa.Index(f'ix_{table}_created', 'deleted', 'created_at', 'id')
    for column in columns:
        yield sa.Index(f'ix_{table}_project_{column}', 'project_id', 'deleted', column, 'created_at', 'id')
        yield sa.Index(f'ix_{table}_{column}', 'deleted', column, 'created_at', 'id')


class Kept:
    """The columns that each table of 1.6 begins with. ``deleted`` rows stay until `db purge`."""

    created_at: orm.Mapped[Time | None] = orm.mapped_column(default=timeutils.utcnow, sort_order=-4, info=FILLED)
    updated_at: orm.Mapped[Time | None] = orm.mapped_column(Moment, onupdate=timeutils.utcnow, sort_order=-3)
    deleted_at: orm.Mapped[Time | None] = orm.mapped_column(Moment, sort_order=-2)
    deleted: orm.Mapped[bool] = orm.mapped_column(sa.Boolean, default=False, sort_order=-1)


class Service(Kept, Base):
    __tablename__ = 'services'
    __table_args__ = _table(sa.UniqueConstraint('host', 'binary', name='uniq_services_host_binary'))
    id: orm.Mapped[Serial]
    host: orm.Mapped[Name | None]
    binary: orm.Mapped[Name | None]
    topic: orm.Mapped[Name | None]
    report_count: orm.Mapped[int] = orm.mapped_column(default=0)
    disabled: orm.Mapped[bool | None] = orm.mapped_column(default=False)
    disabled_reason: orm.Mapped[Name | None]
    modified_at: orm.Mapped[Time | None]
    rpc_current_version: orm.Mapped[Ref | None]
    rpc_available_version: orm.Mapped[Ref | None]


class Plan(Kept, Base):
    __tablename__ = 'plans'
    __table_args__ = _table(*_ways('plans', 'name', 'status'))
    id: orm.Mapped[Id]
    name: orm.Mapped[Name | None] = orm.mapped_column(info=FILLED)
    description: orm.Mapped[Name | None]
    provider_id: orm.Mapped[Ref | None]
    project_id: orm.Mapped[Name | None]
    status: orm.Mapped[Word | None] = orm.mapped_column(info=FILLED)
    parameters: orm.Mapped[Document | None]
    resources: orm.Mapped[list['Resource']] = orm.relationship(
        order_by='Resource.id', lazy='raise', cascade='all, delete-orphan', passive_deletes=True
    )


class Resource(Kept, Base):
    """A resource of a plan."""

    __tablename__ = 'resources'
    id: orm.Mapped[Serial]
    plan_id: orm.Mapped[Ref] = orm.mapped_column(sa.ForeignKey('plans.id'), index=True)
    resource_id: orm.Mapped[Ref | None]
    resource_type: orm.Mapped[Word | None]
    resource_name: orm.Mapped[Name | None]
    resource_extra_info: orm.Mapped[Document | None]


class Restore(Kept, Base):
    """A restore. The maps are those of Karbor 1.6; for ours they are views of `operation_resources`."""

    __tablename__ = 'restores'
    __table_args__ = _table(
        *_ways('restores', 'status', 'provider_id'),
        sa.Index('ix_restores_checkpoint', 'checkpoint_id', 'created_at', 'id'),
    )
    id: orm.Mapped[Id]
    project_id: orm.Mapped[Name | None]
    provider_id: orm.Mapped[Ref | None]
    checkpoint_id: orm.Mapped[Ref | None]
    restore_target: orm.Mapped[Name | None]
    parameters: orm.Mapped[Document | None]
    status: orm.Mapped[Word | None] = orm.mapped_column(info=FILLED)
    resources_status: orm.Mapped[Document | None]
    resources_reason: orm.Mapped[Document | None]


class Verification(Kept, Base):
    __tablename__ = 'verifications'
    __table_args__ = _table(
        *_ways('verifications', 'status', 'provider_id'),
        sa.Index('ix_verifications_checkpoint', 'checkpoint_id', 'created_at', 'id'),
    )
    id: orm.Mapped[Id]
    project_id: orm.Mapped[Name]
    provider_id: orm.Mapped[Ref]
    checkpoint_id: orm.Mapped[Ref]
    status: orm.Mapped[Word | None] = orm.mapped_column(info=FILLED)
    parameters: orm.Mapped[Document | None]
    resources_status: orm.Mapped[Document | None]
    resources_reason: orm.Mapped[Document | None]


class OperationLog(Kept, Base):
    """One operation, from the moment it is accepted: its log and, for the `sql` job board, the job itself."""

    __tablename__ = 'operation_logs'
    __table_args__ = _table(
        *_ways('operation_logs', 'operation_type', 'status', 'provider_id'),
        sa.Index('ix_operation_logs_checkpoint', 'checkpoint_id', 'created_at', 'id'),
        sa.Index('ix_operation_logs_plan', 'plan_id', 'created_at', 'id'),
        sa.Index('ix_operation_logs_schedule', 'scheduled_operation_id', 'created_at', 'id'),
        sa.Index('ix_operation_logs_restore', 'restore_id'),
        sa.Index('ix_operation_logs_verification', 'verification_id'),
        sa.Index('ix_operation_logs_source', 'source_checkpoint_id'),
        sa.Index('ix_operation_logs_open', 'ended_at', 'owner', 'priority', 'created_at'),
        sa.Index('ix_operation_logs_folded', 'folded', 'ended_at'),
    )
    id: orm.Mapped[Id]
    project_id: orm.Mapped[Name]
    operation_type: orm.Mapped[Name]
    checkpoint_id: orm.Mapped[Ref | None]
    plan_id: orm.Mapped[Ref | None]
    provider_id: orm.Mapped[Ref | None]
    restore_id: orm.Mapped[Ref | None]
    scheduled_operation_id: orm.Mapped[Ref | None]
    status: orm.Mapped[Word | None] = orm.mapped_column(info=FILLED)
    started_at: orm.Mapped[Time | None]
    ended_at: orm.Mapped[Time | None]
    error_info: orm.Mapped[Long | None]
    extra_info: orm.Mapped[Document | None]
    # -- new: shown by the API
    verification_id: orm.Mapped[Ref | None]
    status_details: orm.Mapped[str | None] = orm.mapped_column(sa.String(4096))
    resumable: orm.Mapped[bool | None]
    # -- new: the checkpoint that a copy is made of; `checkpoint_id` is that of the copy
    source_checkpoint_id: orm.Mapped[Ref | None]
    # -- new: who asked, never the token
    user_id: orm.Mapped[Name | None]
    roles: orm.Mapped[Document | None]
    request_id: orm.Mapped[Name | None]
    # -- new: the job. `owner` is None for an operation of 1.6, which nobody may take up
    parameters: orm.Mapped[Document | None]
    owner: orm.Mapped[Name | None]
    expires_at: orm.Mapped[float | None] = orm.mapped_column(sa.Double)
    epoch: orm.Mapped[int] = orm.mapped_column(default=0, server_default='0')
    beat: orm.Mapped[int] = orm.mapped_column(default=0, server_default='0')
    priority: orm.Mapped[int] = orm.mapped_column(default=0, server_default='0')
    cancel_requested: orm.Mapped[bool] = orm.mapped_column(default=False, server_default='0')
    # -- new: whether its resources are in `folded_resources`
    folded: orm.Mapped[bool] = orm.mapped_column(default=False, server_default='0')


class OperationResource(Base):
    """One resource of one operation: the one place that per-resource truth comes from.

    ``position`` is the resource's place in the graph (children before parents), ``level`` its
    depth below the roots, ``hooks`` the bits of the hooks that are done,
    ``handle`` what the back end gave for the work that was started, ``attempt`` counts retries.
    """

    __tablename__ = 'operation_resources'
    operation_id: orm.Mapped[str] = orm.mapped_column(
        sa.String(36), sa.ForeignKey('operation_logs.id', ondelete='CASCADE'), primary_key=True
    )
    position: orm.Mapped[int] = orm.mapped_column(primary_key=True, autoincrement=False)
    level: orm.Mapped[int] = orm.mapped_column(default=0)
    resource_type: orm.Mapped[Word]
    resource_id: orm.Mapped[Name]
    resource_name: orm.Mapped[Name | None]
    new_id: orm.Mapped[Name | None]
    status: orm.Mapped[str | None] = orm.mapped_column(sa.Enum('active', 'build', 'error', name='resource_status'))
    status_details: orm.Mapped[str | None] = orm.mapped_column(sa.String(4096))
    progress: orm.Mapped[int | None]
    hooks: orm.Mapped[int] = orm.mapped_column(default=0)
    handle: orm.Mapped[Document | None]
    attempt: orm.Mapped[int] = orm.mapped_column(default=1)
    extra: orm.Mapped[Document | None]
    started_at: orm.Mapped[Time | None]
    ended_at: orm.Mapped[Time | None]


class FoldedResources(Base):
    """The resources of one operation that ended long ago, all columns of all rows: see `folding`."""

    __tablename__ = 'folded_resources'
    operation_id: orm.Mapped[str] = orm.mapped_column(
        sa.String(36), sa.ForeignKey('operation_logs.id', ondelete='CASCADE'), primary_key=True
    )
    number: orm.Mapped[int]
    resources: orm.Mapped[bytes] = orm.mapped_column(LongBytes)


class Trigger(Kept, Base):
    __tablename__ = 'triggers'
    __table_args__ = _table(
        *_ways('triggers', 'name', 'type'),
        sa.Index('ix_triggers_next_run_at', 'next_run_at'),
    )
    id: orm.Mapped[Id]
    name: orm.Mapped[Name]
    project_id: orm.Mapped[Name]
    type: orm.Mapped[Word]
    properties: orm.Mapped[Document]
    # -- new: when the trigger is due; the only thing that firing needs
    next_run_at: orm.Mapped[Time | None]


class TriggerExecution(Kept, Base):
    """Written by Karbor 1.6 only; `triggers.next_run_at` took its place."""

    __tablename__ = 'trigger_executions'
    id: orm.Mapped[Id]
    trigger_id: orm.Mapped[Ref] = orm.mapped_column(unique=True, index=True)
    execution_time: orm.Mapped[Time] = orm.mapped_column(index=True)


class ScheduledOperation(Kept, Base):
    __tablename__ = 'scheduled_operations'
    __table_args__ = _table(*_ways('scheduled_operations', 'name', 'operation_type'))
    id: orm.Mapped[Id]
    name: orm.Mapped[Name]
    description: orm.Mapped[Name | None]
    operation_type: orm.Mapped[Word]
    user_id: orm.Mapped[Word]
    project_id: orm.Mapped[Name]
    trigger_id: orm.Mapped[Ref] = orm.mapped_column(sa.ForeignKey('triggers.id'), index=True)
    operation_definition: orm.Mapped[Document]
    enabled: orm.Mapped[bool] = orm.mapped_column(default=True)


class ScheduledOperationState(Kept, Base):
    __tablename__ = 'scheduled_operation_states'
    id: orm.Mapped[Serial]
    operation_id: orm.Mapped[Ref] = orm.mapped_column(
        sa.ForeignKey('scheduled_operations.id', ondelete='CASCADE'), unique=True, index=True
    )
    service_id: orm.Mapped[int] = orm.mapped_column(sa.ForeignKey('services.id'), index=True)
    trust_id: orm.Mapped[Word]
    state: orm.Mapped[str] = orm.mapped_column(sa.String(32))
    end_time_for_run: orm.Mapped[Time | None]


class ScheduledOperationLog(Kept, Base):
    __tablename__ = 'scheduled_operation_logs'
    id: orm.Mapped[Serial]
    operation_id: orm.Mapped[Ref] = orm.mapped_column(
        sa.ForeignKey('scheduled_operations.id', ondelete='CASCADE'), index=True
    )
    expect_start_time: orm.Mapped[Time | None]
    triggered_time: orm.Mapped[Time | None]
    actual_start_time: orm.Mapped[Time | None]
    end_time: orm.Mapped[Time | None]
    state: orm.Mapped[str] = orm.mapped_column(sa.String(32))
    extend_info: orm.Mapped[Long | None]


class CheckpointRecord(Kept, Base):
    """One checkpoint: what lists and filters need, with the plan as it was. ``id`` is the checkpoint's own."""

    __tablename__ = 'checkpoint_records'
    __table_args__ = _table(
        sa.Index('ix_checkpoint_records_plan', 'plan_id', 'created_at', 'id'),
        sa.Index('ix_checkpoint_records_quota', 'project_id', 'deleted', 'checkpoint_status'),
        # They are listed by provider, for a project and for all.
        sa.Index('ix_checkpoint_records_project_ids', 'project_id', 'provider_id', 'id'),
        sa.Index('ix_checkpoint_records_provider', 'project_id', 'provider_id', 'created_at', 'id'),
        sa.Index('ix_checkpoint_records_created', 'provider_id', 'created_at', 'id'),
        sa.Index(
            'ix_checkpoint_records_project_status',
            *('project_id', 'provider_id', 'checkpoint_status', 'created_at', 'id'),
        ),
        sa.Index('ix_checkpoint_records_status', 'provider_id', 'checkpoint_status', 'created_at', 'id'),
    )
    id: orm.Mapped[Id]
    project_id: orm.Mapped[Name]
    checkpoint_id: orm.Mapped[Ref]
    checkpoint_status: orm.Mapped[Ref]
    provider_id: orm.Mapped[Ref]
    plan_id: orm.Mapped[Ref]
    operation_id: orm.Mapped[Ref | None]
    create_by: orm.Mapped[Ref | None]
    extend_info: orm.Mapped[Long | None]
    # -- new
    protection_plan: orm.Mapped[Document | None]
    status_details: orm.Mapped[str | None] = orm.mapped_column(sa.String(4096))


class CheckpointGraph(Base):
    """A checkpoint's resource graph, as the text that the API shows: over a megabyte for 10,000 resources."""

    __tablename__ = 'checkpoint_graphs'
    checkpoint_id: orm.Mapped[Id]
    graph: orm.Mapped[Long]


class Provider(Base):
    """What the protection service of one host has loaded; alive as long as that service is."""

    __tablename__ = 'providers'
    id: orm.Mapped[Id]
    host: orm.Mapped[str] = orm.mapped_column(sa.String(255), primary_key=True)
    name: orm.Mapped[Name]
    description: orm.Mapped[Name | None]
    extended_info_schema: orm.Mapped[Document]
    resource_types: orm.Mapped[Document]
    unavailable: orm.Mapped[Document | None]
    options: orm.Mapped[Document | None]
    digest: orm.Mapped[Word]
    published_at: orm.Mapped[Time] = orm.mapped_column(default=timeutils.utcnow)


class Trust(Base):
    """A Keystone trust for one user, project and set of roles. Never a token or password."""

    __tablename__ = 'trusts'
    __table_args__ = _table(sa.UniqueConstraint('user_id', 'project_id', 'roles_digest', name='uniq_trusts_who'))
    id: orm.Mapped[Word] = orm.mapped_column(primary_key=True)
    user_id: orm.Mapped[Name]
    project_id: orm.Mapped[Name]
    roles_digest: orm.Mapped[Word]
    created_at: orm.Mapped[Time] = orm.mapped_column(default=timeutils.utcnow)
    used_at: orm.Mapped[Time | None] = orm.mapped_column(Moment, index=True)


class Installation(Base):
    """One row: the id that everything of this Karbor carries in back ends and banks, made at the first `db sync`; and
    when a node began the daily task."""

    __tablename__ = 'installation'
    id: orm.Mapped[Id]
    created_at: orm.Mapped[Time] = orm.mapped_column(default=timeutils.utcnow)
    tidied_at: orm.Mapped[Time | None]


class IdempotencyKey(Base):
    """A POST that came with `Idempotency-Key`, and its answer once there is one.

    ``id`` is a digest of project, user and key, ``request`` one of what was asked. What the request makes gets its ids
    from ``source``. ``attempt`` has the key until ``claimed_until``. ``status`` is None until the answer is known.
    """

    __tablename__ = 'idempotency_keys'
    __table_args__ = _table(sa.Index('ix_idempotency_keys_created', 'created_at'))
    id: orm.Mapped[Word] = orm.mapped_column(primary_key=True)
    request: orm.Mapped[Word]
    source: orm.Mapped[Ref]
    attempt: orm.Mapped[int] = orm.mapped_column(default=1)
    claimed_until: orm.Mapped[Time]
    status: orm.Mapped[int | None]
    headers: orm.Mapped[Document | None]
    body: orm.Mapped[Long | None]
    created_at: orm.Mapped[Time] = orm.mapped_column(default=timeutils.utcnow)


class Quota(Kept, Base):
    __tablename__ = 'quotas'
    __table_args__ = _table(sa.UniqueConstraint('project_id', 'resource', name='uniq_quotas_project_resource'))
    id: orm.Mapped[Serial]
    project_id: orm.Mapped[Name]
    resource: orm.Mapped[Name]
    hard_limit: orm.Mapped[int | None]


class QuotaClass(Kept, Base):
    __tablename__ = 'quota_classes'
    __table_args__ = _table(sa.UniqueConstraint('class_name', 'resource', name='uniq_quota_classes_name_resource'))
    id: orm.Mapped[Serial]
    class_name: orm.Mapped[Name]
    resource: orm.Mapped[Name]
    hard_limit: orm.Mapped[int | None]


class QuotaUsage(Kept, Base):
    """The row of a project and resource that counting locks. The numbers are those of 1.6: ours are counted
    from the rows.
    """

    __tablename__ = 'quota_usages'
    __table_args__ = _table(sa.UniqueConstraint('project_id', 'resource', name='uniq_quota_usages_project_resource'))
    id: orm.Mapped[Serial]
    project_id: orm.Mapped[Name]
    resource: orm.Mapped[Name]
    in_use: orm.Mapped[int | None]
    reserved: orm.Mapped[int | None]
    until_refresh: orm.Mapped[int | None]


class Reservation(Kept, Base):
    """Written by Karbor 1.6 only."""

    __tablename__ = 'reservations'
    id: orm.Mapped[Serial]
    uuid: orm.Mapped[Ref]
    usage_id: orm.Mapped[int] = orm.mapped_column(sa.ForeignKey('quota_usages.id'), index=True)
    project_id: orm.Mapped[Name | None] = orm.mapped_column(index=True)
    resource: orm.Mapped[Name | None]
    delta: orm.Mapped[int]
    expire: orm.Mapped[Time | None]
