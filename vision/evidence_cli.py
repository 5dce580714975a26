"""`brightline-vision verify|unseal|keygen`: evidence in the hands of whoever has to check or open it, offline."""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path
from typing import Any


def add_evidence_commands(commands: Any) -> list[argparse.ArgumentParser]:
    """Make the parsers; gives those that can print JSON."""
    verify = commands.add_parser("verify", help="check evidence files offline, with nothing but the box's public key")
    verify.add_argument("files", type=Path, nargs="+")
    verify.add_argument("--public-key", required=True, help="of the box: base64, or a file that holds it")
    unseal = commands.add_parser("unseal", help="open a sealed original with the regulator's private key")
    unseal.add_argument("file", type=Path)
    unseal.add_argument("--key", type=Path, required=True, help="the private key, as keygen or age-keygen writes it")
    unseal.add_argument("--out", type=Path, required=True, help="folder for the original; made if there is none")
    unseal.add_argument("--public-key", help="of the box, to check its signature too: base64, or a file that holds it")
    keygen = commands.add_parser("keygen", help="make a key pair for sealed originals; prints the public key")
    keygen.add_argument("--out", type=Path, required=True, help="the new file for the private key")
    return [verify, unseal]


def verify_evidence(args: argparse.Namespace) -> int:
    """Exit status 0 only when every file is whole and signed by this key."""
    from vision.evidence_file import read_key, verify_files

    report = verify_files(args.files, read_key(args.public_key))
    text = "".join(f"{row['file']}: {row['problem'] or 'genuine'}\n" for row in report["files"])
    sys.stdout.write(json.dumps(report) + "\n" if args.json else text + f"missing before them: {report['missing']}\n")
    return 0 if report["genuine"] else 1


def unseal_evidence(args: argparse.Namespace) -> int:
    """Exit status 2 when it cannot be opened or is not what its manifest says; then nothing was written."""
    from vision.evidence_file import read_key
    from vision.unsealing import unseal

    opened = unseal(args.file, args.key, args.out, read_key(args.public_key) if args.public_key else None)
    text = (
        f"{opened['original']}: the original of {opened['kind']} at {opened['place']}, taken at {opened['taken_at']}\n"
        f"signature of box {opened['box_id']}: {opened['signature']}\n"
    )
    sys.stdout.write(json.dumps(opened) + "\n" if args.json else text)
    return 0


def make_regulator_key(args: argparse.Namespace) -> int:
    from vision.unsealing import make_key

    sys.stdout.write(make_key(args.out) + "\n")
    return 0
