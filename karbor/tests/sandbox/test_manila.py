# SPDX-License-Identifier: Apache-2.0
"""Shares and snapshots by manilaclient, and what Manila says when it refuses."""

import filecmp
from pathlib import Path
from typing import Any

import pytest
import requests
from manilaclient import exceptions


def share_named(manila: Any, name: str) -> Any:
    return next(share for share in manila.shares.list() if share.name == name)


def data(manila: Any, share: Any) -> Path:
    """The directory of a share, as its export location says."""
    (location,) = manila.share_export_locations.list(share)
    host, path = location.path.split(':', 1)
    assert host == '127.0.0.1'
    return Path(path)


def same(one: Path, two: Path) -> bool:
    """Whether two directories hold the same files, byte for byte."""
    left, right = ({p.relative_to(d) for p in d.rglob('*') if p.is_file()} for d in (one, two))
    return left == right and all(filecmp.cmp(one / f, two / f, shallow=False) for f in left)


@pytest.fixture
def manila(cloud):
    return cloud.manila()


@pytest.fixture
def share(manila, until):
    """A share with a file, which is removed with its snapshots."""
    made = until(manila.shares, manila.shares.create('NFS', 1, name='mine', metadata={'k': 'v'}), 'available')
    (data(manila, made) / 'file').write_bytes(b'precious\0')
    yield made
    for snapshot in manila.share_snapshots.list(search_opts={'share_id': made.id}):
        snapshot.delete()
        until(manila.share_snapshots, snapshot, None)
    made.delete()
    until(manila.shares, made, None)


def test_versions_are_listed_without_a_token(cloud):
    root = requests.get(f'{cloud.sandbox.url}/share/', timeout=5)
    v2 = requests.get(f'{cloud.sandbox.url}/share/v2', timeout=5)
    assert (root.status_code, v2.status_code) == (300, 200)
    (version,) = v2.json()['versions']
    assert (version['id'], version['min_version'], version['version']) == ('v2.0', '2.0', '2.90')


def test_microversion_is_read_from_the_header_and_said_in_the_reply(cloud):
    def reply(version):
        return cloud.get('demo', '/share/v2/shares', headers={'X-OpenStack-Manila-API-Version': version})

    assert reply('2.65').headers['X-OpenStack-Manila-API-Version'] == '2.65'
    assert reply('latest').headers['X-OpenStack-Manila-API-Version'] == '2.90'
    assert [reply(v).status_code for v in ('2.91', '3.0', 'x')] == [406, 406, 400]
    assert cloud.get('demo', '/share/v2/shares').headers['X-OpenStack-Manila-API-Version'] == '2.0'


def test_versions_are_listed_for_a_client_that_knows_newer_ones(cloud):
    newer = {'X-OpenStack-Manila-API-Version': '2.98'}
    assert requests.get(f'{cloud.sandbox.url}/share/', headers=newer, timeout=5).status_code == 300
    assert requests.get(f'{cloud.sandbox.url}/share/v2/', headers=newer, timeout=5).status_code == 406


def test_fields_appear_with_their_microversions(cloud):
    def fields(version):
        headers = {'X-OpenStack-Manila-API-Version': version}
        return cloud.get('demo', '/share/v2/shares/detail', headers=headers).json()['shares'][0]

    old, new = fields('2.0'), fields('2.73')
    assert 'export_location' in old and 'export_location' not in new
    assert 'revert_to_snapshot_support' not in old and new['revert_to_snapshot_support'] is True
    assert old['share_type'] == new['share_type_name'] == 'default'


def test_shares_of_the_own_project_are_there_with_files_at_the_start(manila):
    shares = {share.name: share for share in manila.shares.list()}
    assert set(shares) == {'documents', 'photos', 'scratch'}
    for share in shares.values():
        assert share.status == 'available'
        assert (data(manila, share) / 'folder' / 'data.bin').stat().st_size == 65536


@pytest.mark.usefixtures('slow')
def test_share_takes_time_to_be_made_and_to_go(manila, until):
    share = manila.shares.create('NFS', 2, name='new', description='text', metadata={'a': 'b'})
    assert share.status == 'creating'
    assert manila.share_export_locations.list(share) == []
    found = until(manila.shares, share, 'available')
    assert (found.size, found.name, found.description, found.metadata) == (2, 'new', 'text', {'a': 'b'})
    path = data(manila, share)
    share.delete()
    assert manila.shares.get(share.id).status == 'deleting'
    until(manila.shares, share, None)
    assert not path.exists()


