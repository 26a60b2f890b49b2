# SPDX-License-Identifier: Apache-2.0
"""The pages of the API reference, from the declarations of the API's methods and the texts in `parameters.yaml`.

`python tools/api_ref.py` writes a page of `api-ref/source` for each module of `karbor/api/v1`; with `--samples` it
first records the examples, which takes a Karbor with its sandbox cloud (api_ref_samples.py). It ends with exit status
1, and says so, when a field or a call of the API has no text, a call no example, or a text no field. With `--check`
nothing is written, and it is a fault, too, when a page is not what it would be.
"""

import re
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import karbor.native_threads  # noqa: F401 isort: skip  before anything that imports oslo.messaging
import yaml

from karbor.api import v1
from karbor.api.method import Method

SOURCE = Path(__file__).parent.parent / 'api-ref' / 'source'
SAMPLES = SOURCE / 'samples'
TYPES = {'integer': 'whole number', 'string': 'text', 'boolean': 'true or false', 'object': 'object', 'array': 'list'}
FORMATS = {'uuid': 'UUID', 'date': 'date'}
Route = tuple[str, str, Method]


class Texts:
    """What fields mean, by page; those of `common` hold for all. `path`, `query`, `body` or `reply` before the name of
    a field is for that place alone. Each text has to be asked for.
    """

    def __init__(self, path: Path) -> None:
        self._texts: dict[str, dict[str, str]] = yaml.safe_load(path.read_text())
        self._asked: set[tuple[str, str]] = set()
        self.missing: set[str] = set()

    def of(self, page: str, field: str, place: str = '') -> str:
        """The text of the field, which is noted as missing where there is none."""
        for key in ((where, name) for name in (f'{place} {field}', field) for where in (page, 'common')):
            if key[1] in self._texts.get(key[0], {}):
                self._asked.add(key)
                return self._texts[key[0]][key[1]]
        self.missing.add(f'{page}: {field}')
        return ''

    @property
    def idle(self) -> set[str]:
        """The texts that no field has asked for."""
        known = {(place, field) for place, texts in self._texts.items() for field in texts}
        return {f'{place}: {field}' for place, field in known - self._asked}


def pages() -> dict[str, list[Route]]:
    """The routes that need a token, by the module of the API that answers them."""
    found: dict[str, list[Route]] = {}
    for verb, path, method in v1.ROUTES:
        if not method.public:
            found.setdefault(method.function.__module__.rpartition('.')[2], []).append((verb, path, method))
    return found


def sample_name(verb: str, path: str) -> str:
    """The name of the files with the example of a call."""
    places = [part.strip('{}') for part in path.split('/')[3:]]
    return '-'.join([verb.lower(), *places])


def page(name: str, routes: list[Route], texts: Texts) -> str:
    """The page of these calls."""
    title = name.replace('_', ' ').capitalize()
    parts = ['.. Made by tools/api_ref.py.', '', '=' * len(title), title, '=' * len(title), '']
    parts += [texts.of('pages', name), '']
    for verb, path, method in routes:
        parts += _call(name, verb, path, method, texts)
    return '\n'.join(parts).rstrip() + '\n'


def _call(name: str, verb: str, path: str, method: Method, texts: Texts) -> Iterator[str]:
    title = (method.function.__doc__ or '').strip().split('\n\n')[0].replace('\n    ', ' ')
    heading = f'{verb} {path}'
    yield from (heading, '=' * len(heading), '', re.sub('`+', '``', title), '')
    yield f'Policy: ``{method.policy}``. Answer: {method.status}.{_headers(verb, method)}'
    yield ''
    variables = {part[1:-1]: method.schema_of(part[1:-1]) for part in path.split('/') if part.startswith('{')}
    yield from _table('In the path', variables, set(variables), name, texts)
    yield from _table('In the query', method.query or {}, set(), name, texts)
    if method.body is not None:
        yield from _body(name, method.body, texts)
    yield from _sample('Example request', sample_name(verb, path) + '.request.json')
    if method.reply is not None:
        yield from _table('In the reply', _shown(method.reply), None, name, texts)
        yield from _sample('Example reply', sample_name(verb, path) + '.reply.json')
    yield from (f'**Errors**: {texts.of("errors", f"{name}.{method.function.__name__}")}', '')


