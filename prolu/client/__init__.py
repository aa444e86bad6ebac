"""The client side: the Python client, the `prolu` command and the wire format. Torch-free.

from prolu.client import Client
"""

from prolu.client.client import Client
from prolu.client.errors import (
    ApiError,
    ChoreFailed,
    Conflict,
    ConnectionFailed,
    DownloadFailed,
    Forbidden,
    Invalid,
    NoSuchUser,
    NotFound,
    ProluError,
    ServiceFailed,
    TooManyRequests,
    Unauthorized,
    UnreadableAnswer,
    UnusableToken,
    WaitedTooLong,
)
from prolu.client.records import MissingPackage
from prolu.client.results import Results, SeedResults

__all__ = [
    "ApiError",
    "ChoreFailed",
    "Client",
    "Conflict",
    "ConnectionFailed",
    "DownloadFailed",
    "Forbidden",
    "Invalid",
    "MissingPackage",
    "NoSuchUser",
    "NotFound",
    "ProluError",
    "Results",
    "SeedResults",
    "ServiceFailed",
    "TooManyRequests",
    "Unauthorized",
    "UnreadableAnswer",
    "UnusableToken",
    "WaitedTooLong",
]
