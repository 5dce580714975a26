"""Camera addresses: what is opened, and that no secret is ever shown."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from firmware_sim.camera import Schedule, write_file
from vision.address import CameraAddress, public_name


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("rtsp://admin:secret@10.0.0.2:554/ch1", "rtsp://10.0.0.2:554/ch1"),
        ("rtsp://admin:sec@ret@10.0.0.2/ch1", "rtsp://10.0.0.2/ch1"),
        ("rtsp://admin:sec/ret@10.0.0.2/ch1", "rtsp://10.0.0.2/ch1"),
        ("rtsp://admin@10.0.0.2/ch1", "rtsp://10.0.0.2/ch1"),
        ("http://10.0.0.2/v.cgi?user=a&password=secret&ch=1", "http://10.0.0.2/v.cgi?user=***&password=***&ch=1"),
        ("rtsp://admin:my secret@10.0.0.2/ch1", "rtsp://10.0.0.2/ch1"),
        ("rtsp://admin:my@ secret@10.0.0.2/ch1", "rtsp://10.0.0.2/ch1"),
        ("http://h/v?loginuse=admin&loginpas=secret&p=secret", "http://h/v?loginuse=***&loginpas=***&p=***"),
        ("http://h/v?psw=secret&subtype=0: timed out", "http://h/v?psw=***&subtype=*** timed out"),
        ("http://h/v?sig=secret&channel=1 failed", "http://h/v?sig=***&channel=1 failed"),
        ("http://h/v?secret", "http://h/v?***"),
        ("rtsp://10.0.0.2/user=a_password=secret_1_channel=1", "rtsp://10.0.0.2/user=a_password=***"),
        ("http://10.0.0.2/v?access_token=secret", "http://10.0.0.2/v?access_token=***"),
        ("Error: 'http://a:secret@h/x' and rtsp://b:secret@h", "Error: 'http://h/x' and rtsp://h"),
        ("kitchen.mp4", "kitchen.mp4"),
        ("/dev/video0", "/dev/video0"),
    ],
)
def test_what_is_shown_of_an_address_holds_no_secret(text: str, shown: str) -> None:
    assert public_name(text) == shown
    assert "secret" not in public_name(text)


@pytest.mark.parametrize("text", ["ftp://a:secret@h/x", "file:///etc/passwd", "concat://a|b", "rtsp://a:secret@/x"])
def test_what_is_no_camera_is_refused_without_showing_its_password(text: str) -> None:
    with pytest.raises(ValueError, match=r"use rtsp://|names no host") as refused:
        CameraAddress(text)
    assert "secret" not in str(refused.value)


@pytest.mark.parametrize("text", ["concat:/etc/passwd|/etc/group", "subfile,,start,0,end,9,,:/etc/passwd", "data:x"])
def test_the_other_protocols_of_ffmpeg_are_no_files(text: str) -> None:
    address = CameraAddress(text)
    with pytest.raises(FileNotFoundError):
        address.open()


def test_a_playlist_cannot_send_the_reader_to_the_network(tmp_path: Path) -> None:
    import av

    playlist = tmp_path / "list.m3u8"
    playlist.write_text("#EXTM3U\n#EXT-X-TARGETDURATION:5\n#EXTINF:5,\nhttp://127.0.0.1:9/part.ts\n#EXT-X-ENDLIST\n")
    with pytest.raises((av.FFmpegError, OSError)) as refused, CameraAddress(str(playlist)).open() as container:
        next(container.decode(video=0))
    assert "refused" not in str(refused.value).lower()  # it never tried to connect


@contextmanager
def playlist_camera(film: Path, place: str) -> Iterator[str]:
    """A camera that serves *film* and a playlist that names *place*."""
    playlist = f"#EXTM3U\n#EXT-X-TARGETDURATION:5\n#EXTINF:5,\n{place}\n#EXT-X-ENDLIST\n"

    class Camera(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            listed = self.path.endswith(".m3u8")
            self.send_response(200)
            self.send_header("content-type", "application/vnd.apple.mpegurl" if listed else "video/mp2t")
            self.end_headers()
            self.wfile.write(playlist.encode() if listed else film.read_bytes())

        def log_message(self, format: str, *args: object) -> None:
            """Nothing to say."""

    with ThreadingHTTPServer(("127.0.0.1", 0), Camera) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.server_port}/live.m3u8"
        finally:
            server.shutdown()
            thread.join(10)


def test_a_playlist_of_a_camera_is_read_but_cannot_name_a_file_of_the_box(tmp_path: Path) -> None:
    import av

    film = tmp_path / "film.ts"
    write_file(Schedule("mask:1"), film, 1, fps=5, width=160, height=96)
    with playlist_camera(film, "film.ts") as url, CameraAddress(url).open() as container:
        assert next(container.decode(video=0)).width == 160
    with playlist_camera(film, f"file://{film}") as url:
        address = CameraAddress(url)
        with pytest.raises((av.FFmpegError, OSError, StopIteration)), address.open() as container:
            next(container.decode(video=0))
