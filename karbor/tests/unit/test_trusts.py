# SPDX-License-Identifier: Apache-2.0
"""Trusts against the sandbox's Keystone over HTTP, and operations that outlive the token they came with."""

import concurrent.futures
import datetime
import threading
import time
import uuid

import pytest
from keystoneauth1 import session as keystone_session
from keystoneauth1.identity import v3
from oslo_config import cfg
from oslo_utils import timeutils

from karbor import clients, credentials, keystone, trusts
from karbor.conf import opts
from karbor.context import RequestContext
from karbor.db import models, repository
from karbor.objects.plan import Plan
from karbor.plugins.share import ManilaSnapshot
from karbor.sandbox.cloud import Sandbox
from karbor.tests.plugins.driver import of_share
from karbor.tests.unit.protection.service import PROVIDER, Service

TRUSTS = 'POST /OS-TRUST/trusts'
LOGIN = 'POST /auth/tokens'


@pytest.fixture
def sandbox(tmp_path):
    with Sandbox(tmp_path / 'cloud', speed=30) as running:
        yield running


CONFIGURATION = """\
[{group}]
auth_type = password
auth_url = {auth_url}
username = {user[name]}
password = {password}
project_name = {user[project]}
user_domain_id = default
project_domain_id = default
"""


@pytest.fixture(params=['keystone_authtoken'])
def configured(request, database, sandbox, tmp_path, monkeypatch):
    """A configuration of its own: what keystoneauth registers for a service user would bind all other tests.

    configured(password) is one in which the service user has another password.
    """

    def configure(password=None):
        user, path = sandbox.service_user, tmp_path / 'karbor.conf'
        told = {'auth_url': sandbox.auth_url, 'user': user, 'password': password or user['password']}
        path.write_text(CONFIGURATION.format(group=request.param, **told))
        made = cfg.ConfigOpts()
        opts.register(made)
        made([f'--config-file={path}'], project='karbor', default_config_files=[])
        for module in (keystone, trusts):
            monkeypatch.setattr(module, 'CONF', made)
        monkeypatch.setattr(trusts._Keystone, 'missed', None)
        keystone.service_auth.cache_clear()
        trusts._auth.cache_clear()
        return made

    configure()
    yield configure
    keystone.service_auth.cache_clear()


@pytest.fixture
def conf(configured):
    return trusts.CONF


@pytest.fixture
def login(sandbox):
    """login(name) is the context of a request of that user; with a trust, of whoever got the trust."""

    def context(name='demo', trust=None):
        user = next(u for u in [*sandbox.users, sandbox.service_user] if u['name'] == name)
        scope = {'trust_id': trust} if trust else {'project_name': user['project'], 'project_domain_id': 'default'}
        auth = v3.Password(
            sandbox.auth_url, username=name, password=user['password'], user_domain_id='default', **scope
        )
        token = auth.get_access(keystone_session.Session())
        return RequestContext(
            overwrite=False,
            auth_token=token.auth_token,
            user_id=token.user_id,
            project_id=token.project_id,
            project_name=token.project_name,
            roles=token.role_names,
            service_catalog=token.service_catalog.catalog,
        )

    return context


def rows():
    return repository.find(models.Trust, sort=[('id', 'asc')])


def calls(sandbox):
    """The calls to Keystone since the last look."""
    made = sandbox.faults.calls().get('keystone', {})
    sandbox.faults.forget_calls()
    return made


def people(sandbox, name):
    return next(u for u in sandbox.identity.users.values() if u.name == name)


def operation(context, **more):
    """An operation that the user asked for, as its row."""
    return models.OperationLog(
        **{
            'id': str(uuid.uuid4()),
            'user_id': context.user_id,
            'project_id': context.project_id,
            'roles': context.roles,
            'operation_type': 'protect',
            'resumable': True,
            **more,
        }
    )


def cloud(of):
    return clients.Cloud(lambda: credentials.session(of), of.project_id)


def shares(of):
    return {share.name for share in cloud(of).client('manila').shares.list()}


def fault_of(call, *arguments):
    """What a tenant reads of what the call raises."""
    with pytest.raises(Exception) as raised:
        call(*arguments)
    return clients.fault('manila', raised.value)


# --- making ----------------------------------------------------------------------------------------