def test_snapshot_stays_as_it_was_when_the_share_changes(manila, share, until):
    snapshot = until(manila.share_snapshots, manila.share_snapshots.create(share.id, name='s'), 'available')
    (data(manila, share) / 'file').write_bytes(b'clobbered')
    (data(manila, share) / 'more').write_bytes(b'more')
    copy = manila.shares.create('NFS', 1, name='copy', snapshot_id=snapshot.id)
    copy = until(manila.shares, copy, 'available')
    assert copy.snapshot_id == snapshot.id
    path = data(manila, copy)
    assert {f.name: f.read_bytes() for f in path.iterdir()} == {'file': b'precious\0'}
    copy.delete()
    until(manila.shares, copy, None)


def test_restored_share_is_equal_byte_for_byte(manila, until, tmp_path):
    documents = share_named(manila, 'documents')
    snapshot = until(manila.share_snapshots, manila.share_snapshots.create(documents.id), 'available')
    copy = until(manila.shares, manila.shares.create('NFS', 1, snapshot_id=snapshot.id), 'available')
    assert same(data(manila, documents), data(manila, copy))
    assert data(manila, documents) != data(manila, copy)
    for thing, manager in ((snapshot, manila.share_snapshots), (copy, manila.shares)):
        thing.delete()
        until(manager, thing, None)


@pytest.mark.usefixtures('slow')
def test_share_is_reverted_in_place_to_its_latest_snapshot_only(manila, share, until):
    first = until(manila.share_snapshots, manila.share_snapshots.create(share.id), 'available')
    second = until(manila.share_snapshots, manila.share_snapshots.create(share.id), 'available')
    file = data(manila, share) / 'file'
    file.write_bytes(b'clobbered')
    with pytest.raises(exceptions.Conflict):
        manila.shares.revert_to_snapshot(share, first)
    manila.shares.revert_to_snapshot(share, second)
    assert manila.shares.get(share.id).status == 'reverting'
    until(manila.shares, share, 'available')
    assert file.read_bytes() == b'precious\0'


def test_share_is_not_deleted_while_it_has_a_snapshot(manila, share, until):
    until(manila.share_snapshots, manila.share_snapshots.create(share.id), 'available')
    with pytest.raises(exceptions.Forbidden, match='dependent snapshots'):
        share.delete()
    assert manila.shares.get(share.id).status == 'available'


def test_busy_share_is_snapshotted_only_by_force(cloud, manila, share, until):
    cloud.manila('admin').shares.reset_state(share, 'extending')
    with pytest.raises(exceptions.BadRequest):
        manila.share_snapshots.create(share.id)
    snapshot = until(manila.share_snapshots, manila.share_snapshots.create(share.id, force=True), 'available')
    assert snapshot.share_id == share.id
    cloud.manila('admin').shares.reset_state(share, 'available')


def test_share_without_data_is_not_snapshotted_even_by_force(manila, until):
    bad = until(manila.shares, manila.shares.create('NFS', 1, share_type='nowhere'), 'error')
    with pytest.raises(exceptions.BadRequest):
        manila.share_snapshots.create(bad.id, force=True)
    bad.delete()
    until(manila.shares, bad, None)


def test_types_differ_in_what_their_shares_can(manila, until):
    assert {t.name for t in manila.share_types.list()} == {'default', 'no-revert', 'no-snapshots', 'nowhere'}
    fixed = until(manila.shares, manila.shares.create('NFS', 1, share_type='no-revert'), 'available')
    plain = until(manila.shares, manila.shares.create('NFS', 1, share_type='no-snapshots'), 'available')
    assert (fixed.snapshot_support, fixed.revert_to_snapshot_support) == (True, False)
    snapshot = until(manila.share_snapshots, manila.share_snapshots.create(fixed.id), 'available')
    with pytest.raises(exceptions.BadRequest):
        manila.shares.revert_to_snapshot(fixed, snapshot)
    with pytest.raises(exceptions.UnprocessableEntity):
        manila.share_snapshots.create(plain.id)
    with pytest.raises(exceptions.BadRequest, match='share type'):
        manila.shares.create('NFS', 1, snapshot_id=snapshot.id, share_type='default')
    snapshot.delete()
    until(manila.share_snapshots, snapshot, None)
    for share in (fixed, plain):
        share.delete()
        until(manila.shares, share, None)


