# SPDX-License-Identifier: Apache-2.0
"""The vendor's "service": tapes are files in a folder, and every call is noted there."""

import itertools
import os

from oslo_config import cfg

TAPE_OPTS = [
    cfg.StrOpt('folder', help='The folder of the tapes.'),
    cfg.FloatOpt('poll_interval', default=15.0, help='Seconds between two looks at a job.'),
]


class Library(object):
    def __init__(self, folder):
        self.folder = folder

    def note(self, *words):
        with open(os.path.join(self.folder, 'calls'), 'a') as calls:
            calls.write(' '.join(words) + '\n')

    def create(self, source):
        for number in itertools.count(1):
            path = os.path.join(self.folder, '%s-copy%d' % (source, number))
            try:
                with open(path, 'x') as tape:
                    tape.write('content of %s' % source)
                return os.path.basename(path)
            except FileExistsError:
                continue

    def remove(self, name):
        os.unlink(os.path.join(self.folder, name))

    def status(self, name):
        """WINDING while there is a file `hold-<name>`, JAMMED for `jam-<name>`."""
        if not os.path.exists(os.path.join(self.folder, name)):
            return 'not-found'
        for word in ('hold', 'jam'):
            if os.path.exists(os.path.join(self.folder, '%s-%s' % (word, name))):
                return {'hold': 'WINDING', 'jam': 'JAMMED'}[word]
        return 'AVAILABLE'
