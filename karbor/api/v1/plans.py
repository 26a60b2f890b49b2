# SPDX-License-Identifier: Apache-2.0
"""Plans: which resources belong together, and the options of their protection."""

from collections import defaultdict
from collections.abc import Iterable, Sequence
from typing import Any

from karbor import exception, parameters, policies, quota
from karbor.api import etag, events, listing, owned, published, schema, views
from karbor.api.method import Call, method
from karbor.db import engine, models, repository
from karbor.objects.plan import Plan
from karbor.statuses import PlanStatus

PARAMETERS = schema.PARAMETERS | {'properties': dict.fromkeys(parameters.PLAN_OPTIONS, {'type': ['boolean', 'string']})}
CREATE = schema.envelope(
    'plan',
    required=('name', 'provider_id', 'resources', 'parameters'),
    name=schema.NAME,
    description=schema.DESCRIPTION,
    provider_id=schema.UUID,
    resources=schema.RESOURCES,
    parameters=PARAMETERS,
)
UPDATE = schema.envelope(
    'plan',
    name=schema.NAME,
    description=schema.DESCRIPTION,
    status={'enum': list(PlanStatus)},
    resources=schema.RESOURCES,
)
UPDATE['properties']['plan']['minProperties'] = 1
SHOWN = {
    'id': schema.UUID,
    'name': schema.NULLABLE_TEXT,
    'description': schema.NULLABLE_TEXT,
    'provider_id': schema.NULLABLE_TEXT,
    'status': schema.NULLABLE_TEXT,
    'resources': {'type': 'array', 'items': schema.RESOURCES['items']},
    'parameters': schema.OBJECT,
}
PLANS = listing.Collection(
    'plans',
    models.Plan,
    filters={'name': listing.containing, 'description': listing.containing, 'status': listing.exactly},
    option='query_plan_filters',
)
COLUMNS = ('id', 'name', 'description', 'provider_id', 'status', 'project_id', views.as_text(models.Plan.parameters))


@method('plan:get_all', query=PLANS.query, reply=schema.replies('plans', **SHOWN))
def index(call: Call) -> dict[str, Any]:
    """List plans."""
    with engine.reading():
        return PLANS.reply(call, _views(PLANS.read(call, COLUMNS)))


@method(
    'plan:create',
    body=CREATE,
    reply=schema.reply('plan', **SHOWN),
    event=events.Event('plan_create', name=events.given('plan', 'name')),
    tagged=True,
)
def create(call: Call) -> dict[str, Any]:
    """Create a plan."""
    given = call.body['plan']
    resources = _resources(given['resources'])
    try:
        provider = published.alive(given['provider_id'])
    except exception.ProviderNotFound as unknown:
        raise exception.InvalidInput(field='plan/provider_id', reason=unknown.text) from None
    _check_available(resources, provider)
    plan = Plan.new(
        id=call.id,
        name=given['name'],
        description=given.get('description'),
        provider_id=provider.id,
        project_id=call.context.project_id,
        status=PlanStatus.SUSPENDED,
        resources=resources,
        parameters=_options(given['parameters'], resources, provider),
    )
    _insert(plan, call.again)
    call.headers['ETag'] = etag.of(plan.id)
    return {'plan': {name: getattr(plan, name) for name in SHOWN}}


@method('plan:get', reply=schema.reply('plan', **SHOWN), tagged=True)
def show(call: Call, plan_id: str) -> dict[str, Any]:
    """Show a plan."""
    with engine.reading():
        rows = repository.find(models.Plan, (*COLUMNS, 'updated_at'), {'id': plan_id})
        if not rows or not policies.allows('plan:get', call.context, rows[0].project_id):
            raise exception.PlanNotFound(id=plan_id)
        etag.put(call, rows[0])
        return {'plan': _views(rows)[0]}


@method(
    'plan:update',
    body=UPDATE,
    reply=schema.reply('plan', **SHOWN),
    event=events.Event('plan_update', id=events.variable('plan_id')),
    tagged=True,
)
def update(call: Call, plan_id: str) -> dict[str, Any]:
    """Update a plan, in either state. ``resources`` replaces the whole list."""
    plan = find(call, plan_id, 'plan:update')
    expected = etag.expected(call, models.Plan, plan_id)
    changes = dict(call.body['plan'])
    if 'resources' in changes:
        changes['resources'] = _resources(changes['resources'])
        for provider in published.find(plan.provider_id):
            _check_available(changes['resources'], provider)
    for name, value in changes.items():
        setattr(plan, name, value)
    if not plan.save(**expected):
        raise etag.changed() if expected else exception.PlanNotFound(id=plan_id)
    return show.function(call, plan_id)


