# SPDX-License-Identifier: Apache-2.0
"""The smallest build back end (PEP 517): the package's files and its entry points in a wheel."""

import tomllib
import zipfile
from pathlib import Path
from typing import Any

HERE = Path(__file__).parent


def build_wheel(wheel_directory: str, config_settings: Any = None, metadata_directory: Any = None) -> str:
    project = tomllib.loads((HERE / 'pyproject.toml').read_text())['project']
    name = f'{project["name"].replace("-", "_")}-{project["version"]}'
    points = ''.join(
        f'[{group}]\n' + ''.join(f'{point} = {where}\n' for point, where in found.items())
        for group, found in project['entry-points'].items()
    )
    files = {f'acme_tape/{path.name}': path.read_text() for path in sorted((HERE / 'acme_tape').glob('*.py'))}
    files |= {
        f'{name}.dist-info/METADATA': 'Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n'.format(**project),
        f'{name}.dist-info/WHEEL': 'Wheel-Version: 1.0\nGenerator: backend\nRoot-Is-Purelib: true\nTag: py3-none-any\n',
        f'{name}.dist-info/entry_points.txt': points,
    }
    record = f'{name}.dist-info/RECORD'
    wheel = f'{name}-py3-none-any.whl'
    with zipfile.ZipFile(Path(wheel_directory, wheel), 'w') as archive:
        for path, text in files.items():
            archive.writestr(path, text)
        archive.writestr(record, ''.join(f'{path},,\n' for path in [*files, record]))
    return wheel