@pytest.mark.parametrize('configured', ['keystone_authtoken', 'trustee'], indirect=True)
def test_a_trust_is_made_once_and_asks_keystone_no_more(conf, sandbox, login):
    context = login()
    id, reason = trusts.ensure(context)
    assert reason is None
    made = sandbox.identity.trusts[id]
    assert (made.trustor.name, made.trustee.name, made.project.name) == ('demo', 'karbor', 'demo')
    assert (made.roles, made.impersonation, made.expires_at) == (['member', 'reader'], True, None)
    (row,) = rows()
    assert (row.id, row.user_id, row.project_id) == (id, context.user_id, context.project_id)
    calls(sandbox)
    assert trusts.ensure(login()) == (id, None)
    assert set(calls(sandbox)) == {LOGIN}  # the user's own
    assert len(sandbox.identity.trusts) == 1


def test_each_user_and_role_set_has_a_trust_of_its_own(conf, sandbox, login):
    found = {trusts.ensure(login(name))[0] for name in ('demo', 'reader', 'other')}
    few = login()
    few.roles = ['reader']
    found.add(trusts.ensure(few)[0])
    assert len(found - {None}) == 4
    assert sandbox.identity.trusts[trusts.ensure(few)[0]].roles == ['reader']


def test_one_trust_survives_when_eight_threads_make_it_at_once(conf, sandbox, login):
    contexts = [login() for _ in range(8)]
    barrier = threading.Barrier(8)
    sandbox.faults.add({'service': 'keystone', 'match': TRUSTS, 'kind': 'slow', 'seconds': 0.3, 'times': None})
    calls(sandbox)

    def ensure(context):
        barrier.wait()
        return trusts.ensure(context)

    with concurrent.futures.ThreadPoolExecutor(8) as pool:
        found = set(pool.map(ensure, contexts))
    (row,) = rows()
    assert found == {(row.id, None)}
    assert list(sandbox.identity.trusts) == [row.id]
    assert calls(sandbox)[TRUSTS] == 8


@pytest.mark.parametrize(
    ('wanted', 'roles', 'expected'),
    [
        ([], ['reader', 'member'], ['member', 'reader']),
        ([], ['admin', 'member', 'reader'], ['member', 'reader']),
        ([], ['admin'], ['admin']),
        ([], [], []),
        (['Member'], ['member', 'reader'], ['member']),
        (['member', 'creator'], ['member', 'reader'], ['member']),
        (['creator'], ['member', 'reader'], []),
        (['admin'], ['admin', 'member'], ['admin']),
    ],
)
def test_roles_are_handed_on_as_the_option_says(conf, wanted, roles, expected):
    conf.set_override('delegated_roles', wanted, 'trustee')
    assert trusts.delegated(roles) == expected


def test_only_the_roles_of_the_option_are_in_the_trust(conf, sandbox, login):
    conf.set_override('delegated_roles', ['reader'], 'trustee')
    id, _ = trusts.ensure(login())
    assert sandbox.identity.trusts[id].roles == ['reader']
    conf.set_override('delegated_roles', ['creator'], 'trustee')
    assert trusts.ensure(login()) == (None, trusts.NO_ROLES)


def test_an_administrator_hands_on_no_admin(conf, sandbox, login):
    id, _ = trusts.ensure(login('admin'))
    assert sandbox.identity.trusts[id].roles == ['member', 'reader']


def test_there_is_no_trust_from_somebody_who_acts_through_one(conf, sandbox, login):
    id, _ = trusts.ensure(login())
    trusts.forget(id)
    assert trusts.ensure(login('karbor', trust=id)) == (None, trusts.REFUSED)
    assert rows() == []


@pytest.mark.parametrize(
    ('status', 'reason'),
    [(400, trusts.REFUSED), (401, trusts.REFUSED), (403, trusts.REFUSED), (429, trusts.AWAY), (500, trusts.AWAY)],
)
def test_there_is_no_trust_when_keystone_refuses(conf, sandbox, login, status, reason):
    context = login()
    sandbox.faults.add({'service': 'keystone', 'match': TRUSTS, 'kind': 'status', 'status': status})
    assert trusts.ensure(context) == (None, reason)
    assert (rows(), sandbox.identity.trusts) == ([], {})


def test_there_is_no_trust_without_a_user_of_karbor(database, login, monkeypatch):
    keystone.service_auth.cache_clear()
    made = cfg.ConfigOpts()
    opts.register(made)
    made([], project='karbor', default_config_files=[])
    for module in (keystone, trusts):
        monkeypatch.setattr(module, 'CONF', made)
    assert trusts.ensure(login()) == (None, trusts.NOT_CONFIGURED)


