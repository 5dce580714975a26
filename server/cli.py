"""`brightline-server`: serve, manage people and boxes, prove the record. Exit status 0 well, 1 fault, 2 settings."""

from __future__ import annotations

import argparse
import sys

from server.commands import notification, people, record, series, service

GROUPS = (service, people, record, series, notification)


def main(argv: list[str] | None = None) -> int:
    """Run one command; returns the exit status."""
    args = _parser().parse_args(argv)
    from sqlalchemy.exc import SQLAlchemyError

    from server.accounts import AccountError
    from server.boxes.settings import load_boxes
    from server.notification.settings import load_notification
    from server.series.port import SeriesUnavailable
    from server.series.settings import SqliteSeries, load_series
    from server.settings import Settings

    try:
        settings = Settings(
            data_dir=args.data.resolve(),
            secure_cookies=not getattr(args, "insecure_cookies", False),
            series=load_series(args.series, args.data.resolve()) if hasattr(args, "series") else SqliteSeries(),
            notification=load_notification(args.data.resolve()),
            boxes=load_boxes(args.data.resolve()),
        )
        status: int = args.run(settings, args)
        return status
    except (AccountError, ValueError) as error:
        sys.stderr.write(f"brightline-server: {error}\n")
        return 2
    except SeriesUnavailable as error:
        sys.stderr.write(f"brightline-server: the series store: {error}\n")
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
