"""Every error status of corosync's corotypes.h as an exception, and the one place that raises them.

CsError is the root; each subclass says its status, corosync's name for it, and what it means. The meanings are ours:
corosync's own cs_strerror knows fewer than it defines.
"""

OK = 1
"""CS_OK, the one status that is not an error."""


class CsError(Exception):
    """A call to corosync answered something else than CS_OK; a status unknown to this version keeps this class.

    `call` is the C function, `status` the number it answered; str() is one line fit for an operator.
    """

    status, name, meaning = 0, "unknown", "a status this version does not know"

    def __init__(self, call: str, status: int = 0) -> None:
        self.call, self.status = call, status or type(self).status
        super().__init__(call, self.status)

    def __str__(self) -> str:
        return f"{self.call}: {self.meaning} ({self.name}, {self.status})"


class LibraryUnavailable(CsError):
    status, name, meaning = 2, "CS_ERR_LIBRARY", "corosync is not running, or the connection to it is broken"


class VersionMismatch(CsError):
    status, name, meaning = 3, "CS_ERR_VERSION", "library and corosync do not fit together"


class InitFailed(CsError):
    status, name, meaning = 4, "CS_ERR_INIT", "initialisation failed"


class Timeout(CsError):
    status, name, meaning = 5, "CS_ERR_TIMEOUT", "no answer in time"


class TryAgain(CsError):
    """Nothing is wrong; the cluster is changing or a queue is full. The caller retries, with a deadline of its own."""

    status, name, meaning = 6, "CS_ERR_TRY_AGAIN", "not now, try again"


class InvalidParam(CsError):
    status, name, meaning = 7, "CS_ERR_INVALID_PARAM", "an argument is not acceptable"


class NoMemory(CsError):
    status, name, meaning = 8, "CS_ERR_NO_MEMORY", "out of memory"


class BadHandle(CsError):
    """Also what every call on a closed handle raises, without asking corosync."""

    status, name, meaning = 9, "CS_ERR_BAD_HANDLE", "the handle is closed or was never open"


class Busy(CsError):
    status, name, meaning = 10, "CS_ERR_BUSY", "busy with an earlier request"


class Access(CsError):
    status, name, meaning = 11, "CS_ERR_ACCESS", "permission denied"


class NotExist(CsError):
    status, name, meaning = 12, "CS_ERR_NOT_EXIST", "no such thing"


class NameTooLong(CsError):
    status, name, meaning = 13, "CS_ERR_NAME_TOO_LONG", "a name is too long or too short"


class Exist(CsError):
    status, name, meaning = 14, "CS_ERR_EXIST", "it exists already"


class NoSpace(CsError):
    status, name, meaning = 15, "CS_ERR_NO_SPACE", "no space left"


class Interrupt(CsError):
    status, name, meaning = 16, "CS_ERR_INTERRUPT", "interrupted by a signal"


class NameNotFound(CsError):
    status, name, meaning = 17, "CS_ERR_NAME_NOT_FOUND", "name not found"


class NoResources(CsError):
    status, name, meaning = 18, "CS_ERR_NO_RESOURCES", "resources are exhausted"


class NotSupported(CsError):
    status, name, meaning = 19, "CS_ERR_NOT_SUPPORTED", "not supported"


class BadOperation(CsError):
    status, name, meaning = 20, "CS_ERR_BAD_OPERATION", "the operation is not possible here"


class FailedOperation(CsError):
    status, name, meaning = 21, "CS_ERR_FAILED_OPERATION", "the operation failed"


class MessageError(CsError):
    status, name, meaning = 22, "CS_ERR_MESSAGE_ERROR", "message error"


class QueueFull(CsError):
    status, name, meaning = 23, "CS_ERR_QUEUE_FULL", "a queue is full"


class QueueNotAvailable(CsError):
    status, name, meaning = 24, "CS_ERR_QUEUE_NOT_AVAILABLE", "a queue is not available"


class BadFlags(CsError):
    status, name, meaning = 25, "CS_ERR_BAD_FLAGS", "bad flags"


class TooBig(CsError):
    status, name, meaning = 26, "CS_ERR_TOO_BIG", "too big"


class NoSections(CsError):
    status, name, meaning = 27, "CS_ERR_NO_SECTIONS", "nothing more to iterate over"


class ContextNotFound(CsError):
    status, name, meaning = 28, "CS_ERR_CONTEXT_NOT_FOUND", "context not found"


class TooManyGroups(CsError):
    status, name, meaning = 30, "CS_ERR_TOO_MANY_GROUPS", "too many groups"


class Security(CsError):
    status, name, meaning = 100, "CS_ERR_SECURITY", "refused for security reasons"


BY_STATUS = {kind.status: kind for kind in CsError.__subclasses__()}
"""cs_error_t to exception; a test compares it with the installed corotypes.h."""


def check(call: str, status: int) -> None:
    """Raise the exception of `status`, what `call` answered, unless it is CS_OK."""
    if status != OK:
        raise BY_STATUS.get(status, CsError)(call, status)
