# SPDX-License-Identifier: Apache-2.0
"""Orphans: a sandbox cloud, a bank in files and the database, as `karbor-manage orphans` compares them."""

import datetime
import os
import subprocess
import sys
import time
import uuid

import orjson
import pytest
from keystoneauth1 import session as keystone_session
from keystoneauth1.identity import v3
from oslo_utils import timeutils

from karbor import keystone, trusts
from karbor.cmd.manage import orphans as manage
from karbor.cmd.manage.command import CommandError
from karbor.conf import opts
from karbor.context import RequestContext
from karbor.db import models, repository
from karbor.protection import orphans, provider
from karbor.protection import run as runs
from karbor.protection.provider import Providers
from karbor.sandbox.cloud import Sandbox
from karbor.sandbox.trove import store as instancestore
from karbor.tests.plugins.driver import new_instance, new_share
from karbor.tests.unit.protection.service import Service

PROVIDER = str(uuid.uuid4())
DAY = datetime.timedelta(days=1)
FILE = f"""\
[provider]
id = {PROVIDER}
name = both
plugin = karbor-share-protection-plugin
plugin = karbor-database-protection-plugin
bank = karbor-fs-bank-plugin
enabled = true
[file_system_bank_plugin]
file_system_bank_path = {{path}}/bank
[manila_snapshot_plugin]
poll_interval = 1
"""
CONFIGURATION = """\
[DEFAULT]
state_path = {path}
provider_config_dir = {path}/providers.d
log_file = {path}/karbor.log
[database]
connection = sqlite:///{path}/karbor.sqlite
[keystone_authtoken]
auth_type = password
auth_url = {auth_url}
username = {user[name]}
password = {user[password]}
project_name = {user[project]}
user_domain_id = default
project_domain_id = default
"""


@pytest.fixture(scope='module')
def sandbox(tmp_path_factory):
    with Sandbox(tmp_path_factory.mktemp('cloud'), speed=30) as running:
        yield running


@pytest.fixture
def karbor(database, sandbox, tmp_path, monkeypatch):
    """Everything configured as for a process of its own; what keystoneauth registers stays out of other tests."""
    (tmp_path / 'providers.d').mkdir()
    (tmp_path / 'providers.d' / 'both.conf').write_text(FILE.format(path=tmp_path))
    (tmp_path / 'bank').mkdir()
    (tmp_path / 'karbor.conf').write_text(
        CONFIGURATION.format(path=tmp_path, auth_url=sandbox.auth_url, user=sandbox.service_user)
    )
    made = opts.cfg.ConfigOpts()
    opts.register(made)
    made([f'--config-file={tmp_path}/karbor.conf'], project='karbor', default_config_files=[])
    for module in (keystone, trusts, provider):
        monkeypatch.setattr(module, 'CONF', made)
    monkeypatch.setattr(trusts._Keystone, 'missed', None)
    keystone.service_auth.cache_clear()
    trusts._auth.cache_clear()
    # The cloud is shared by all tests: what earlier ones left in it is another installation's.
    repository.update(models.Installation, runs.installation_id(), {'id': str(uuid.uuid4())})
    yield Karbor(sandbox)
    keystone.service_auth.cache_clear()
    trusts._auth.cache_clear()
    for kept in (sandbox.shares.snapshots, sandbox.instances.backups):
        kept.clear()
    sandbox.faults.clear()


