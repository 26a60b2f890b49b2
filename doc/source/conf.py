# SPDX-License-Identifier: Apache-2.0
"""How Sphinx builds the documentation: `make docs`."""

import karbor.native_threads  # noqa: F401  before anything that imports oslo.messaging: see there

project = 'Karbor'
copyright = 'Karbor contributors'

extensions = [
    'oslo_config.sphinxext',
    'oslo_policy.sphinxext',
    'sphinx.ext.autodoc',
]
autodoc_member_order = 'bysource'
autodoc_typehints = 'signature'
autodoc_typehints_format = 'short'
# Docstrings have code between single backquotes.
default_role = 'literal'

# Comes with Sphinx and, unlike openstackdocstheme, builds in a tree without git history.
html_theme = 'alabaster'
html_theme_options = {
    'description': 'Data protection as a service for OpenStack',
    'fixed_sidebar': True,
    'page_width': '1100px',
}
html_show_copyright = False