@pytest.mark.parametrize(
    ('given', 'error'),
    [
        ({'share_proto': 'NFS', 'size': 0}, exceptions.BadRequest),
        ({'share_proto': 'NFS', 'size': 'x'}, exceptions.BadRequest),
        ({'share_proto': 'CEPHFS', 'size': 1}, exceptions.BadRequest),
        ({'share_proto': 'NFS', 'size': 1, 'share_type': 'none'}, exceptions.NotFound),
        ({'share_proto': 'NFS', 'size': 1, 'snapshot_id': 'none'}, exceptions.NotFound),
        ({'share_proto': 'NFS', 'size': 1, 'share_network': 'none'}, exceptions.NotFound),
        ({'share_proto': 'NFS', 'size': 1, 'metadata': {'': 'x'}}, exceptions.BadRequest),
    ],
)
def test_share_is_refused_when_the_request_is_bad(cloud, manila, given, error):
    before = cloud.objects()['shares']
    with pytest.raises(error):
        manila.shares.create(**given)
    assert cloud.objects()['shares'] == before


def test_share_from_a_larger_snapshot_is_refused(manila, until):
    photos = share_named(manila, 'photos')
    snapshot = until(manila.share_snapshots, manila.share_snapshots.create(photos.id), 'available')
    with pytest.raises(exceptions.BadRequest):
        manila.shares.create('NFS', 1, snapshot_id=snapshot.id)
    snapshot.delete()
    until(manila.share_snapshots, snapshot, None)


def test_unknown_ids_are_refused_in_manilas_words(cloud, manila):
    reply = cloud.get('demo', '/share/v2/shares/nothing')
    fault = {'code': 404, 'message': 'Share nothing could not be found.'}
    assert (reply.status_code, reply.json()) == (404, {'itemNotFound': fault})
    assert reply.headers['X-Compute-Request-Id'].startswith('req-')
    for get in (manila.shares.get, manila.share_snapshots.get, manila.share_types.get, manila.shares.delete):
        with pytest.raises(exceptions.NotFound):
            get('nothing')
    assert cloud.get('demo', '/share/v2/unheard-of').json()['itemNotFound']['code'] == 404


def test_metadata_of_shares_and_snapshots_is_set_and_removed(manila, share, until):
    snapshot = manila.share_snapshots.create(share.id, metadata={'one': '1', 'two': '2'})
    assert manila.share_snapshots.get(snapshot.id).metadata == {'one': '1', 'two': '2'}
    until(manila.share_snapshots, snapshot, 'available')
    for manager, thing in ((manila.shares, share), (manila.share_snapshots, snapshot)):
        manager.update_all_metadata(thing, {'a': '1'})
        manager.set_metadata(thing, {'b': '2'})
        assert manager.get_metadata(thing)._info == {'a': '1', 'b': '2'}
        manager.delete_metadata(thing, ['a'])
        assert manager.get(thing.id).metadata == {'b': '2'}
        with pytest.raises(exceptions.NotFound):
            manager.delete_metadata(thing, ['a'])
        manager.update_all_metadata(thing, {})
        assert manager.get(thing.id).metadata == {}


def test_snapshot_metadata_is_ignored_before_its_microversion(cloud, manila, share, until):
    old = cloud.get(
        'demo',
        '/share/v2/snapshots',
        'POST',
        headers={'X-OpenStack-Manila-API-Version': '2.65'},
        json={'snapshot': {'share_id': share.id, 'metadata': {'a': 'b'}}},
    )
    assert old.status_code == 202
    assert 'metadata' not in old.json()['snapshot']
    snapshot = manila.share_snapshots.get(old.json()['snapshot']['id'])
    assert snapshot.metadata == {}
    until(manila.share_snapshots, snapshot, 'available')