def test_there_is_no_trust_when_karbor_has_a_wrong_password(configured, login):
    configured('wrong')
    assert trusts.ensure(login()) == (None, trusts.NOT_CONFIGURED)


def test_there_is_no_trust_without_a_user(conf, login):
    assert trusts.ensure(RequestContext(is_admin=True, overwrite=False)) == (None, trusts.NOT_AUTHENTICATED)
    conf.set_override('auth_strategy', 'noauth')
    assert trusts.ensure(login()) == (None, trusts.NOT_AUTHENTICATED)


@pytest.mark.parametrize('kind', ['drop_before', 'timeout'])
def test_nobody_waits_for_a_keystone_that_is_away(conf, sandbox, login, kind):
    conf.set_override('rpc_accept_timeout', 2)
    context = login()
    fault = {'service': 'keystone', 'kind': kind, 'times': None, 'seconds': 30}
    sandbox.faults.add({**fault, 'match': '* /'})
    began = time.monotonic()
    assert trusts.ensure(context) == (None, trusts.AWAY)
    first = time.monotonic() - began
    assert first < 2
    began = time.monotonic()
    assert trusts.ensure(context) == (None, trusts.AWAY)
    assert time.monotonic() - began < 0.1
    sandbox.faults.clear()
    trusts._Keystone.missed -= trusts.AWAY_SECONDS
    assert trusts.ensure(context)[0]


# --- acting ----------------------------------------------------------------------------------------


def test_a_session_of_a_trust_acts_as_the_user_when_the_token_is_gone(conf, sandbox, login):
    context = login()
    trusts.ensure(context)
    sandbox.identity.revoke(sandbox.identity.validate(context.auth_token))
    of = operation(context)
    assert shares(of) == {'documents', 'photos', 'scratch'}
    session = credentials.session(of)
    assert (session.get_user_id(), session.get_project_id()) == (context.user_id, context.project_id)


def test_all_sessions_of_a_trust_share_one_login(conf, sandbox, login):
    context = login()
    trusts.ensure(context)
    calls(sandbox)
    for _ in range(3):
        credentials.session(operation(context)).get_token()
    assert calls(sandbox)[LOGIN] == 1


def test_a_session_of_a_trust_renews_its_token(conf, sandbox, login):
    context = login()
    trusts.ensure(context)
    sandbox.identity.token_seconds = 0.3
    of = operation(context)
    manila = cloud(of).client('manila')
    manila.shares.list()
    time.sleep(0.4)
    assert manila.shares.list()


def test_a_revoked_trust_is_told_and_made_anew_by_the_next_operation(conf, sandbox, login):
    context = login()
    id, _ = trusts.ensure(context)
    manila = cloud(operation(context)).client('manila')
    manila.shares.list()
    del sandbox.identity.trusts[id]
    told = fault_of(manila.shares.list)
    assert (told.reason, told.service, told.detail) == ('unauthorized', 'keystone', trusts.REVOKED)
    assert rows() == []
    assert fault_of(shares, operation(context)).detail == trusts.REVOKED
    again, _ = trusts.ensure(context)
    assert again not in (None, id)
    assert shares(operation(context))


def test_a_lost_role_is_told_and_the_trust_kept(conf, sandbox, login):
    context = login()
    id, _ = trusts.ensure(context)
    grants = sandbox.identity.grants[context.user_id, context.project_id]
    grants.remove('member')
    told = fault_of(shares, operation(context))
    assert (told.reason, told.service, told.detail) == ('unauthorized', 'keystone', trusts.ROLE_LOST)
    assert [row.id for row in rows()] == [id]
    grants.add('member')
    assert shares(operation(context))


def test_a_trust_for_another_user_of_karbor_is_forgotten(conf, sandbox, login):
    context = login()
    id, _ = trusts.ensure(context)
    sandbox.identity.trusts[id].trustee = people(sandbox, 'other')
    assert fault_of(shares, operation(context)).detail == trusts.REVOKED
    assert rows() == []


def test_a_wrong_password_of_karbor_is_told_and_the_trust_kept(configured, sandbox, login):
    context = login()
    trusts.ensure(context)
    configured('wrong')
    assert fault_of(shares, operation(context)).detail == trusts.OWN_CREDENTIALS
    assert len(rows()) == 1


