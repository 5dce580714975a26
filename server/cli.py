"""`brightline-server`: serve, manage people and boxes, prove the record. Exit status 0 well, 1 fault, 2 settings."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from server.commands import assets, backup, check, log, notification, people, record, retention, series, service

GROUPS = (service, people, assets, record, series, notification, log, retention, backup, check)


def main(argv: list[str] | None = None) -> int:
    """Run one command; returns the exit status."""
    args = _parser().parse_args(argv)
    from sqlalchemy.exc import SQLAlchemyError

    from server.accounts import AccountError
    from server.blob_port import BlobsUnavailable
    from server.boxes.settings import load_boxes
    from server.life_cycle.rules import put_in_force
    from server.notification.settings import load_notification
    from server.series.port import SeriesUnavailable
    from server.series.settings import RecordSeries, load_series
    from server.settings import Settings, load_settings
    from telemetry.signing import KeyFileError

    try:
        data_dir = (args.data or Path("no-record")).resolve()
        file = load_settings(args.settings, data_dir)
        settings = Settings(
            **dict(file),
            data_dir=data_dir,
            secure_cookies=not getattr(args, "insecure_cookies", False),
            series=load_series(args.series, data_dir) if hasattr(args, "series") else RecordSeries(),
            notification=load_notification(data_dir),
            boxes=load_boxes(data_dir),
        )
        put_in_force(settings.life_cycle.load)
        status: int = args.run(settings, args)
        return status
    except (AccountError, KeyFileError, ValueError) as error:
        sys.stderr.write(f"brightline-server: {error}\n")
        return 2
    except (SeriesUnavailable, BlobsUnavailable) as error:
        store = "series" if isinstance(error, SeriesUnavailable) else "blob"
        sys.stderr.write(f"brightline-server: the {store} store: {error}\n")
        return 1
    except (OSError, SQLAlchemyError) as error:
        sys.stderr.write(f"brightline-server: {error}\n")
        return 1


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="brightline-server", description=__doc__)
    commands = parser.add_subparsers(dest="command", required=True)
    for group in GROUPS:
        group.register(commands)
    return parser


if __name__ == "__main__":
    sys.exit(main())
