# SPDX-License-Identifier: Apache-2.0
"""The examples of the API reference: requests and replies of the main job, as a Karbor with its sandbox gave them.

Ids, times and addresses are replaced by such that stay the same, so that recording again changes nothing but what the
API has changed.
"""

import json
import re
import time
import uuid
from pathlib import Path
from typing import Any

import api_ref
import requests
from demo_service import Service, spare_proxies

SHARE, PROJECT = 'OS::Manila::Share', 'OS::Keystone::Project'
PROVIDER = 'cf56bd3e-97a7-4078-b6d5-f36246333fd9'
BASE = '/v1/{project_id}'
CHECKPOINTS = f'{BASE}/providers/{{provider_id}}/checkpoints'
UUID = re.compile(r'\b[0-9a-f]{8}-(?:[0-9a-f]{4}-){3}[0-9a-f]{12}\b|\b[0-9a-f]{32}\b')
MOMENT = re.compile(r'\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{6}')
DATE = re.compile(r'"\d{4}-\d\d-\d\d"')
HOST = re.compile(r'"host": "[^"]*"')
SECONDS = 30


class Recorder:
    """Asks a running Karbor as the user demo, or as whom `user` names, and keeps what it is told to."""

    def __init__(self, service: Service, folder: Path) -> None:
        self.url, self.folder = service.ready['karbor'], folder
        self.variables = {'provider_id': PROVIDER}
        self.sessions = {name: requests.Session() for name in ('demo', 'admin')}
        for name, session in self.sessions.items():
            session.headers['X-Auth-Token'] = str(service.session(name).get_token())
        self.user, self.projects = 'demo', {name: service.user(name)['project_id'] for name in self.sessions}
        self.ids: dict[str, str] = {PROVIDER: PROVIDER}
        self.moments: dict[str, str] = {}

    def ask(
        self, verb: str, path: str, body: Any = None, keep: bool = True, refused: bool = False, **query: Any
    ) -> Any:
        """The reply's body; request and reply are kept as the example of this call, which may be one that is
        ``refused``.
        """
        address = path.removeprefix('/v1').format(**self.variables | {'project_id': self.projects[self.user]})
        reply = self.sessions[self.user].request(verb, self.url + address, json=body, params=query, timeout=SECONDS)
        if not refused:
            reply.raise_for_status()
        answer = reply.json() if reply.content else None
        if keep:
            name = api_ref.sample_name(verb, path)
            for kind, value in (('request', body), ('reply', answer)):
                if value:
                    (self.folder / f'{name}.{kind}.json').write_text(self._told(value))
        return answer

    def until(self, path: str, key: str, *busy: str) -> None:
        """Return when the thing is in none of these states any more. Raises TimeoutError."""
        end = time.monotonic() + SECONDS
        while self.ask('GET', path, keep=False)[key]['status'] in busy:
            if time.monotonic() > end:
                raise TimeoutError(path)
            time.sleep(0.1)

    def _told(self, value: Any) -> str:
        text = UUID.sub(self._id, json.dumps(value, indent=2, ensure_ascii=False))
        text = HOST.sub('"host": "controller"', DATE.sub('"2026-01-01"', MOMENT.sub(self._moment, text)))
        return text.replace(self.url.removesuffix('/v1'), 'http://controller:8799') + '\n'

    def _id(self, found: re.Match[str]) -> str:
        known = self.ids.get(found[0])
        if known is None:
            known = str(uuid.uuid5(uuid.NAMESPACE_URL, f'karbor {len(self.ids)}'))
            self.ids[found[0]] = known = known if '-' in found[0] else known.replace('-', '')
        return known

    def _moment(self, found: re.Match[str]) -> str:
        return self.moments.setdefault(found[0], f'2026-01-01T10:00:{len(self.moments) % 60:02d}.000000')


def record(folder: Path) -> None:
    """Do the main job, and write the examples into the folder in place of those that are there."""
    spare_proxies()
    for file in folder.glob('*.json'):
        file.unlink()
    with Service() as service:
        recorder = Recorder(service, folder)
        share = _look(recorder)
        _plan(recorder, share)
        _protect(recorder)
        _restore(recorder)
        _logs(recorder)
        _schedule(recorder)
        _verify(recorder)
        _copy(recorder)
        _cancel(recorder)
        _quotas(recorder)
        _services(recorder)
        _remove(recorder)