class Karbor:
    """A protection service with both plugins and a bank in files."""

    def __init__(self, sandbox):
        self.sandbox = sandbox
        self.providers = Providers.load()
        self.installation = runs.installation_id()

    def login(self, name='demo'):
        user = next(u for u in self.sandbox.users if u['name'] == name)
        scope = {'project_name': user['project'], 'project_domain_id': 'default', 'user_domain_id': 'default'}
        auth = v3.Password(self.sandbox.auth_url, username=name, password=user['password'], **scope)
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

    def checkpoint(self, *, restore=False):
        """A checkpoint of a share and an instance, made by the real engine in the real bank, two days old."""
        service = RealService(self.providers, self.login())
        try:
            share, instance = new_share(self.sandbox), new_instance(self.sandbox)
            resources = [('OS::Manila::Share', share.id), ('OS::Trove::Instance', instance.id)]
            id, operation_id = service.protect(*resources)
            if restore:
                service.restore(id)
        finally:
            service.conductor.stop(5)
        assert repository.get(models.CheckpointRecord, id).checkpoint_status == 'available'
        self.age(2 * DAY)
        return id, operation_id

    def age(self, by):
        """Let everything that is there now have been made earlier."""
        shares, instances = self.sandbox.shares, self.sandbox.instances
        for thing in [*shares.snapshots.values(), *shares.shares.values()]:
            thing.created_at -= by
        for thing in [*instances.backups.values(), *instances.instances.values()]:
            thing.created -= by
        for row in repository.find(models.OperationLog):
            moments = {name: getattr(row, name) - by for name in ('created_at', 'started_at', 'ended_at')}
            repository.update(models.OperationLog, row.id, moments)

    def tag(self, operation_id=None, key='key', attempt=1):
        return f'{self.installation}/{operation_id or uuid.uuid4()}/{key}/{attempt}'

    def snapshot(self, tag, age=2 * DAY, **more):
        share = new_share(self.sandbox)
        made = orphan_snapshot(self.sandbox, share, tag, age, **more)
        return made.id

    def search(self, age=DAY):
        return orphans.Search(self.providers, age)

    def found(self, age=DAY):
        return {orphan.leftover.id for orphan in self.search(age).orphans()}


class RealService(Service):
    def __init__(self, providers, context):
        super().__init__(None, [])
        self.conductor.stop(5)
        self.providers, self.context = providers, context
        self.conductor = self.worker()
        self.conductor.start()

    def protect(self, *resources):
        from karbor.objects.plan import Plan

        named = [{'type': type, 'id': id, 'name': id} for type, id in resources]
        project = self.context.project_id
        plan = Plan.new(name='plan', provider_id=PROVIDER, project_id=project, parameters={}, resources=named)
        checkpoint, operation = str(uuid.uuid4()), str(uuid.uuid4())
        self.manager().protect(self.context, plan, checkpoint, operation, {})
        assert self.conductor.wait_idle(20)
        return checkpoint, operation

    def restore(self, checkpoint):
        from karbor.objects.restore import Restore

        made = Restore.new(provider_id=PROVIDER, checkpoint_id=checkpoint, parameters={})
        self.manager().restore(self.context, made, str(uuid.uuid4()))
        assert self.conductor.wait_idle(20)
        assert repository.get(models.Restore, made.id).status == 'success'


def orphan_snapshot(sandbox, share, tag, age, status='available'):
    from karbor.sandbox.manila.store import Snapshot

    made = Snapshot(
        share=share,
        project_id=share.project_id,
        user_id=share.user_id,
        directory=sandbox.shares.snapshot_directory,
        status=status,
        metadata={'karbor': tag},
    )
    made.created_at -= age
    with sandbox.clock.lock:
        sandbox.shares.snapshots[made.id] = made
    return made


def test_nothing_that_is_in_use_is_an_orphan(karbor):
    karbor.checkpoint(restore=True)
    search = karbor.search()
    assert search.orphans() == []
    assert search.projects == [karbor.sandbox.users[0]['project_id']]
    assert len(karbor.sandbox.shares.snapshots) == len(karbor.sandbox.instances.backups) == 1


def test_what_nothing_refers_to_is_an_orphan(karbor):
    """Of an operation that nobody knows, of one that made another object for this resource, of a deleted checkpoint."""
    checkpoint_id, operation_id = karbor.checkpoint()
    unknown = karbor.snapshot(karbor.tag())
    (own,) = (s for s in karbor.sandbox.shares.snapshots.values() if s.id != unknown)
    again = karbor.snapshot(karbor.tag(operation_id, own.share.id, attempt=2))
    foreign = karbor.snapshot(f'{uuid.uuid4()}/{operation_id}/{own.share.id}/1')
    plain = karbor.snapshot('no tag')
    assert karbor.found() == {unknown, again}
    repository.update(models.CheckpointRecord, checkpoint_id, {'checkpoint_status': 'deleted'})
    karbor.checkpoint()  # or the catalogue would be empty
    assert own.id not in karbor.found(), 'the bank still refers to it'
    bank = karbor.providers[PROVIDER].bank
    for key in bank.list(f'/checkpoints/{checkpoint_id}/resource-data/'):
        bank.delete(key)
    found = karbor.found()
    assert found > {unknown, again, own.id} and len(found) == 4  # the backup, too
    assert not found & {foreign, plain}


