"""Records to protobuf messages and back, field by field with the same names.

A union of records is a message whose only oneof is called `of`; the name of the chosen case is the
record's tag. What comes from outside is checked here: `from_wire` enforces every bound that the
record states, and raises `RefusedError` naming the field.
"""

import math
import re
from datetime import UTC, datetime
from typing import Any, TypeVar

import msgspec
from google.protobuf.message import Message
from google.protobuf.timestamp_pb2 import Timestamp

from appliance.errors import RefusedError

M = TypeVar("M", bound=Message)
R = TypeVar("R")

_CONTROL = re.compile(r"[\x00-\x08\x0b-\x1f\x7f]")  # newline and tab are text
_TAG_FIELDS = {"Evidence": "kind", "Body": "type"}  # which field of the record says the case


def to_wire(record: Any, message: M) -> M:
    """Fill a message from a record, and return it."""
    for name in msgspec.structs.fields(record):
        value = getattr(record, name.name)
        if value is not None:
            _put(message, name.name, value)
    return message


def from_wire(message: Message, kind: type[R]) -> R:
    """The record a message holds, with every bound of the record checked."""
    try:
        return msgspec.convert(_builtins(message), kind)
    except (msgspec.ValidationError, OverflowError, ValueError) as error:
        raise RefusedError(f"{message.DESCRIPTOR.name}: {error}") from error


def _put(message: Message, name: str, value: Any) -> None:
    target = getattr(message, name)
    if isinstance(value, tuple):
        for item in value:
            _append(target, item)
    elif isinstance(value, datetime):
        target.FromDatetime(value)
    elif isinstance(value, msgspec.Struct):
        _fill(target, value)
    else:
        setattr(message, name, value)


def _append(repeated: Any, item: Any) -> None:
    if isinstance(item, msgspec.Struct):
        _fill(repeated.add(), item)
    elif isinstance(item, tuple):
        repeated.add().words.extend(item)
    else:
        repeated.append(item)


def _fill(message: Message, record: msgspec.Struct) -> None:
    if message.DESCRIPTOR.name in _TAG_FIELDS:
        case = getattr(message, str(record.__struct_config__.tag))
        case.SetInParent()
        to_wire(record, case)
    else:
        message.SetInParent()
        to_wire(record, message)


def _builtins(message: Message) -> Any:
    if isinstance(message, Timestamp):
        return message.ToDatetime(tzinfo=UTC)
    name = message.DESCRIPTOR.name
    if name in _TAG_FIELDS:
        case = message.WhichOneof("of")
        if case is None:
            raise ValueError(f"{name} is empty")
        return {_TAG_FIELDS[name]: case, **_builtins(getattr(message, case))}
    if name == "Argv":
        return list(message.words)  # type: ignore[attr-defined]
    return {
        field.name: _field(getattr(message, field.name), repeated=field.is_repeated)
        for field in message.DESCRIPTOR.fields
        if not field.has_presence or message.HasField(field.name)
    }


def _field(value: Any, *, repeated: bool) -> Any:
    if repeated:
        return [_field(item, repeated=False) for item in value]
    if isinstance(value, Message):
        return _builtins(value)
    if isinstance(value, float) and not math.isfinite(value):
        raise ValueError("a figure is not finite")
    if isinstance(value, str) and _CONTROL.search(value):
        raise ValueError("a text has control characters; the node must show them, not send them")
    return value
