"""`sentinel-audit keys`: the security officer's side of the log's keys, offline, and `rotate`.

Makes the root key, the secret of the first epoch and the list of epochs; revokes; shows. With
`rotate` an administrator asks the notary, by a file beside its state, to change the key at once.
Formats and checks are in `audit/epochs.py`; this module opens files. No file is ever overwritten.
"""

import argparse
import base64
import os
import secrets
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path

import msgspec
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

from audit.counting import line_of
from audit.entry import moment, timestamp
from audit.epochs import (
    REQUEST_SUFFIX,
    ROOT_SUFFIX,
    SECOND_SUFFIX,
    STATE_BYTES,
    Epoch,
    EpochList,
    Ratchet,
    Request,
    certify,
    demand_newer,
    open_list,
    plan,
    revoke,
)
from audit.errors import EpochError, VkeyError
from audit.note import Vkey, parse_vkey
from audit.signer import LocalSigner

LOOK_AGAIN_S = 0.2


def run_root(options: argparse.Namespace) -> int:
    """`keys root`: the key that certifies all others."""
    key = Ed25519PrivateKey.generate()
    signer = LocalSigner(options.log + ROOT_SUFFIX, key)
    pem = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    _write(options.out, pem, mode=0o600)
    public = options.out.with_suffix(".vkey")
    _write(public, f"{signer.vkey}\n".encode())
    print(f"{options.out}: the root key. It stays offline, with the security officer.")
    print(f"{public}: auditors and the notary's machine get this one:\n  {signer.vkey}")
    return 0


def run_epochs(options: argparse.Namespace) -> int:
    """`keys epochs`: a new secret, and the list of its epochs; or more of them, after a list."""
    root = _root_signer(options.root)
    log = parse_vkey(root.vkey).name.removesuffix(ROOT_SUFFIX)
    old = None if options.after is None else _open(options.after, parse_vkey(root.vkey))
    if options.adopt is not None:
        return _adopt(options, log, root, old)
    if old is None:
        ratchet = _new_secret(log, 0)
        begin = datetime.now(UTC) if options.begin is None else _moment(options.begin)
        new = plan(ratchet, begin=begin, ends=_ends(begin, options), second=_second(options))
        made = EpochList(log=log, sequence=1, epochs=tuple(new))
    else:
        last = old.epochs[-1]
        ratchet = _new_secret(log, len(old.epochs))
        begin = moment(last.not_after)
        ends = _ends(begin, options)
        before = old.epochs[-2].not_after if len(old.epochs) > 1 else last.not_before
        early = [moment(before), begin, *ends[:-2]]
        new = plan(ratchet, begin=begin, ends=ends, early=early, second=_second(options))
        made = EpochList(log=log, sequence=old.sequence + 1, epochs=(*old.epochs, *new))
    return _write_out(options, made, ratchet, root, old)


def run_revoke(options: argparse.Namespace) -> int:
    """`keys revoke`: the next list, without the stolen key and all that follow from it."""
    root = _root_signer(options.root)
    old = _open(options.list, parse_vkey(root.vkey))
    begin = datetime.now(UTC)
    ratchet = _new_secret(old.log, len(old.epochs))
    new = plan(ratchet, begin=begin, ends=_ends(begin, options), second=_second(options))
    made = revoke(
        old,
        epoch=options.epoch,
        trusted_size=options.trusted_size,
        reason=options.reason,
        new=new,
    )
    status = _write_out(options, made, ratchet, root, old)
    print(
        f"The keys of epochs {options.epoch} to {len(old.epochs) - 1} count up to"
        f" {options.trusted_size} entries and no further. What the log holds beyond is believed"
        " once epoch"
        f" {len(old.epochs)} signs it: look at it first."
    )
    return status


def run_second(options: argparse.Namespace) -> int:
    """`keys second`: the vkey of a key that signs beside the log's, from its public half."""
    try:
        raw = base64.b64decode(options.public_key, validate=True)
    except ValueError as error:
        raise VkeyError("--public-key: expected base64 of 32 bytes, as Vault shows it") from error
    vkey = str(parse_vkey(str(Vkey(name=options.log + SECOND_SUFFIX, key=raw))))
    _write(options.out, f"{vkey}\n".encode())
    print(vkey)
    return 0