def test_what_is_young_or_has_no_time_is_no_orphan(karbor):
    karbor.checkpoint()
    young = karbor.snapshot(karbor.tag(), age=DAY - datetime.timedelta(minutes=5))
    assert karbor.found() == set()
    assert karbor.found(DAY / 2) == {young}


def test_what_an_open_operation_may_have_made_is_no_orphan(karbor):
    _, operation_id = karbor.checkpoint()
    (own,) = karbor.sandbox.shares.snapshots.values()
    made = karbor.snapshot(karbor.tag(operation_id, own.share.id, attempt=2))
    assert karbor.found() == {made}
    repository.update(models.OperationLog, operation_id, {'ended_at': None})
    assert karbor.found() == set()


def test_what_was_made_after_its_operation_carries_a_copied_tag(karbor):
    _, operation_id = karbor.checkpoint()
    (own,) = karbor.sandbox.shares.snapshots.values()
    karbor.snapshot(karbor.tag(operation_id, own.share.id, attempt=2), age=2 * DAY - datetime.timedelta(hours=2))
    assert karbor.found() == set()


def test_what_was_restored_stays_its_users_whatever_is_forgotten(karbor):
    checkpoint_id, _ = karbor.checkpoint(restore=True)
    (restored,) = (
        share
        for share in karbor.sandbox.shares.shares.values()
        if share.metadata.get('karbor', '').startswith(karbor.installation)
    )
    (log,) = repository.find(models.OperationLog, filters={'operation_type': 'restore'})
    rows = {row.resource_id: row for row in repository.find(models.OperationResource, filters={'operation_id': log.id})}
    row = next(row for row in rows.values() if row.new_id == restored.id)
    assert karbor.found() == set()
    failed = {'status': 'error', 'status_details': 'could not be removed'}
    repository.update(models.OperationResource, (log.id, row.position), failed)
    assert karbor.found() == {restored.id}
    repository.delete(models.OperationLog, log.id)
    repository.update(models.CheckpointRecord, checkpoint_id, {'operation_id': None})
    assert karbor.found() == set(), 'without its operation nobody knows whose it is'


def test_an_instance_that_was_never_renamed_is_an_orphan(karbor):
    karbor.checkpoint()
    (row,) = repository.find(models.OperationLog)
    tag = karbor.tag(str(uuid.uuid4()), 'key')
    made = new_instance(karbor.sandbox)
    made.name = tag
    made.created -= 2 * DAY
    assert karbor.found() == set(), 'its operation is unknown'
    id = tag.split('/')[1]
    times = {'created_at': row.created_at, 'started_at': row.started_at, 'ended_at': row.ended_at}
    repository.create(models.OperationLog(id=id, project_id='p', operation_type='restore', **times))
    repository.create(
        models.OperationResource(operation_id=id, position=0, resource_type='t', resource_id='key', status='error')
    )
    assert isinstance(made, instancestore.Instance)
    assert karbor.found() == {made.id}
    (orphan,) = karbor.search().orphans()
    assert karbor.search().remove(orphan) == 'removed'


# --- no verdict


def test_there_is_no_verdict_without_a_catalogue(karbor):
    karbor.snapshot(karbor.tag())
    with pytest.raises(orphans.NoVerdict, match='the database has no checkpoint'):
        karbor.found()


def test_there_is_no_verdict_when_a_bank_is_not_the_one_or_cannot_be_read(karbor, tmp_path):
    checkpoint_id, _ = karbor.checkpoint()
    assert karbor.found() == set()
    other, _ = karbor.checkpoint()
    os.rename(tmp_path / 'bank' / 'karbor' / 'checkpoints' / other, tmp_path / 'away')
    with pytest.raises(orphans.NoVerdict, match=f'checkpoint {other} is not in the bank of provider {PROVIDER}'):
        karbor.found()
    os.rename(tmp_path / 'bank' / 'karbor' / 'checkpoints' / checkpoint_id, tmp_path / 'away too')
    with pytest.raises(orphans.NoVerdict, match='there is no checkpoint in any bank'):
        karbor.found()
    (tmp_path / 'bank').rename(tmp_path / 'elsewhere')
    (tmp_path / 'bank').write_text('no folder')
    with pytest.raises(orphans.NoVerdict):
        karbor.found()
    karbor.providers.clear()
    with pytest.raises(orphans.NoVerdict, match='is not loaded here'):
        karbor.found()


