# SPDX-License-Identifier: Apache-2.0
"""tools/run.py: what it prints to type is typed here."""

import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

RUN = Path(__file__).parents[3] / 'tools' / 'run.py'
READY = 'Ctrl-C ends it'
CREATED = re.compile(r'\| id +\| (\S+)')
FIRST = re.compile(r'\| ([0-9a-f]{8}-\S+)')
BUSY = re.compile(r'\| (protecting|in_progress) ')
# What shows whether an operation has ended, before the next command needs that.
WAITED_FOR = ('karbor checkpoint-show', 'karbor restore-list')


def printed_until_ready(process: 'subprocess.Popen[str]') -> list[str]:
    """The lines that it prints, up to the one that says how to end it."""
    assert process.stdout is not None
    lines = []
    for line in process.stdout:
        lines.append(line.rstrip('\n'))
        if READY in line:
            return lines
    pytest.fail('\n'.join(lines))


class Typist:
    """A shell into which the commands are typed; ids that they tell take the place of PLAN_ID and others."""

    def __init__(self) -> None:
        self.exports: list[str] = []
        self.ids: dict[str, str] = {}

    def type(self, command: str) -> str:
        """The output of a command that must succeed."""
        if command.startswith(('export ', 'TOKEN=', 'ADMIN=')):
            self.exports.append(command)
            return ''
        for name, id in self.ids.items():
            command = command.replace(name, id)
        # As the printed lines stand, one after the other, in one shell.
        script = '\n'.join([*self.exports, command])
        done = subprocess.run(
            ['bash', '-euc', script],
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
            env=os.environ | {'COLUMNS': '200'},
        )
        assert done.returncode == 0, (command, done.stderr)
        for verb, name in (('plan-create', 'PLAN_ID'), ('checkpoint-create', 'CHECKPOINT_ID')):
            if verb in command:
                self.ids[name] = CREATED.search(done.stdout)[1]  # type: ignore[index]
        if command == 'karbor operationlog-list':
            self.ids['LOG_ID'] = FIRST.search(done.stdout)[1]  # type: ignore[index]
        return done.stdout

    def type_until_ended(self, command: str) -> str:
        """The output of a command that shows checkpoints or restores, when nothing works on them any more."""
        end = time.monotonic() + 20
        while BUSY.search(output := self.type(command)):
            assert time.monotonic() < end, output
        return output


def test_what_is_printed_works_when_it_is_typed(tmp_path):
    environment = os.environ | {'TMPDIR': str(tmp_path)}
    with subprocess.Popen([sys.executable, RUN], stdout=subprocess.PIPE, text=True, env=environment) as process:
        try:
            lines = [line.strip() for line in printed_until_ready(process)]
            commands = [line for line in lines if re.match(r'(export|karbor|TOKEN|ADMIN|curl)\b', line)]
            typist, output = Typist(), {}
            for command in commands:
                ask = typist.type_until_ended if command.startswith(WAITED_FOR) else typist.type
                output[command] = ask(command)
        finally:
            process.send_signal(signal.SIGINT)
            process.wait(20)
    assert process.returncode == 0
    assert list(tmp_path.iterdir()) == []
    by_verb = {' '.join(command.split()[:2]): shown for command, shown in output.items()}
    assert {f'karbor {verb}' for verb in ('plan-create', 'checkpoint-create', 'restore-create')} <= set(by_verb)
    assert '| available ' in by_verb['karbor checkpoint-show']
    plans, action, fault, _ = [shown for command, shown in output.items() if command.startswith('curl')]
    assert '"name":"my-plan"' in plans
    assert 'cancel needs one that has not ended' in action
    assert '"kind":"error_state"' in fault