def _look(recorder: Recorder) -> dict[str, Any]:
    recorder.ask('GET', f'{BASE}/protectables')
    recorder.ask('GET', f'{BASE}/providers')
    recorder.ask('GET', f'{BASE}/providers/{{provider_id}}')
    recorder.variables['type'] = PROJECT
    recorder.ask('GET', f'{BASE}/protectables/{{type}}')
    recorder.variables['type'] = SHARE
    instances = recorder.ask('GET', f'{BASE}/protectables/{{type}}/instances', sort='name:asc')['instances']
    share = next(found for found in instances if found['name'] == 'documents')
    recorder.variables['id'] = share['id']
    recorder.ask('GET', f'{BASE}/protectables/{{type}}/instances/{{id}}')
    return {name: share[name] for name in ('id', 'type', 'name')}


def _plan(recorder: Recorder, share: dict[str, Any]) -> None:
    plan = {
        'name': 'documents',
        'description': None,
        'provider_id': PROVIDER,
        'resources': [share],
        'parameters': {SHARE: {'snapshot_name': 'nightly'}},
    }
    made = recorder.ask('POST', f'{BASE}/plans', {'plan': plan})['plan']
    recorder.variables['plan_id'] = made['id']
    recorder.ask('PUT', f'{BASE}/plans/{{plan_id}}', {'plan': {'description': 'Every night.'}})
    recorder.ask('GET', f'{BASE}/plans/{{plan_id}}')
    recorder.ask('GET', f'{BASE}/plans')


def _protect(recorder: Recorder) -> None:
    wanted = {'checkpoint': {'plan_id': recorder.variables['plan_id'], 'extra-info': {'reason': 'before the audit'}}}
    made = recorder.ask('POST', CHECKPOINTS, wanted)['checkpoint']
    recorder.variables['checkpoint_id'] = made['id']
    recorder.until(f'{CHECKPOINTS}/{{checkpoint_id}}', 'checkpoint', 'protecting')
    recorder.ask('GET', f'{CHECKPOINTS}/{{checkpoint_id}}')
    recorder.ask('GET', CHECKPOINTS)


def _restore(recorder: Recorder) -> None:
    restore = {
        'provider_id': PROVIDER,
        'checkpoint_id': recorder.variables['checkpoint_id'],
        'parameters': {f'{SHARE}#{recorder.variables["id"]}': {'restore_name': 'documents-restored'}},
    }
    made = recorder.ask('POST', f'{BASE}/restores', {'restore': restore})['restore']
    recorder.variables['restore_id'] = made['id']
    recorder.until(f'{BASE}/restores/{{restore_id}}', 'restore', 'in_progress')
    recorder.ask('GET', f'{BASE}/restores/{{restore_id}}')
    recorder.ask('GET', f'{BASE}/restores')


def _verify(recorder: Recorder) -> None:
    verification = {'provider_id': PROVIDER, 'checkpoint_id': recorder.variables['checkpoint_id'], 'parameters': {}}
    made = recorder.ask('POST', f'{BASE}/verifications', {'verification': verification})['verification']
    recorder.variables['verification_id'] = made['id']
    recorder.until(f'{BASE}/verifications/{{verification_id}}', 'verification', 'in_progress')
    recorder.ask('GET', f'{BASE}/verifications/{{verification_id}}')
    recorder.ask('GET', f'{BASE}/verifications')


def _copy(recorder: Recorder) -> None:
    """None of the plugins that come with Karbor can copy: that is what can be shown."""
    wanted = {'copy': {'plan_id': recorder.variables['plan_id'], 'parameters': {}}}
    recorder.ask('POST', f'{CHECKPOINTS}/action', wanted, refused=True)