@method(
    'plan:delete',
    event=events.Event('plan_delete', id=events.variable('plan_id')),
    tagged=True,
    faults=(409,),
)
def delete(call: Call, plan_id: str) -> None:
    """Delete a plan that no scheduled operation uses. Its checkpoints stay."""
    _remove(find(call, plan_id, 'plan:delete'), etag.expected(call, models.Plan, plan_id))


@engine.repeated
def _remove(plan: Plan, expected: dict[str, Any]) -> None:
    """The row is locked before it is looked for uses: who schedules it locks it, too."""
    with engine.writing():
        repository.lock(models.Plan, plan.id)
        uses = {'project_id': plan.project_id, 'operation_definition': repository.Contains(plan.id)}
        for operation in repository.find(models.ScheduledOperation, ['id'], uses, limit=1):
            raise exception.PlanInUse(id=plan.id, blocker=operation.id)
        if not plan.destroy(**expected):
            raise etag.changed() if expected else exception.PlanNotFound(id=plan.id)


def find(call: Call, plan_id: str, rule: str) -> Plan:
    """The plan, if the caller may see it and do ``rule`` to it. Raises PlanNotFound, Forbidden."""
    return owned.find(call, Plan, plan_id, 'plan:get', rule)


@engine.repeated
def _insert(plan: Plan, again: bool) -> None:
    with engine.writing():
        if again and Plan.was_made(plan.id):
            return
        quota.reserve('plans', str(plan.project_id))
        plan.create()


def _resources(given: Iterable[dict[str, Any]]) -> list[dict[str, Any]]:
    """The resources with the keys that are kept. Raises InvalidInput for one that is named twice."""
    seen: set[tuple[str, str]] = set()
    kept = []
    for place, resource in enumerate(given):
        key = resource['type'], resource['id']
        if key in seen:
            raise exception.InvalidInput(
                field=f'plan/resources/{place}', reason=f'{key[0]} {key[1]} is in the list already'
            )
        seen.add(key)
        names = ('id', 'type', 'name', 'extra_info') if resource.get('extra_info') else ('id', 'type', 'name')
        kept.append({name: resource[name] for name in names})
    return kept


def _check_available(resources: Sequence[dict[str, Any]], provider: published.Published) -> None:
    """Raises InvalidInput for a type whose plugin could not be loaded. Others are for the operation to judge."""
    for place, resource in enumerate(resources):
        reason = provider.lack_of(resource['type'])
        if reason:
            told = f'{resource["type"]} is unavailable at this provider: {reason}'
            raise exception.InvalidInput(field=f'plan/resources/{place}/type', reason=told[:170])


def _options(
    given: dict[str, Any], resources: Sequence[dict[str, Any]], provider: published.Published
) -> dict[str, Any]:
    """The plan's parameters, of the types that the provider's schemas say. Types that the plan holds or that another
    provider knows may have some, too as in Karbor 1.6: they wait for a plugin.
    """
    schemas = provider.schemas['options_schema']
    others = {resource['type'] for resource in resources}
    if any(key.partition('#')[0] not in {*schemas, *others, *parameters.PLAN_OPTIONS} for key in given):
        others.update(type for known in published.find() for type in known.resource_types)
    return parameters.checked(given, schemas, others, 'plan/parameters')


def _views(rows: Sequence[Any]) -> list[dict[str, Any]]:
    """The views of these plans; their resources take one statement."""
    resources: dict[str, list[dict[str, Any]]] = defaultdict(list)
    found = repository.find(
        models.Resource,
        (
            'plan_id',
            'resource_id',
            'resource_type',
            'resource_name',
            views.as_text(models.Resource.resource_extra_info),
        ),
        {'plan_id': listing.exactly([row.id for row in rows])} if rows else {'plan_id': None},
        sort=[('id', 'asc')],
    )
    for row in found:
        resources[row.plan_id].append(_resource(row))
    return [_view(row, resources[row.id]) for row in rows]


def _resource(row: Any) -> dict[str, Any]:
    shown = {'id': row.resource_id, 'type': row.resource_type, 'name': row.resource_name}
    return shown | {'extra_info': views.stored(row.resource_extra_info)} if row.resource_extra_info else shown


def _view(row: Any, resources: list[dict[str, Any]]) -> dict[str, Any]:
    return {
        'id': row.id,
        'name': row.name,
        'description': row.description,
        'provider_id': row.provider_id,
        'status': row.status,
        'resources': resources,
        'parameters': views.stored(row.parameters, {}),
    }