def test_lists_are_filtered_and_paged(manila, share, until):
    snapshot = manila.share_snapshots.create(share.id, name='tagged', metadata={'tag': 'x'})
    until(manila.share_snapshots, snapshot, 'available')

    def names(manager, **opts):
        return [thing.name for thing in manager.list(search_opts=opts)]

    assert names(manila.shares, name='mine') == ['mine']
    assert names(manila.shares, metadata={'k': 'v'}) == ['mine']
    assert names(manila.shares, status='error') == []
    assert names(manila.share_snapshots, metadata={'tag': 'x'}) == ['tagged']
    assert names(manila.share_snapshots, metadata={'tag': 'y'}) == []
    assert names(manila.share_snapshots, share_id=share.id) == ['tagged']
    every = names(manila.shares)
    assert names(manila.shares, limit=2) + names(manila.shares, limit=9, offset=2) == every
    assert len(every) == 4


def test_share_and_snapshot_are_renamed(manila, share, until):
    snapshot = until(manila.share_snapshots, manila.share_snapshots.create(share.id), 'available')
    manila.share_snapshots.update(snapshot, display_name='s', display_description='d')
    manila.shares.update(share, display_name='new')
    found = manila.share_snapshots.get(snapshot.id)
    assert (found.name, found.description) == ('s', 'd')
    assert manila.shares.get(share.id).name == 'new'


def test_access_rules_are_allowed_listed_and_denied(manila, share):
    rule = manila.shares.allow(share, 'ip', '10.0.0.0/24', 'rw')
    assert [r.access_to for r in manila.share_access_rules.access_list(share)] == ['10.0.0.0/24']
    manila.shares.deny(share, rule['id'])
    assert manila.share_access_rules.access_list(share) == []


def test_other_projects_things_are_not_there(cloud, manila, share, until):
    snapshot = until(manila.share_snapshots, manila.share_snapshots.create(share.id), 'available')
    other = cloud.manila('other')
    assert [s.name for s in other.shares.list(search_opts={'all_tenants': 1})] == ['papers']
    assert other.share_snapshots.list() == []
    for call in (
        lambda: other.shares.get(share.id),
        lambda: other.shares.delete(share.id),
        lambda: other.share_snapshots.create(share.id),
        lambda: other.share_snapshots.get(snapshot.id),
        lambda: other.shares.create('NFS', 1, snapshot_id=snapshot.id),
        lambda: other.share_export_locations.list(share.id),
    ):
        with pytest.raises(exceptions.NotFound):
            call()


def test_reader_sees_everything_and_changes_nothing(cloud, share):
    reader = cloud.manila('reader')
    assert reader.shares.get(share.id).name == 'mine'
    for call in (
        lambda: reader.shares.create('NFS', 1),
        lambda: reader.shares.delete(share.id),
        lambda: reader.share_snapshots.create(share.id),
        lambda: reader.shares.set_metadata(share.id, {'a': 'b'}),
    ):
        with pytest.raises(exceptions.Forbidden):
            call()


def test_administrator_sees_all_projects_and_hosts_when_asked(cloud):
    admin = cloud.manila('admin')
    assert admin.shares.list() == []
    every = admin.shares.list(search_opts={'all_tenants': 1})
    assert {share.name for share in every} >= {'documents', 'papers'}
    assert all(share.host for share in every)
    assert not hasattr(cloud.manila().shares.list()[0], 'host')


def test_only_administrators_reset_states(cloud, manila, share):
    with pytest.raises(exceptions.Forbidden):
        manila.shares.reset_state(share, 'error')


def test_unscoped_token_is_refused(cloud):
    token = cloud.login('demo', unscoped=True).get_token()
    url = f'{cloud.sandbox.url}/share/v2/shares'
    assert requests.get(url, headers={'X-Auth-Token': token}, timeout=5).status_code == 403
    reply = requests.get(url, timeout=5)
    assert reply.status_code == 401
    assert 'Keystone uri=' in reply.headers['WWW-Authenticate']


def test_limits_and_quota_are_shown(manila, cloud):
    used = {limit.name: limit.value for limit in manila.limits.get().absolute}
    assert used['totalSharesUsed'] == 3
    assert manila.quotas.get(cloud.users['demo']['project_id']).shares == -1