def run_show(options: argparse.Namespace) -> int:
    """`keys show`: a list, if the root key signed it."""
    epochs = _open(options.list, _vkey(options.root))
    if options.vkeys:
        for one in epochs.epochs:
            print(line_of(one.counting))
        return 0
    print(f"epoch list {epochs.sequence} of {epochs.log}, sha256 {epochs.digest}")
    for one in epochs.epochs:
        print(_sentence(one))
    return 0


def run_rotate(options: argparse.Namespace) -> int:
    """`keys rotate`: ask the notary to change its key now, and see that it did."""
    epoch = _state_epoch(options.state)
    request = Request(epoch=epoch, reason=options.reason)
    path = options.state.with_name(options.state.name + REQUEST_SUFFIX)
    fresh = path.with_name(path.name + ".new")
    fresh.unlink(missing_ok=True)
    _write(fresh, msgspec.json.encode(request), mode=0o600)
    fresh.replace(path)
    until = time.monotonic() + options.wait
    while time.monotonic() < until:
        if (now := _state_epoch(options.state)) > epoch:
            print(f"epoch {epoch} ended; epoch {now} signs")
            return 0
        time.sleep(LOOK_AGAIN_S)
    if path.exists():
        raise EpochError(
            f"epoch {epoch} has not ended within {options.wait:.0f} s; the request stays in {path}:"
            " is the notary running? Its journal says what it waits for"
        )
    raise EpochError(f"epoch {epoch} goes on: the notary refused; its journal says why")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The commands of `sentinel-audit keys`."""
    commands = parser.add_subparsers(title="commands", required=True, metavar="COMMAND")
    root = commands.add_parser("root", help="make the offline root key, once")
    root.add_argument("--log", required=True, metavar="ORIGIN", help="the log's name")
    root.add_argument("--out", required=True, type=Path, metavar="FILE", help="root.key")
    root.set_defaults(run=run_root)
    epochs = commands.add_parser("epochs", help="make a secret and certify its epochs")
    _add_making(epochs)
    epochs.add_argument("--begin", metavar="TIME", help="when epoch 0 begins; default: now")
    epochs.add_argument("--after", type=Path, metavar="LIST", help="go on from this list")
    epochs.add_argument(
        "--adopt", metavar="VKEY", help="epoch 0 is this key, under which the log was begun"
    )
    epochs.set_defaults(run=run_epochs)
    void = commands.add_parser("revoke", help="certify a list in which a stolen key ends")
    void.add_argument("list", type=Path, metavar="LIST", help="the list in force")
    _add_making(void)
    void.add_argument("--epoch", required=True, type=int, help="whose key was stolen")
    void.add_argument(
        "--trusted-size",
        required=True,
        type=int,
        metavar="SIZE",
        help="the last checkpoint you know to be honest, such as that of the last audit",
    )
    void.add_argument("--reason", required=True, help="for the list and the log")
    void.set_defaults(run=run_revoke)
    second = commands.add_parser("second", help="the vkey of Vault's key")
    second.add_argument("--log", required=True, metavar="ORIGIN", help="the log's name")
    second.add_argument("--public-key", required=True, metavar="BASE64", help="as Vault shows it")
    second.add_argument("--out", required=True, type=Path, metavar="FILE", help="second.vkey")
    second.set_defaults(run=run_second)
    show = commands.add_parser("show", help="print a list, if the root key signed it")
    show.add_argument("list", type=Path, metavar="LIST")
    show.add_argument("--root", required=True, metavar="VKEY", help="root vkey, or a file of it")
    show.add_argument("--vkeys", action="store_true", help="only the keys, for hub and nodes")
    show.set_defaults(run=run_show)
    rotate = commands.add_parser("rotate", help="have the notary change its key now")
    rotate.add_argument("state", type=Path, metavar="STATE", help="the notary's epoch_state file")
    rotate.add_argument("--reason", required=True, help="for the log")
    rotate.add_argument("--wait", type=float, default=15.0, metavar="S", help="default: 15")
    rotate.set_defaults(run=run_rotate)


def _add_making(command: argparse.ArgumentParser) -> None:
    command.add_argument("--root", required=True, type=Path, metavar="FILE", help="root.key")
    command.add_argument("--count", type=int, default=24, help="how many epochs; default: 24")
    command.add_argument("--days", type=float, default=30.0, help="of each; default: 30")
    command.add_argument(
        "--second", metavar="VKEY", help="must sign beside them, such as Vault's; or a file of it"
    )
    command.add_argument("--out", required=True, type=Path, metavar="LIST", help="epochs.note")
    command.add_argument(
        "--state", required=True, type=Path, metavar="FILE", help="the secret, for the notary alone"
    )


def _write_out(
    options: argparse.Namespace,
    made: EpochList,
    ratchet: Ratchet,
    root: LocalSigner,
    old: EpochList | None,
) -> int:
    if old is not None:
        demand_newer(made, old)
    note = certify(made, root)
    open_list(note, parse_vkey(root.vkey))  # as everybody else will
    _write(options.state, msgspec.json.encode(ratchet), mode=0o600)
    _write(options.out, note.encode())
    print(f"{options.out}: epoch list {made.sequence} of {made.log}, sha256 {made.digest}")
    for one in made.epochs:
        print(f"  {_sentence(one)}")
    print(
        f"{options.state}: the secret of epoch {ratchet.epoch}. Move it to the notary's machine"
        " as\n  its epoch_state and leave no copy: a copy can sign every epoch from that one on."
    )
    return 0


def _adopt(options: argparse.Namespace, log: str, root: LocalSigner, old: EpochList | None) -> int:
    """The list of a log that has one key: that is epoch 0, until the notary has changed it."""
    if old is not None or options.begin is None or options.count < 2:  # noqa: PLR2004 - old and new
        raise EpochError(
            "--adopt: expected --begin, a time before the log's first entry, at least two epochs,"
            " and no --after"
        )
    ratchet, now = _new_secret(log, 1), datetime.now(UTC)
    ends = _ends(now, options)
    first = Epoch(
        epoch=0,
        vkey=str(_vkey(options.adopt)),
        not_before=timestamp(_moment(options.begin)),
        not_after=timestamp(ends[0]),
    )
    new = plan(ratchet, begin=now, ends=ends[1:], second=_second(options))
    made = EpochList(log=log, sequence=1, epochs=(first, *new))
    return _write_out(options, made, ratchet, root, old)


def _sentence(one: Epoch) -> str:
    words = f"epoch {one.epoch:>3}  {one.not_before[:16]}Z to {one.not_after[:16]}Z  {one.vkey}"
    if one.second is not None:
        words += f"  and {one.second}"
    if one.revoked is not None:
        words += f"  REVOKED beyond {one.revoked.trusted_size} entries: {one.revoked.reason}"
    return words


def _second(options: argparse.Namespace) -> str | None:
    return None if options.second is None else str(_vkey(options.second))


def _new_secret(log: str, epoch: int) -> Ratchet:
    return Ratchet(log=log, epoch=epoch, key=secrets.token_hex(STATE_BYTES))


def _ends(begin: datetime, options: argparse.Namespace) -> list[datetime]:
    if options.count < 1 or options.days <= 0:
        raise EpochError("expected at least one epoch of more than no days")
    return [begin + timedelta(days=options.days) * (n + 1) for n in range(options.count)]


def _moment(text: str) -> datetime:
    try:
        found = datetime.fromisoformat(text)
    except ValueError as error:
        raise EpochError(f"--begin: expected a time such as 2026-03-01, got {text!r}") from error
    return found if found.tzinfo else found.replace(tzinfo=UTC)


def _open(path: Path, root: Vkey) -> EpochList:
    return open_list(path.read_text(), root)


def _root_signer(path: Path) -> LocalSigner:
    """The root key; its name is in the vkey beside it, so that it cannot be the wrong one."""
    public = parse_vkey(path.with_suffix(".vkey").read_text())
    signer = LocalSigner.from_pem(public.name, path.read_bytes())
    if parse_vkey(signer.vkey) != public:
        raise VkeyError(f"{path}: it is not the key of {path.with_suffix('.vkey')}")
    return signer


def _vkey(text: str) -> Vkey:
    return parse_vkey(Path(text).read_text() if Path(text).is_file() else text)


def _state_epoch(path: Path) -> int:
    try:
        return msgspec.json.decode(path.read_bytes(), type=Ratchet).epoch
    except msgspec.DecodeError as error:
        raise EpochError(f"{path}: not the notary's epoch_state") from error


def _write(path: Path, data: bytes, *, mode: int = 0o644) -> None:
    """A new file, on disk when this returns."""
    fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, mode)
    with os.fdopen(fd, "wb") as file:
        file.write(data)
        file.flush()
        os.fsync(file.fileno())
