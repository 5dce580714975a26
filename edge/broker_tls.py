"""The TLS context of a connection to a broker, as its configuration says. The host name is always checked."""

from __future__ import annotations

import ssl

from edge.config_ports import BrokerTls


def make_context(tls: BrokerTls) -> ssl.SSLContext:
    """Raises OSError (also as ssl.SSLError) when a file is missing or is no certificate."""
    context = ssl.create_default_context(cafile=str(tls.ca_file) if tls.ca_file else None)
    if tls.client_cert_file is not None:
        context.load_cert_chain(tls.client_cert_file, tls.client_key_file)
    return context