@pytest.mark.parametrize(
    ('fault', 'reason'),
    [
        ({'kind': 'status', 'status': 503}, 'unavailable'),
        ({'kind': 'status', 'status': 429}, 'unavailable'),
        ({'kind': 'drop_before'}, 'unreachable'),
        ({'kind': 'timeout', 'seconds': 30}, 'timeout'),
    ],
)
def test_a_keystone_that_is_away_is_no_revoked_trust(conf, sandbox, login, fault, reason):
    conf.set_override('http_timeout', 1, 'protection')
    context = login()
    trusts.ensure(context)
    sandbox.faults.add({'service': 'keystone', 'match': LOGIN, **fault})
    told = fault_of(shares, operation(context))
    assert (told.reason, told.service, told.transient) == (reason, 'keystone', True)
    assert len(rows()) == 1
    assert shares(operation(context))


def test_an_operation_that_is_not_resumable_uses_the_token_only(conf, sandbox, login):
    context = login()
    trusts.ensure(context)
    of = operation(context, resumable=False)
    assert fault_of(credentials.session, of).reason == 'credentials_lost'
    credentials.remember(of.id, context)
    assert credentials.session(of).get_token() == context.auth_token
    credentials.forget(of.id)


# --- keeping and removing --------------------------------------------------------------------------


def aged(id, **age):
    used = timeutils.utcnow() - datetime.timedelta(**age)
    repository.update(models.Trust, id, {'used_at': used})
    return used


def test_its_use_is_written_down_once_an_hour(conf, login):
    context = login()
    id, _ = trusts.ensure(context)
    recent = aged(id, minutes=50)
    trusts.ensure(context)
    assert rows()[0].used_at == recent
    old = aged(id, minutes=70)
    credentials.session(operation(context))
    assert rows()[0].used_at > old + datetime.timedelta(minutes=60)


def test_an_unused_trust_is_removed_here_and_in_keystone(conf, sandbox, login):
    sandbox.identity.grants[people(sandbox, 'karbor').id, sandbox.service_user['project_id']].remove('admin')
    unused, _ = trusts.ensure(login('demo'))
    used, _ = trusts.ensure(login('other'))
    aged(unused, days=31)
    aged(used, days=29)
    assert trusts.remove_unused(30) == 1
    assert list(sandbox.identity.trusts) == [used] == [row.id for row in rows()]


@pytest.mark.parametrize('lost', ['trust', 'role'])
def test_an_unused_trust_that_cannot_log_in_is_removed(conf, sandbox, login, lost):
    context = login()
    id, _ = trusts.ensure(context)
    aged(id, days=31)
    if lost == 'trust':
        del sandbox.identity.trusts[id]
    else:
        sandbox.identity.grants[context.user_id, context.project_id].clear()
    assert trusts.remove_unused(30) == 1
    assert (rows(), sandbox.identity.trusts) == ([], {})


def test_an_unused_trust_stays_when_keystone_is_away(conf, sandbox, login):
    id, _ = trusts.ensure(login())
    aged(id, days=31)
    sandbox.faults.add({'service': 'keystone', 'match': LOGIN, 'kind': 'status', 'status': 503})
    assert trusts.remove_unused(30) == 0
    assert len(rows()) == len(sandbox.identity.trusts) == 1


@pytest.mark.parametrize('user', ['operation', 'schedule'])
def test_a_trust_that_is_needed_stays_however_long_it_was_not_used(conf, login, user):
    context = login()
    id, _ = trusts.ensure(context)
    aged(id, days=400)
    who = {'user_id': context.user_id, 'project_id': context.project_id, 'operation_type': 'protect'}
    if user == 'operation':
        repository.create(operation(context))
    else:
        trigger = repository.create(
            models.Trigger(id='t', name='t', project_id=context.project_id, type='time', properties={})
        )
        repository.create(
            models.ScheduledOperation(id='s', name='s', trigger_id=trigger.id, operation_definition={}, **who)
        )
    assert trusts.remove_unused(30) == 0
    assert [row.id for row in rows()] == [id]


# --- operations ------------------------------------------------------------------------------------


class Snapshots(ManilaSnapshot):
    """The plugin as it is, in a provider without a file."""

    def __init__(self, config):
        for group, options in self.OPTIONS.items():
            config.register_opts(options, group)
        super().__init__(config)