@pytest.mark.parametrize(('service', 'match'), [('manila', 'GET /snapshots'), ('trove', 'GET /backups')])
def test_there_is_no_verdict_when_a_cloud_does_not_tell_all(karbor, service, match):
    karbor.checkpoint()
    karbor.sandbox.faults.add({'service': service, 'match': match, 'kind': 'status', 'status': 503, 'times': None})
    with pytest.raises(orphans.NoVerdict, match='cannot be looked at: unavailable'):
        karbor.found()


def test_projects_that_no_trust_leads_to_are_named(karbor):
    karbor.checkpoint()
    project = karbor.sandbox.users[0]['project_id']
    karbor.snapshot(karbor.tag())
    karbor.sandbox.identity.trusts.clear()
    search = karbor.search()
    assert search.orphans() == []
    assert search.projects == []
    assert trusts.REVOKED in search.left_out[project]
    search = karbor.search()  # now it is known that the trust is gone
    assert (search.orphans(), search.left_out) == ([], {project: orphans.NO_TRUST})


# --- deleting


def test_an_orphan_is_looked_at_again_before_it_is_removed(karbor):
    _, operation_id = karbor.checkpoint()
    (own,) = karbor.sandbox.shares.snapshots.values()
    made = karbor.snapshot(karbor.tag(operation_id, own.share.id, attempt=2))
    search = karbor.search()
    (orphan,) = search.orphans()
    repository.update(models.OperationLog, operation_id, {'ended_at': None})
    assert search.remove(orphan) == 'kept: it is in use again'
    repository.update(models.OperationLog, operation_id, {'ended_at': timeutils.utcnow()})
    section = f'/checkpoints/{repository.get(models.OperationLog, operation_id).checkpoint_id}/resource-data/x'
    karbor.providers[PROVIDER].bank.put_json(f'{section}/metadata', {'snapshot_id': made})
    assert search.remove(orphan) == 'kept: it is in use again'
    karbor.providers[PROVIDER].bank.delete(f'{section}/metadata')
    karbor.sandbox.shares.snapshots[made].metadata = {}
    assert search.remove(orphan) == 'gone already'
    assert made in karbor.sandbox.shares.snapshots


def test_the_command_lists_what_it_found_and_where_it_looked(karbor, tmp_path):
    karbor.checkpoint()
    made = karbor.snapshot(karbor.tag())
    command = [sys.executable, '-m', 'karbor.cmd.manage', f'--config-file={tmp_path}/karbor.conf', 'orphans', 'list']
    ended = subprocess.run([*command, '--format', 'json'], capture_output=True, text=True, timeout=100)
    listed = orjson.loads(ended.stdout)
    assert (ended.returncode, ended.stderr) == (0, '')
    assert [(orphan['id'], orphan['kind']) for orphan in listed['orphans']] == [(made, 'snapshot')]
    assert listed['projects'] == [karbor.sandbox.users[0]['project_id']]


def test_the_command_deletes_one_by_one_when_it_is_told_to(karbor, capsys):
    karbor.checkpoint()
    first, second = karbor.snapshot(karbor.tag()), karbor.snapshot(karbor.tag(), status='creating')
    manage.list_(24, 'table')
    assert first in capsys.readouterr().out
    with pytest.raises(CommandError, match='With --yes, 1 objects would be deleted'):
        manage.delete([first], 24, yes=False)
    with pytest.raises(CommandError, match='nowhere is no orphan'):
        manage.delete(['nowhere', first], 24, yes=True)
    for hours in (0, -1):
        with pytest.raises(CommandError, match='--older-than takes 1 or more'):
            manage.delete([], hours, yes=True)
    assert karbor.sandbox.shares.snapshots[first].status == 'available'
    with pytest.raises(CommandError, match='1 of 2 objects could not be deleted'):
        manage.delete([], 24, yes=True)
    told = capsys.readouterr().out
    assert f'snapshot {first}: removed\n' in told
    assert f'snapshot {second}: failed: ' in told
    end = time.monotonic() + 10
    while first in karbor.sandbox.shares.snapshots:
        karbor.sandbox.clock.settle()  # nobody else looks at the cloud any more
        assert time.monotonic() < end
        time.sleep(0.02)
    assert second in karbor.sandbox.shares.snapshots