def _body(name: str, body: Mapping[str, Any], texts: Texts) -> Iterator[str]:
    """A table of what the object in the body holds, of the body itself, or of the actions that it may be."""
    key, inner = next(iter(body['properties'].items()))
    if len(body['properties']) == 1 and 'properties' in inner:
        title, fields, required = f'In the body, below ``{key}``', inner['properties'], inner.get('required', ())
    elif body.get('maxProperties') == 1:
        title, fields, required = 'In the body, one of', body['properties'], ()
    else:
        title, fields, required = 'In the body', body['properties'], body['required']
    yield from _table(title, fields, set(required), name, texts)


def _headers(verb: str, method: Method) -> str:
    told = ' Heeds :ref:`Idempotency-Key <repeats>`.' if verb == 'POST' else ''
    if method.tagged and verb != 'POST':
        told += f' Heeds :ref:`{"If-None-Match" if verb == "GET" else "If-Match"} <tags>`.'
    return told + (' Its reply has an :ref:`ETag <tags>`.' if method.tagged and method.reply is not None else '')


def _shown(reply: Mapping[str, Any]) -> dict[str, Any]:
    """The properties of what a reply holds: of its object, or of each object of its list."""
    for inner in reply.get('properties', {}).values():
        if inner.get('type') == 'array':
            return dict(inner['items'].get('properties', {}))
        return dict(inner['properties'])
    return {}


def _table(title: str, fields: Mapping[str, Any], required: set[str] | None, page: str, texts: Texts) -> Iterator[str]:
    """A table of the fields; ``required`` is None where nobody has to give them."""
    if not fields:
        return
    yield from (f'**{title}**', '', '.. list-table::', '   :widths: 20 20 60', '')
    for field, schema in fields.items():
        kind = _kind(schema) + (', required' if required and field in required else '')
        yield from (
            f'   * - ``{field}``',
            f'     - {kind}',
            f'     - {texts.of(page, field, title.split()[2].strip(","))}',
        )
    yield ''


def _kind(schema: Mapping[str, Any]) -> str:
    if 'enum' in schema:
        return ' | '.join('null' if word is None else f'``{word}``' for word in schema['enum'])
    if schema.get('format') in FORMATS:
        return FORMATS[schema['format']]
    types = schema.get('type', [])
    types = [types] if isinstance(types, str) else types
    return ' or '.join(TYPES.get(kind, kind) for kind in types) or 'any'


def _sample(title: str, file: str) -> Iterator[str]:
    if (SAMPLES / file).exists():
        yield from (f'**{title}**', '', f'.. literalinclude:: samples/{file}', '   :language: json', '')


def lacking(verb: str, path: str, method: Method) -> Iterator[str]:
    """The files that are missing for the example of a call; nothing is to be seen of a body that is always empty."""
    for kind, schema in (('request', method.body), ('reply', method.reply)):
        file = f'{sample_name(verb, path)}.{kind}.json'
        if schema is not None and schema.get('maxProperties') != 0 and not (SAMPLES / file).exists():
            yield file


def main(arguments: list[str]) -> int:
    """Write the pages; the exit status."""
    if '--samples' in arguments:
        import api_ref_samples

        api_ref_samples.record(SAMPLES)
    texts = Texts(SOURCE / 'parameters.yaml')
    made = {SOURCE / f'{name}.rst': page(name, routes, texts) for name, routes in pages().items()}
    if '--check' not in arguments:
        for file, text in made.items():
            file.write_text(text)
    faults = [f'no text for {field}' for field in sorted(texts.missing)]
    faults += [f'no field for {field}' for field in sorted(texts.idle)]
    faults += [f'no example {file}' for routes in pages().values() for route in routes for file in lacking(*route)]
    faults += [f'not up to date: {file.name}' for file, text in made.items() if file.read_text() != text]
    print(*faults, sep='\n', file=sys.stderr, end='\n' if faults else '')
    return 1 if faults else 0


if __name__ == '__main__':
    sys.exit(main(sys.argv[1:]))