class Protection(Service):
    """A protection service with the plugin for shares."""

    def accept(self, context, *resources, project_id=None):
        """The row of an operation that protects the resources."""
        named = [{'type': r.type, 'id': r.id, 'name': r.name} for r in resources]
        plan = Plan.new(
            name='plan',
            provider_id=PROVIDER,
            project_id=project_id or context.project_id,
            parameters={},
            resources=named,
        )
        id = str(uuid.uuid4())
        self.manager().protect(context, plan, str(uuid.uuid4()), id, {})
        return self.row(id)

    def row(self, id):
        return repository.get(models.OperationLog, id)

    def until_started(self, id):
        end = time.monotonic() + 10
        while not any(r.handle for r in repository.find(models.OperationResource, filters={'operation_id': id})):
            assert time.monotonic() < end, 'nothing was started'
            time.sleep(0.02)

    def restart(self):
        """Another worker, in a process that remembers nothing."""
        self.conductor.stop(5)
        credentials._held.clear()
        trusts._auth.cache_clear()
        self.conductor = self.worker()
        self.conductor.start()

    def ended(self, id):
        assert self.conductor.wait_idle(20)
        row = self.row(id)
        assert row.ended_at
        return row


@pytest.fixture
def service(conf):
    made = Protection(None, [Snapshots])
    yield made
    made.conductor.stop(5)


def test_an_operation_goes_on_after_a_restart_when_the_token_is_gone(service, sandbox, login):
    context, case = login(), of_share(sandbox)
    sandbox.clock.speed = 0.3
    accepted = service.accept(context, case.resource)
    assert accepted.resumable is True
    service.until_started(accepted.id)
    sandbox.identity.revoke(sandbox.identity.validate(context.auth_token))
    service.restart()
    ended = service.ended(accepted.id)
    assert (ended.status, ended.error_info, ended.epoch) == ('available', None, 2)
    assert len(case.copies()) == 1


def test_an_operation_without_a_trust_ends_after_a_restart(service, sandbox, login):
    context, case = login(), of_share(sandbox)
    sandbox.faults.add({'service': 'keystone', 'match': TRUSTS, 'kind': 'status', 'status': 403})
    sandbox.clock.speed = 0.3
    accepted = service.accept(context, case.resource)
    assert accepted.resumable is False
    service.until_started(accepted.id)
    service.restart()
    ended = service.ended(accepted.id)
    assert (ended.status, 'credentials_lost' in ended.error_info) == ('error', True)


def test_an_operation_is_accepted_and_done_when_keystone_makes_no_trust(service, sandbox, login):
    context, case = login(), of_share(sandbox)
    sandbox.faults.add({'service': 'keystone', 'match': '* /', 'kind': 'drop_before', 'times': None})
    accepted = service.accept(context, case.resource)
    assert accepted.resumable is False
    assert service.ended(accepted.id).status == 'available'


def test_a_revoked_trust_ends_the_operation_with_that_reason(service, sandbox, login):
    context, case = login(), of_share(sandbox)
    sandbox.clock.speed = 0.3
    accepted = service.accept(context, case.resource)
    service.until_started(accepted.id)
    sandbox.identity.trusts.clear()
    ended = service.ended(accepted.id)
    assert ended.status == 'error'
    assert f'unauthorized: {trusts.REVOKED} (keystone' in ended.error_info


def test_an_operation_in_another_project_is_not_resumable(service, sandbox, login):
    admin, demo = login('admin'), sandbox.users[0]
    accepted = service.accept(admin, of_share(sandbox).resource, project_id=demo['project_id'])
    assert accepted.resumable is False


def test_restore_and_deletion_are_resumable_too(service, sandbox, login):
    service.context, case = login(), of_share(sandbox)
    made = service.ended(service.accept(service.context, case.resource).id)
    _, restore = service.restore(made.checkpoint_id)
    delete = service.delete(made.checkpoint_id)
    for id in (restore, delete):
        assert service.row(id).resumable is True


def test_no_secret_is_in_the_database(service, sandbox, login, tmp_path):
    context, case = login(), of_share(sandbox)
    accepted = service.accept(context, case.resource)
    service.ended(accepted.id)
    written = b''.join(path.read_bytes() for path in tmp_path.glob('karbor.sqlite*'))
    assert rows()[0].id.encode() in written
    secrets = [user['password'] for user in [*sandbox.users, sandbox.service_user]]
    secrets += list(sandbox.identity._tokens)
    assert len(secrets) > 6
    assert [secret for secret in secrets if secret.encode() in written] == []
