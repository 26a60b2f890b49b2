# SPDX-License-Identifier: Apache-2.0
"""What the parts of the shared file systems API share."""

import ast
from typing import Any

import flask

from karbor.sandbox.clock import Clock
from karbor.sandbox.identity import Identity
from karbor.sandbox.manila import microversions
from karbor.sandbox.manila.store import Share, ShareStore, Snapshot
from karbor.sandbox.service import Service, refuse

Json = dict[str, Any]
MAX_LIST = 1000
VERSIONS_PATH = ('', '/v2')


class ManilaApi(Service):
    """Requests with a microversion, and how what they name is found."""

    prefix = '/v2'
    open_paths = VERSIONS_PATH

    def __init__(self, identity: Identity, clock: Clock, store: ShareStore):
        super().__init__(identity, clock)
        self.store = store
        self.before_request_funcs[None].insert(0, self._read_version)
        self.after_request(self._write_version)

    @property
    def version(self) -> microversions.Version:
        """The microversion of the request."""
        version: microversions.Version = flask.g.version
        return version

    def check_policy(self) -> None:
        """Refuse a caller without a project or with too small a role."""
        if self.caller.project is None:
            self.deny()
        super().check_policy()

    def _read_version(self) -> None:
        if not flask.request.path.rstrip('/'):
            return  # what versions there are is told to clients of newer ones, too
        flask.g.version = microversions.requested(flask.request.headers.get(microversions.HEADER))

    def _write_version(self, reply: flask.Response) -> flask.Response:
        if 'version' in flask.g and flask.request.path.rstrip('/') not in VERSIONS_PATH:
            reply.headers[microversions.HEADER] = microversions.text(self.version)
            reply.headers['Vary'] = microversions.HEADER
        return reply

    def base(self) -> str:
        """The URL below which everything is."""
        return flask.request.host_url.rstrip('/') + flask.request.script_root + self.prefix

    def is_mine(self, thing: Share | Snapshot) -> bool:
        """Whether the caller may see and change it."""
        return thing.project_id == self.caller.project_id or self.caller.is_admin

    def find_share(self, share_id: str, public: bool = False) -> Share:
        """The share of this id; Refusal 404 if the caller has none."""
        share = self.store.shares.get(share_id)
        if share is None or not (self.is_mine(share) or (public and share.is_public)):
            refuse(404, f'Share {share_id} could not be found.')
        return share

    def find_snapshot(self, snapshot_id: str) -> Snapshot:
        """The snapshot of this id; Refusal 404 if the caller has none."""
        snapshot = self.store.snapshots.get(snapshot_id)
        if snapshot is None or not self.is_mine(snapshot):
            refuse(404, f'Snapshot {snapshot_id} could not be found.')
        return snapshot

    def is_listed(self, project_id: str) -> bool:
        """Whether things of this project are in lists."""
        args = flask.request.args
        if self.caller.is_admin and args.get('all_tenants', '').lower() in ('1', 'true'):
            return args.get('project_id') in (None, project_id)
        return project_id == self.caller.project_id

    def page(self, things: list[Any], filters: tuple[str, ...]) -> list[Any]:
        """Those that the query selects: filtered, sorted, one page of them."""
        args = flask.request.args
        wanted = {key: args[key] for key in filters if key in args}
        tags = _literal(args.get('metadata', '{}'))
        found = [
            thing
            for thing in things
            if all(str(_value(thing, key)) == value for key, value in wanted.items())
            and tags.items() <= thing.metadata.items()
            and args.get('name~', '') in (thing.name or '')
        ]
        # Only these two keys are sorted by; others keep the order of creation.
        by_name = args.get('sort_key') in ('name', 'display_name')
        found.sort(
            key=lambda thing: (thing.name or '') if by_name else thing.created_at.isoformat(),
            reverse=args.get('sort_dir', 'desc').lower() == 'desc',
        )
        offset, limit = _number(args.get('offset'), 0), _number(args.get('limit'), MAX_LIST)
        return found[offset : offset + min(limit, MAX_LIST)]

    def administer(self, thing: Any, kept: Json, action: str, given: Json) -> Any:
        """What only administrators may do to a share or snapshot. 202."""
        if action not in ('reset_status', 'force_delete'):
            refuse(400, f'There is no such action: {action}')
        if not self.caller.is_admin:
            self.deny()
        if action == 'reset_status':
            thing.status = str(given.get('status'))
        else:
            thing.status = 'error'
            remove = self.store.delete if kept is self.store.shares else self.store.delete_snapshot
            remove(thing, False)
        return '', 202


def action_of(body: Json) -> tuple[str, Json]:
    """Name and arguments of the action in a body; Refusal 400 if there is none."""
    if len(body) != 1:
        refuse(400, 'Malformed request body: one action is expected.')
    name, given = next(iter(body.items()))
    return name.removeprefix('os-'), given if isinstance(given, dict) else {}


def update(thing: Share | Snapshot, wanted: Json) -> None:
    """Change what a body says: name, description, visibility."""
    for key in ('name', 'description'):
        for name in (key, f'display_{key}'):
            if name in wanted:
                setattr(thing, key, wanted[name])
    if 'is_public' in wanted and isinstance(thing, Share):
        thing.is_public = bool(wanted['is_public'])


def metadata_of(given: Any) -> dict[str, str]:
    """The metadata that a body gives; Refusal 400 if it is none."""
    if not isinstance(given, dict):
        refuse(400, 'Malformed request body: metadata must be an object.')
    for key, value in given.items():
        if not key or len(key) > 255 or not isinstance(value, str) or len(value) > 1023:
            refuse(400, f'Invalid metadata: key 1 to 255 characters, value a string up to 1023: {key[:50]}')
    return dict(given)


def _literal(text: str) -> Json:
    try:
        found = ast.literal_eval(text)
    except (ValueError, SyntaxError):
        found = None
    if not isinstance(found, dict):
        refuse(400, 'Invalid metadata filter.')
    return found


def _value(thing: Any, key: str) -> Any:
    return thing.share.id if key == 'share_id' else getattr(thing, key)


def _number(text: str | None, default: int) -> int:
    if text is None:
        return default
    if not text.isdecimal():
        refuse(400, f'Invalid value for limit or offset: {text}')
    return int(text)