def _cancel(recorder: Recorder) -> None:
    ids = {name: recorder.variables[f'{name}_id'] for name in ('provider', 'checkpoint')}
    restore = {'provider_id': ids['provider'], 'checkpoint_id': ids['checkpoint'], 'parameters': {}}
    made = recorder.ask('POST', f'{BASE}/restores', {'restore': restore}, keep=False)['restore']
    (log,) = recorder.ask('GET', f'{BASE}/operation_logs', keep=False, restore_id=made['id'])['operation_logs']
    recorder.variables['operation_log_id'] = log['id']
    recorder.ask('POST', f'{BASE}/operation_logs/{{operation_log_id}}/action', {'cancel': {}})
    recorder.until(f'{BASE}/operation_logs/{{operation_log_id}}', 'operation_log', 'restoring')


def _quotas(recorder: Recorder) -> None:
    recorder.user = 'admin'
    recorder.variables |= {'quota_project_id': recorder.projects['demo'], 'class_name': 'default'}
    of_project, of_class = f'{BASE}/quotas/{{quota_project_id}}', f'{BASE}/quota_classes/{{class_name}}'
    recorder.ask('PUT', of_project, {'quota': {'plans': 20}})
    recorder.ask('PUT', of_class, {'quota_class': {'checkpoints': 500}})
    for path in (of_project, f'{of_project}/detail', f'{of_project}/defaults', of_class):
        recorder.ask('GET', path)
    recorder.user = 'demo'


def _services(recorder: Recorder) -> None:
    recorder.user = 'admin'
    listed = recorder.ask('GET', f'{BASE}/os-services')['services']
    recorder.variables['id'] = next(s['id'] for s in listed if s['binary'] == 'karbor-operationengine')
    wanted = {'status': 'disabled', 'disabled_reason': 'the node is worked on'}
    recorder.ask('PUT', f'{BASE}/os-services/{{id}}', wanted)
    recorder.user = 'demo'


def _logs(recorder: Recorder) -> None:
    for place in (f'{BASE}/operation_logs', f'{BASE}/providers/{{provider_id}}/operation_logs'):
        logs = recorder.ask('GET', place)['operation_logs']
        recorder.variables['operation_log_id'] = logs[0]['id']
        recorder.ask('GET', f'{place}/{{operation_log_id}}')
    recorder.ask('GET', f'{BASE}/operation_logs/{{operation_log_id}}/resources')


def _schedule(recorder: Recorder) -> None:
    properties = {
        'format': 'crontab',
        'pattern': '30 2 * * 1-5',
        'timezone': 'Europe/Berlin',
        'start_time': '2026-01-01 00:00:00',
        'window': 900,
    }
    trigger = {'name': 'working days', 'type': 'time', 'properties': properties}
    made = recorder.ask('POST', f'{BASE}/triggers', {'trigger_info': trigger})['trigger_info']
    recorder.variables['trigger_id'] = made['id']
    changes = {'trigger_info': {'properties': properties | {'pattern': '30 2 * * *'}}}
    recorder.ask('PUT', f'{BASE}/triggers/{{trigger_id}}', changes)
    recorder.ask('GET', f'{BASE}/triggers/{{trigger_id}}')
    recorder.ask('GET', f'{BASE}/triggers')
    definition = {'plan_id': recorder.variables['plan_id'], 'provider_id': PROVIDER, 'max_backups': 7}
    operation = {
        'name': 'documents',
        'operation_type': 'retention_protect',
        'trigger_id': made['id'],
        'operation_definition': definition,
    }
    place = f'{BASE}/scheduled_operations'
    made = recorder.ask('POST', place, {'scheduled_operation': operation})['scheduled_operation']
    recorder.variables['scheduled_operation_id'] = made['id']
    recorder.ask('GET', f'{place}/{{scheduled_operation_id}}')
    recorder.ask('GET', place)
    recorder.ask('DELETE', f'{place}/{{scheduled_operation_id}}')
    recorder.ask('DELETE', f'{BASE}/triggers/{{trigger_id}}')


def _remove(recorder: Recorder) -> None:
    recorder.ask('PUT', f'{CHECKPOINTS}/{{checkpoint_id}}', {'os-resetState': {'state': 'error'}})
    recorder.ask('DELETE', f'{CHECKPOINTS}/{{checkpoint_id}}')
    recorder.until(f'{CHECKPOINTS}/{{checkpoint_id}}', 'checkpoint', 'deleting')
    recorder.ask('DELETE', f'{BASE}/plans/{{plan_id}}')
