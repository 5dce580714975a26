"""The broker's doors: TLS with a private authority, a client certificate, a password; refusals are told once."""

from __future__ import annotations

import asyncio
import ipaddress
import logging
import subprocess
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from edge.config_ports import Broker
from edge.config_sensors import MqttSensor
from edge.drivers.mqtt import MqttDriver
from telemetry.messages import Reading
from tests.edge.drivers.mosquitto import mosquitto
from tests.services import require

DEADLINE_S = 30.0
SENSOR = MqttSensor.model_validate(
    {"type": "mqtt", "id": "s", "name": "s", "broker": "b", "topic": "s", "field": "t", "time_field": "at"}
)


def write_certificate(
    folder: Path, name: str, issuer: tuple[x509.Certificate, ec.EllipticCurvePrivateKey] | None
) -> tuple:
    """A key and a certificate for 127.0.0.1 in *folder*; without *issuer* an authority of its own."""
    key = ec.generate_private_key(ec.SECP256R1())
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
    now = datetime.now(UTC)
    certificate = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer[0].subject if issuer else subject)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - timedelta(days=1))
        .not_valid_after(now + timedelta(days=1))
        .add_extension(x509.BasicConstraints(ca=issuer is None, path_length=None), critical=True)
        .add_extension(x509.SubjectAlternativeName([x509.IPAddress(ipaddress.ip_address("127.0.0.1"))]), critical=False)
        .sign(issuer[1] if issuer else key, hashes.SHA256())
    )
    (folder / f"{name}.pem").write_bytes(certificate.public_bytes(serialization.Encoding.PEM))
    (folder / f"{name}.key").write_bytes(
        key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    )
    return certificate, key


async def read_one(port: Broker, deadline_s: float = DEADLINE_S) -> Reading:
    """The sensor's first value; the driver itself publishes it, through its own session."""
    driver = MqttDriver(port, [SENSOR], lambda: True)
    async with asyncio.timeout(deadline_s), driver:
        deliveries = driver.deliveries()
        waiting = asyncio.ensure_future(anext(deliveries))
        try:
            while not waiting.done():
                assert driver._session is not None
                driver._session.publish("s", b'{"t": 4}')
                await asyncio.wait([waiting], timeout=0.1)
            return waiting.result().readings[0]
        finally:
            waiting.cancel()


# paho leaves the socket of a failed handshake to the garbage collector
@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
def test_a_session_over_tls_with_certificates_of_both_sides_and_a_password(tmp_path: Path) -> None:
    authority = write_certificate(tmp_path, "authority", None)
    write_certificate(tmp_path, "server", authority)
    write_certificate(tmp_path, "box", authority)
    write_certificate(tmp_path, "stranger", None)
    passwords = tmp_path / "passwords"
    passwords.touch()
    subprocess.run([require("mosquitto_passwd"), "-b", str(passwords), "box", "secret"], check=True)
    more = (
        f"allow_anonymous false\npassword_file {passwords}\ncafile {tmp_path}/authority.pem\n"
        f"certfile {tmp_path}/server.pem\nkeyfile {tmp_path}/server.key\nrequire_certificate true\n"
    )
    tls = {"ca_file": tmp_path / "authority.pem", "client_cert_file": tmp_path / "box.pem"}
    tls["client_key_file"] = tmp_path / "box.key"
    values = {"id": "b", "host": "127.0.0.1", "client_id": "box", "username": "box", "password": "secret"}
    with mosquitto(tmp_path / "broker", more) as server:
        good = Broker.model_validate(values | {"port": server.port, "tls": tls})
        assert asyncio.run(read_one(good)).value == 4.0
        foreign = Broker.model_validate(
            values | {"port": server.port, "tls": tls | {"ca_file": tmp_path / "stranger.pem"}}
        )
        with pytest.raises(TimeoutError):
            asyncio.run(read_one(foreign, 3.0))


def test_a_wrong_password_is_told_once_and_never_shown(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    passwords = tmp_path / "passwords"
    passwords.touch()
    subprocess.run([require("mosquitto_passwd"), "-b", str(passwords), "box", "right"], check=True)
    with mosquitto(tmp_path / "broker", f"allow_anonymous false\npassword_file {passwords}\n") as server:
        port = Broker.model_validate(
            {
                "id": "b",
                "host": "127.0.0.1",
                "port": server.port,
                "client_id": "box",
                "username": "box",
                "password": "wrong1",
            }
        )
        with pytest.raises(TimeoutError):
            asyncio.run(read_one(port, 4.0))
    told = [record.getMessage() for record in caplog.records if record.levelno >= logging.ERROR]
    assert len(told) == 1
    assert "refuses the box" in told[0]
    assert "wrong1" not in caplog.text + repr(port)
