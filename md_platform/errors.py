"""Every error the platform raises on purpose, as types that carry policy.

MdpError                     exit code 1, not retryable
├── UserError                exit code 2: the request itself is wrong, doing it again will not help
│   ├── UnknownInstrument    symbol that no venue or registry entry maps
│   ├── UnknownVenue
│   ├── UnknownDataset
│   ├── UnknownIndicator
│   ├── InvalidParameter     an indicator's parameter: not a number, out of bounds, too many
│   ├── InvalidExpression    a custom formula: where it is wrong, and how
│   ├── InvalidTimeframe
│   ├── InvalidInstrument    a value that an instrument cannot have, or it exists already
│   ├── InvalidCorporateAction  a split or dividend that cannot be
│   ├── InvalidRange         end before start, future dates, unreadable times
│   ├── InvalidFile          corrupt archive, columns or units that cannot be understood
│   ├── NotFound             nothing of that name or number, or nothing there yet
│   ├── TooLarge             more rows, bytes or days than one request may ask for or bring
│   ├── NotAcceptable        no such format
│   ├── NeedsServer          files were asked for what only a running platform can do
│   └── InvalidSetting       environment, .env or universes file
├── AccessError              who asks, what they may do, and how often
│   ├── NotAuthenticated     no credential, or one that is not valid (any more)
│   ├── Forbidden            the role or the scopes do not allow it
│   └── TooManyRequests      retryable: the tier's limit is used up, carries `retry_after_s`
├── SourceError              a venue, vendor or file server
│   ├── SourceUnavailable    retryable: connection, timeout, 5xx
│   ├── RateLimited          retryable: 429/418, carries `retry_after_s`
│   ├── SourceRejected       not retryable: the source understood and said no
│   │   └── NotServed        it does not keep data of that age: missing there, not failed
│   └── MalformedPayload     not retryable: the answer is not what its protocol says
├── StorageError             lake, archive or database
│   ├── StorageReadOnly
│   ├── StorageFull
│   ├── StorageUnavailable   retryable: the database or Redis does not answer, starts, stops or broke off
│   ├── Unstorable           a value or message that no row can hold: only it is to be kept apart
│   ├── SpoolOverlap         events of a spool that do not follow what is stored of it: ask where to go on
│   └── MigrationDrift
└── ServiceError             something that `mdp up` runs or needs
    ├── PortTaken
    ├── AlreadyRunning
    ├── LeaseLost            another process serves this shard now
    ├── UnsupportedPython
    ├── PlatformUnavailable  retryable: the platform's API or gateway does not answer, or breaks off
    └── OrchestratorUnavailable
"""


class MdpError(Exception):
    """Base of all errors raised on purpose. `retryable`: trying the same call again may succeed."""

    retryable = False
    exit_code = 1


class UserError(MdpError):
    """The request is wrong; the message names the thing, its value and what to do."""

    exit_code = 2


class UnknownInstrument(UserError): ...


class UnknownVenue(UserError): ...


class UnknownDataset(UserError): ...


class UnknownIndicator(UserError): ...


class InvalidParameter(UserError): ...


class InvalidTimeframe(UserError): ...


class InvalidExpression(UserError): ...


class InvalidInstrument(UserError): ...


class InvalidCorporateAction(UserError): ...


class InvalidRange(UserError): ...


class InvalidFile(UserError): ...


class InvalidSetting(UserError): ...


class NotFound(UserError): ...


class TooLarge(UserError): ...


class NotAcceptable(UserError): ...


class NeedsServer(UserError): ...


class AccessError(MdpError):
    """The one who asks may not, or not now."""


class NotAuthenticated(AccessError): ...


class Forbidden(AccessError): ...


class TooManyRequests(AccessError):
    """A tier's limit is used up; `retry_after_s` is when some of it is free again."""

    retryable = True

    def __init__(self, message: str, retry_after_s: float) -> None:
        super().__init__(message)
        self.retry_after_s = retry_after_s


class SourceError(MdpError):
    """A source of data did not deliver."""


class SourceUnavailable(SourceError):
    """Connection refused or lost, timeout, or a 5xx answer."""

    retryable = True


class RateLimited(SourceError):
    """The source asked us to slow down; `retry_after_s` is its own word, or None where it gave none."""

    retryable = True

    def __init__(self, message: str, retry_after_s: float | None = None) -> None:
        super().__init__(message)
        self.retry_after_s = retry_after_s


class SourceRejected(SourceError):
    """The source understood the request and refused it."""


class NotServed(SourceRejected):
    """The source does not keep, or no longer keeps, data of that age."""


class MalformedPayload(SourceError):
    """The answer does not follow the source's protocol."""


class StorageError(MdpError):
    """Lake, archive or database."""


class StorageReadOnly(StorageError): ...


class StorageFull(StorageError): ...


class StorageUnavailable(StorageError):
    """The database or Redis does not answer, or broke off; what was under way is undone, or will be found stored."""

    retryable = True


class Unstorable(StorageError): ...


class SpoolOverlap(StorageError): ...


class MigrationDrift(StorageError): ...


class ServiceError(MdpError):
    """Something that `mdp up` runs or needs."""


class PortTaken(ServiceError): ...


class AlreadyRunning(ServiceError): ...


class LeaseLost(ServiceError): ...


class UnsupportedPython(ServiceError): ...


class PlatformUnavailable(ServiceError):
    """The platform's API or gateway does not answer, or broke off."""

    retryable = True


class OrchestratorUnavailable(ServiceError):
    """Dagster's webserver does not answer."""

    retryable = True
