# SPDX-License-Identifier: Apache-2.0
"""How Sphinx builds the API reference: `sphinx-build -W -b html api-ref/source api-ref/build/html`."""

project = 'Karbor API'
copyright = 'Karbor contributors'

html_theme = 'alabaster'
html_theme_options = {'description': 'Data protection as a service for OpenStack', 'page_width': '1100px'}
html_show_copyright = False
