"""Every error this package raises on purpose, drawn by whose fault it is.

CorolistenerError
|-- ConfigError         the administrator's: shown verbatim, exit 78
|-- CorosyncError       the cluster's: what a call to corosync answered
|-- PeerError           another node's bad or alien message: counted, never fatal
|-- EffectError         the world's: always becomes Finished(Failed), never escapes a lane
|-- RequestRefused      the operator's: the code is stable, the text is not
`-- InvariantViolation  ours: dump the journal, decide nothing more

An exception that is none of these is a bug.
"""


class CorolistenerError(Exception):
    """Root of the tree; str() is one line fit for an operator."""


class ConfigError(CorolistenerError):
    """A file of the administrator's cannot be used. `line` is 1-based, 0 where no single line is to blame."""

    def __init__(self, path: str, line: int, why: str, text: str = "") -> None:
        self.path, self.line, self.why, self.text = path, line, why, text
        where = f"{path}:{line}" if line else path
        super().__init__(f"{where}: {why}" + (f": {text.strip()!r}" if text.strip() else ""))


class CorosyncError(CorolistenerError):
    """corosync cannot be used at all; single calls raise the bindings' own CsError."""

    def __init__(self, call: str, status: str) -> None:
        self.call, self.status = call, status
        super().__init__(f"corosync: {call}: {status}")


class PeerError(CorolistenerError):
    """A message from the ring or the network that cannot be understood. `node` is 0 where the sender is unknown."""

    def __init__(self, node: int, why: str) -> None:
        self.node, self.why = node, why
        super().__init__(f"node {node}: {why}" if node else why)


class EffectError(CorolistenerError):
    """Something in the world refused: netlink, a file, a program."""

    def __init__(self, action: str, why: str) -> None:
        self.action, self.why = action, why
        super().__init__(f"{action}: {why}")


class RequestRefused(CorolistenerError):
    """An operator's request that is not carried out. `code` is stable for programs, e.g. `not-permitted`."""

    def __init__(self, code: str, why: str) -> None:
        self.code, self.why = code, why
        super().__init__(why)


class InvariantViolation(CorolistenerError):
    """What must never be, was. `evidence` is what a developer needs to see first."""

    def __init__(self, name: str, evidence: str) -> None:
        self.name, self.evidence = name, evidence
        super().__init__(f"invariant {name}: {evidence}")
