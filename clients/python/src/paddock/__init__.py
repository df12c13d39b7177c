"""The Python client of Paddock, an HTTP platform for Claude Code."""

from .client import Paddock
from .errors import FieldError, PaddockConnectionError, PaddockError, PaddockException, PaddockStreamError
from .events import Event
from .permissions import OnPermission, allow, deny
from .resources import UNCHANGED
from .socket import SessionSocket
from .streaming import EventStream
from .types import Attachment, ChatAnswer, Permission, PermissionAnswer, Session, SessionOptions, Source, Turn, Usage
from .version import VERSION as __version__

__all__ = [
    "UNCHANGED",
    "Attachment",
    "ChatAnswer",
    "Event",
    "EventStream",
    "FieldError",
    "OnPermission",
    "Paddock",
    "PaddockConnectionError",
    "PaddockError",
    "PaddockException",
    "PaddockStreamError",
    "Permission",
    "PermissionAnswer",
    "Session",
    "SessionOptions",
    "Source",
    "SessionSocket",
    "Turn",
    "Usage",
    "__version__",
    "allow",
    "deny",
]
