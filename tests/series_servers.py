"""Real time-series databases as processes of their own, on free ports and in folders of the test; each ends with it."""

from __future__ import annotations

import base64
import signal
import socket
import subprocess
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import parse_qs, urlencode, urlsplit

import httpx

from tests.services import require
from tests.waiting import wait_for

ROOT = Path(__file__).resolve().parents[1]
DATABASE = "brightline"
USER, PASSWORD = "brightline", "a long enough password"
ADMINISTRATOR = ("root", "another long password")


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as free:
        return int(free.getsockname()[1])


class Server:
    """One process that serves HTTP."""

    def __init__(self, folder: Path, path: str, arguments: list[str], port: int) -> None:
        self.folder = folder
        self.url = f"http://127.0.0.1:{port}"
        self._command = [path, *arguments]
        self.start()

    def start(self) -> None:
        with (self.folder / "server.log").open("ab") as log:
            self.process = subprocess.Popen(self._command, stdout=log, stderr=log, cwd=self.folder)
        wait_for(f"{self._command[0]} serves", self._serves)

    def _serves(self) -> bool:
        assert self.process.poll() is None, (self.folder / "server.log").read_text("utf-8")[-2000:]
        try:
            return httpx.get(f"{self.url}/ping", timeout=5, trust_env=False).status_code < 500
        except httpx.HTTPError:
            return False

    def kill(self) -> None:
        """End it like a power cut of the process."""
        self.process.send_signal(signal.SIGKILL)
        self.process.wait(30)

    def stop(self) -> None:
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGCONT)
            self.process.terminate()
            self.process.wait(60)


class InfluxServer(Server):
    """InfluxDB 1.x as configs/influxdb.conf sets it up, with the database and a user who may only use that."""

    def __init__(self, folder: Path) -> None:
        path, port = require("influxd"), free_port()
        folder.mkdir(parents=True, exist_ok=True)
        text = (ROOT / "configs" / "influxdb.conf").read_text("utf-8")
        for old, new in (("/var/lib/influxdb", str(folder)), (":8086", f":{port}"), (":8088", ":0")):
            assert old in text
            text = text.replace(old, new)
        config = folder / "influxdb.conf"
        config.write_text(text, "utf-8")
        super().__init__(folder, path, ["run", "-config", str(config)], port)
        name, password = ADMINISTRATOR
        self.query(f"CREATE USER {name} WITH PASSWORD '{password}' WITH ALL PRIVILEGES")
        self.query(f"CREATE DATABASE {DATABASE}")
        self.query(f"CREATE USER {USER} WITH PASSWORD '{PASSWORD}'")
        self.query(f"GRANT ALL ON {DATABASE} TO {USER}")

    def query(self, text: str) -> list[dict[str, object]]:
        """The results of InfluxQL, asked by the administrator."""
        params = {"q": text, "db": DATABASE, "epoch": "ms"}
        answer = httpx.post(f"{self.url}/query", params=params, auth=ADMINISTRATOR, timeout=30, trust_env=False)
        results: list[dict[str, object]] = answer.json()["results"]
        assert "error" not in results[0], results
        return results

    def write(self, line: str) -> None:
        """One line, written by somebody else."""
        params = {"db": DATABASE, "precision": "ms"}
        answer = httpx.post(f"{self.url}/write", params=params, content=line, auth=ADMINISTRATOR, trust_env=False)
        assert answer.status_code == 204, answer.text

    def settings(self) -> str:
        """What belongs into series.yaml; the password is in ``password`` beside it."""
        return (
            f"type: influxdb1\nurl: {self.url}\ndatabase: {DATABASE}\nusername: {USER}\n"
            "password: {file: password}\ntimeout_s: 10\n"
        )


class VictoriaServer(Server):
    """VictoriaMetrics, single node."""

    def __init__(self, folder: Path) -> None:
        path, port = require("victoria-metrics"), free_port()
        folder.mkdir(parents=True, exist_ok=True)
        arguments = [
            f"-storageDataPath={folder / 'data'}", f"-httpListenAddr=127.0.0.1:{port}", "-retentionPeriod=100y",
            "-dedup.minScrapeInterval=1ms", "-loggerLevel=ERROR",
        ]  # fmt: skip
        super().__init__(folder, path, arguments, port)


class _FrontServer(ThreadingHTTPServer):
    daemon_threads = True  # a client keeps its connection open


class V2Front:
    """Speaks the v2 write path before an InfluxDB 1.x, as 1.8 does itself: bucket is database, the token a password.

    With it influxdb-client's writes and InfluxQL's reads meet in one real database.
    """

    def __init__(self, behind: InfluxServer) -> None:
        client = self._client = httpx.Client(base_url=behind.url, timeout=30, trust_env=False)

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"
            wbufsize = 65536  # head and body in one packet: else each answer waits 40 ms for an acknowledgement

            def do_POST(self) -> None:
                self._pass("POST")

            def do_GET(self) -> None:
                self._pass("GET")

            def _pass(self, method: str) -> None:
                parts = urlsplit(self.path)
                params = {name: values[0] for name, values in parse_qs(parts.query).items()}
                path = parts.path
                headers = {"content-encoding": self.headers.get("content-encoding", "identity")}
                if path == "/api/v2/write":
                    path, params = "/write", {"db": params["bucket"], "precision": params["precision"]}
                    assert params["precision"] == "ms"
                    token = self.headers["authorization"].removeprefix("Token ")
                else:
                    token = (
                        base64.b64decode(self.headers["authorization"].removeprefix("Basic ")).decode().split(":")[1]
                    )
                body = self.rfile.read(int(self.headers.get("content-length", 0)))
                answer = client.request(
                    method, f"{path}?{urlencode(params)}", content=body, headers=headers,
                    auth=(USER, token),
                )  # fmt: skip
                self.send_response(answer.status_code)
                self.send_header("content-length", str(len(answer.content)))
                self.end_headers()
                self.wfile.write(answer.content)

            def log_message(self, format: str, *args: object) -> None:
                del format, args

        self._server = _FrontServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self._server.server_address[1]}"
        self._thread = threading.Thread(target=self._server.serve_forever)
        self._thread.start()

    def close(self) -> None:
        self._server.shutdown()
        self._thread.join(30)
        self._server.server_close()
        self._client.close()
