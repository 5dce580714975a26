"""Every wrong configuration gives `file:line: path: problem` and exit status 2 at the real console."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from edge.config import ConfigurationError, load
from tests.edge.console import ROOT, RunEdge

GOOD = """\
box: {name: canteen-1, data_dir: data}
server:
  url: https://centre.example
serial_ports:
  - {id: rs485, device: /dev/ttyUSB0}
sensors:
  - type: modbus
    id: air
    name: 空气
    port: rs485
    unit: 1
    register: 0
limits:
  - {sensor: air, high_c: 8, delay_s: 60}
cameras:
  - {id: kitchen, name: 备餐间, source: "rtsp://camera/1"}
"""

# what is changed in GOOD → the line and path and a part of the problem
WRONG: dict[str, tuple[str, str, int, str, str]] = {
    "unknown key": ("    unit: 1\n", "    unit: 1\n    unti: 2\n", 12, "sensors.0.unti", "unknown key"),
    "missing key": ("    unit: 1\n", "", 7, "sensors.0.unit", "is missing"),
    "missing section": ("box: {name: canteen-1, data_dir: data}\n", "", 1, "box", "is missing"),
    "wrong type": ("    unit: 1\n", "    unit: one\n", 11, "sensors.0.unit", "valid integer"),
    "out of range": ("    unit: 1\n", "    unit: 248\n", 11, "sensors.0.unit", "less than or equal to 247 (it is 248)"),
    "not a list": ("  - {id: rs485, device: /dev/ttyUSB0}\n", "  rs485: 9600\n", 4, "serial_ports", "tuple"),
    "bad identifier": ("name: canteen-1", "name: '食堂 1'", 1, "box.name", "pattern"),
    "unknown port": (
        "    port: rs485\n",
        "    port: rs232\n",
        10,
        "sensors.0.port",
        "is no id in serial_ports or modbus_tcp (it is 'rs232')",
    ),
    "unknown sensor": (
        "{sensor: air,",
        "{sensor: water,",
        14,
        "limits.0.sensor",
        "is no id in sensors (it is 'water')",
    ),
    "no side": ("high_c: 8, ", "", 14, "limits.0", "needs high_c or low_c"),
    "sides crossed": ("high_c: 8, ", "high_c: 8, low_c: 8, ", 14, "limits.0", "low_c must be below high_c"),
    "limit that never alarms": ("high_c: 8", "high_c: .nan", 14, "limits.0.high_c", "finite"),
    "range crossed": (
        "    unit: 1\n",
        "    unit: 1\n    plausible: {min: 9, max: 1}\n",
        12,
        "sensors.0.plausible",
        "below",
    ),
    "zone unknown": ("data_dir: data", "data_dir: data, time_zone: Asia/Peking", 1, "box.time_zone", "time zone"),
    "zone is a folder": ("data_dir: data", "data_dir: data, time_zone: Asia", 1, "box.time_zone", "time zone"),
    "foreign http": ("https://centre.example", "http://centre.example", 3, "server.url", "must be https://"),
    "no address": ("https://centre.example", "centre.example", 3, "server.url", "must be an address"),
    "bad port number": ("centre.example", "centre.example:x", 3, "server.url", "must be an address"),
    "no CA file": (
        "centre.example",
        "centre.example\n  ca_file: ca.pem",
        4,
        "server.ca_file",
        "is no file (it is 'ca.pem')",
    ),
    "secret variable missing": ('"rtsp://camera/1"', "{env: BL_NOT_SET}", 16, "cameras.0.source", "BL_NOT_SET"),
    "secret file missing": ('"rtsp://camera/1"', "{file: gone.txt}", 16, "cameras.0.source", "gone.txt"),
    "secret file impossible": ('"rtsp://camera/1"', '{file: "a\\0b"}', 16, "cameras.0.source", "cannot read"),
    "broken YAML": ("    unit: 1\n", "    unit: [1\n", 12, "file", "expected ',' or ']'"),
    "tab": ("    unit: 1\n", "\tunit: 1\n", 11, "file", "found character"),
    "python object": ("    unit: 1\n", "    unit: !!python/object/apply:os.getpid []\n", 11, "file", "constructor"),
    "double key": ("    unit: 1\n", "    unit: 1\n    unit: 2\n", 12, "file", "'unit' stands twice"),
    "alias": ("    unit: 1\n", "    unit: &one 1\n    scale: *one\n", 12, "file", "aliases are not allowed"),
    "endless alias": ("limits:\n", "limits: &l\n  - *l\n", 14, "file", "aliases are not allowed"),
    "impossible date": ("    unit: 1\n", "    unit: 2026-13-01\n", 1, "file", "impossible value"),
}


@pytest.fixture
def config_file(tmp_path: Path) -> Path:
    path = tmp_path / "box.yaml"
    path.write_text(GOOD, "utf-8")
    return path


def test_good_configuration_is_accepted_at_the_console(run_edge: RunEdge, config_file: Path) -> None:
    done = run_edge("check", config_file)
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout == f"{config_file}: ok (1 sensors, 1 cameras)\n"


@pytest.mark.parametrize("name", sorted(WRONG))
def test_wrong_configuration_is_told_with_line_and_path(config_file: Path, name: str) -> None:
    before, after, line, place, problem = WRONG[name]
    assert GOOD.count(before) == 1
    config_file.write_text(GOOD.replace(before, after), "utf-8")
    with pytest.raises(ConfigurationError) as caught:
        load(config_file)
    told = re.match(r"(?P<file>[^:]+):(?P<line>\d+): (?P<place>[^:]+): (?P<problem>.*)\Z", str(caught.value))
    assert told is not None, str(caught.value)
    assert (told["file"], int(told["line"]), told["place"]) == (str(config_file), line, place)
    assert problem in told["problem"]


@pytest.mark.parametrize("name", ["missing key", "foreign http", "secret variable missing", "broken YAML"])
def test_console_prints_the_problem_and_exits_with_status_2(run_edge: RunEdge, config_file: Path, name: str) -> None:
    before, after, line, place, problem = WRONG[name]
    config_file.write_text(GOOD.replace(before, after), "utf-8")
    done = run_edge("check", config_file)
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.startswith(f"{config_file}:{line}: {place}: ")
    assert problem in done.stderr
    assert done.stderr.count("\n") == 1


@pytest.mark.parametrize(
    ("content", "problem"),
    [
        (b"", "is empty"),
        (b"# only a comment\n", "is empty"),
        (b"box: \xff\xfe\n", "is not UTF-8"),
        (b"#" * (1024 * 1024 + 1), "has more than 1048576 bytes"),
        (b"[" * 20_000, "nested too deeply"),
        (b"box: \x07\n", "special characters"),
    ],
    ids=["empty", "comment", "not-utf-8", "oversized", "deep", "control-character"],
)
def test_file_that_is_no_configuration_is_refused_with_status_2(
    run_edge: RunEdge, config_file: Path, content: bytes, problem: str
) -> None:
    config_file.write_bytes(content)
    done = run_edge("check", config_file)
    assert done.returncode == 2
    assert re.fullmatch(rf"{re.escape(str(config_file))}:1: file: .*{problem}.*\n", done.stderr)


def test_missing_file_and_folder_are_refused_with_status_2(run_edge: RunEdge, tmp_path: Path) -> None:
    for path in (tmp_path / "gone.yaml", tmp_path):
        done = run_edge("check", path)
        assert done.returncode == 2
        assert done.stderr.startswith(f"{path}:1: file: cannot be read")


@pytest.mark.parametrize("text", ["words only", "- a\n- b", "1: x\n"])
def test_yaml_that_is_no_mapping_of_names_is_refused(config_file: Path, text: str) -> None:
    config_file.write_text(text, "utf-8")
    with pytest.raises(ConfigurationError, match=rf"{config_file}:1: "):
        load(config_file)


@pytest.mark.parametrize("section", ["serial_ports", "sensors", "cameras"])
def test_double_id_is_told_at_its_second_use(config_file: Path, section: str) -> None:
    lines = GOOD.splitlines()
    start = lines.index(f"{section}:") + 1
    end = next((i for i in range(start, len(lines)) if not lines[i].startswith(" ")), len(lines))
    config_file.write_text("\n".join(lines[:end] + lines[start:end] + lines[end:]) + "\n", "utf-8")
    with pytest.raises(ConfigurationError, match=rf":\d+: {section}\.1\.id: is used twice"):
        load(config_file)


def test_all_problems_are_told_at_once(config_file: Path) -> None:
    config_file.write_text(GOOD.replace("unit: 1", "unit: 0").replace("delay_s: 60", "delay_s: -1"), "utf-8")
    with pytest.raises(ConfigurationError) as caught:
        load(config_file)
    assert [line.split(": ")[1] for line in str(caught.value).splitlines()] == ["sensors.0.unit", "limits.0.delay_s"]


SECRET = "hunter2-s3cret"


@pytest.mark.parametrize(
    ("place", "secret"),
    [
        ("https://centre.example", f"http://centre.example/{SECRET}"),
        ("https://centre.example", f"https://user:{SECRET}@centre.example"),
        ("https://centre.example", f"https://[{SECRET}]/"),
        ("https://centre.example", f"https://centre.example:{SECRET}"),
        ("canteen-1", f"no identifier {SECRET}"),
        ("unit: 1", SECRET),
        ("port: rs485", SECRET),
    ],
)
@pytest.mark.parametrize("kind", ["env", "file"])
def test_resolved_secret_is_never_printed(
    run_edge: RunEdge, config_file: Path, place: str, secret: str, kind: str
) -> None:
    (config_file.parent / "secret.txt").write_text(secret + "\n")
    reference = "{env: BL_SECRET}" if kind == "env" else "{file: secret.txt}"
    key, colon, _ = place.partition(": ")
    text = f"{key}: {reference}" if colon else reference
    config_file.write_text(GOOD.replace(place, text, 1), "utf-8")
    done = run_edge("check", config_file, BL_SECRET=secret)
    assert done.returncode == 2, done.stdout
    assert SECRET not in done.stderr + done.stdout


def test_password_in_an_address_is_not_repeated(config_file: Path) -> None:
    config_file.write_text(GOOD.replace("https://", f"https://user:{SECRET}@"), "utf-8")
    with pytest.raises(ConfigurationError, match="must not hold a password") as caught:
        load(config_file)
    assert SECRET not in str(caught.value)


def test_secret_itself_given_as_variable_name_is_not_repeated(config_file: Path) -> None:
    config_file.write_text(GOOD.replace('"rtsp://camera/1"', f'{{env: "rtsp://a:{SECRET}@b"}}'), "utf-8")
    with pytest.raises(ConfigurationError, match="name of an environment variable") as caught:
        load(config_file)
    assert SECRET not in str(caught.value)


@pytest.mark.parametrize(("content", "problem"), [(b"\xff", "cannot read"), (b"x" * 4097, "more than 4096 bytes")])
def test_unusable_secret_file_is_refused(config_file: Path, content: bytes, problem: str) -> None:
    (config_file.parent / "s").write_bytes(content)
    config_file.write_text(GOOD.replace('"rtsp://camera/1"', "{file: s}"), "utf-8")
    with pytest.raises(ConfigurationError, match=problem):
        load(config_file)


def test_secrets_are_read_from_variable_and_file(config_file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("BL_SOURCE", "rtsp://a:b@camera/1")
    (config_file.parent / "url.txt").write_text("https://other.example/\r\n")
    text = GOOD.replace('"rtsp://camera/1"', "{env: BL_SOURCE}").replace("https://centre.example", "{file: url.txt}")
    config_file.write_text(text, "utf-8")
    config = load(config_file)
    assert config.cameras[0].source == "rtsp://a:b@camera/1"
    assert config.server.url == "https://other.example"


def test_relative_paths_are_relative_to_the_file(config_file: Path) -> None:
    (config_file.parent / "ca.pem").write_text("x")
    text = GOOD.replace("https://centre.example", "https://centre.example\n  ca_file: ca.pem")
    config_file.write_text(text.replace("name: 备餐间", "name: 备餐间, model: eyes.onnx"), "utf-8")
    config = load(config_file)
    folder = config_file.parent.resolve()
    assert (config.box.data_dir, config.server.ca_file) == (folder / "data", folder / "ca.pem")
    assert config.cameras[0].model == folder / "eyes.onnx"


def test_plain_http_is_allowed_to_this_machine_only(config_file: Path) -> None:
    for url in ("http://127.0.0.1:8000", "http://localhost:1", "http://[::1]:8000"):
        config_file.write_text(GOOD.replace("https://centre.example", f'"{url}"'), "utf-8")
        assert load(config_file).server.url == url


def test_sample_configuration_loads(run_edge: RunEdge) -> None:
    done = run_edge("check", "configs/edge-sample.yaml", KITCHEN_CAMERA="rtsp://camera/1")
    assert (done.returncode, done.stdout) == (0, "configs/edge-sample.yaml: ok (3 sensors, 1 cameras)\n")
    assert (ROOT / "configs/edge-sample.yaml").is_file()
