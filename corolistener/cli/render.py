"""Words for people: what codes mean. The only place where a reason becomes a sentence."""

from collections.abc import Iterator, Sequence
from typing import Any

WHY = {
    "left": "not a member",
    "no-daemon": "no corolistener runs there",
    "not-in-nodelist": "not in the nodelist in force",
    "config-differs": "its corosync.conf is not the one in force",
    "disallowed": "it was away while the others went on, and is not reconciled yet",
    "cannot-serve": "it cannot hold what a master holds",
    "replication-off": "it has no database replica, and another member has",
}
MODE = {
    "adopting": "just started, keeping what the former process held",
    "running": "running",
    "leaving": "letting go of everything, to stop",
    "left": "stopped",
    "broken": "stopped deciding: an invariant was violated, the journal was saved",
}
PHASE = {
    "idle": "",
    "holding-address": "putting the cloud IP on its device",
    "waiting-for-former-master": "waiting until the former master can no longer serve",
    "taking-database": "taking the database into use",
    "starting-service": "starting the service",
    "relocating": "relocating",
    "rewriting-config": "rewriting corosync.conf",
    "settled": "",
    "releasing": "letting go of what a master has",
}
REWRITING = {
    "idle": "",
    "preparing": "a new version is being prepared",
    "installing": "a new version is being stored here",
    "offered": "a new version is offered to the members",
    "reloading": "corosync is being asked to reload",
    "ending": "the last word on it is on its way",
}
REASON = {
    "elected": "it became master",
    "adopted": "a former process of this boot had it",
    "restored": "it was lost and is wanted back",
    "retried": "the last attempt failed",
    "other-master": "another node is master",
    "quorum-lost": "quorum is lost",
    "ordered": "an operator asked for it",
    "in-doubt": "it is not known whether a start of it has worked",
    "may-run-elsewhere": "the others may have started it meanwhile",
    "lease-ended": "no quorum has confirmed this node for a whole lease",
    "corosync-lost": "corosync is gone",
    "leaving": "the daemon was asked to stop",
    "disallowed": "it was away while the others went on",
    "configured": "the settings changed",
    "not-master": "it is not master",
    "invariant-broken": "an invariant was violated",
    "placed": "it belongs here",
    "returned": "this node is back, and it still belongs here",
    "placed-elsewhere": "it belongs elsewhere by now",
    "older-generation": "it was started anew elsewhere meanwhile",
    "started-by-hand": "it was started by hand, and belongs elsewhere",
    "node-lost": "its node is lost",
}
"""Why an action was taken (core/actions.Reason)."""
STATE = {"held": "held here", "none": "not held here", "in-doubt": "in doubt"}

PROOF = {
    "farewell": "it said goodbye with nothing running",
    "agent": "its fence agent switched it off",
    "watchdog": "its watchdog has reset it by now",
    "suspend": "its daemon has suspended everything by now",
    "operator": "an operator says so",
}
"""Why it is believed that a node runs nothing (core/config.ProofKind)."""
OBSTACLE = {
    "together-and-apart": "its groups contradict each other",
    "node-not-allowed": "it may not run there",
    "storage-not-reached": "the storage is not reached",
    "together": "it has to be with",
    "apart": "it must not be with",
    "vm-limit": "as many VMs as are allowed",
    "not-enough-cpus": "not enough cpus",
    "name-taken": "another VM there has its name",
    "not-enough-memory": "not enough memory",
}
"""Why a node cannot take a VM (core/capacity.Obstacle)."""
CHOICE = {"most-memory-left": "the most memory is left there", "together": "it has to be with"}
"""Why a VM was given a node (core/relocation.Choice)."""
OWED = {
    "no-proof": "it is not proven yet that its node runs nothing",
    "no-room": "no node takes it",
    "given-up": "its node cannot keep it running",
    "unkept": "it runs, and no other node could start it: its definition cannot be kept",
    "unplaced": "its node suspended it without a lease, and the ledger does not have it run: `virsh resume` ends that",
    "frozen": "nothing is decided about it",
    "panic": "nothing is decided in a panic",
    "soon": "it is being placed",
}
"""Why a VM that should run does not (core/vm_status)."""
CLOSED = {
    "left": "it is not here",
    "maintenance": "in maintenance",
    "disallowed": "it was away while the others went on",
    "hypervisor-silent": "its hypervisor does not answer",
    "settings": "its settings say so",
}
"""Why a node is given no VMs (core/vm_status)."""


def word(words: dict[str, str], code: object) -> str:
    """What a code means; a code of a newer daemon stands for itself."""
    return words.get(str(code), str(code))


def obstacle(node: dict[str, Any], code: str) -> str:
    """Why this node of a status cannot be master."""
    unable = node.get("unable") if code == "cannot-serve" else None  # a daemon of an older version does not say so
    return word(WHY, code) + (f": {unable}" if unable else "")


def duration(milliseconds: int) -> str:
    """The two largest units of a time: `3 d 4 h`, `5 min 0 s`, `0.4 s`."""
    seconds, rest = divmod(milliseconds, 1000)
    if seconds < 10:
        return f"{seconds}.{rest // 100} s"
    minutes, seconds = divmod(seconds, 60)
    hours, minutes = divmod(minutes, 60)
    days, hours = divmod(hours, 24)
    parts = [(days, "d"), (hours, "h"), (minutes, "min"), (seconds, "s")]
    first = next(place for place, (amount, _) in enumerate(parts) if amount)
    return " ".join(f"{amount} {unit}" for amount, unit in parts[first : first + 2])


def panic(told: dict[str, Any]) -> str:
    """What heads every output while there is panic."""
    evidence = f" ({told['evidence']})" if told.get("evidence") else ""
    since = f" since {told['at']}" if told.get("at") else ""
    return f"PANIC{since}: {told.get('reason')}{evidence}; nothing is decided about VMs until `corolistener recover`"


def version(config: dict[str, Any]) -> str:
    """A version of corosync.conf, with the first digits of its hash."""
    return f"{config['version']} ({str(config['sha256'])[:8]})" if config["sha256"] else "none"


class Progress:
    """Prints the progress of a transaction of corosync.conf, one line each."""

    def __init__(self) -> None:
        self._stored = 0

    def __call__(self, progress: dict[str, Any]) -> None:
        print(self.line(progress), flush=True)

    def line(self, progress: dict[str, Any]) -> str:
        """The line for one progress frame (wire/control.py, PROGRESS)."""
        match progress.get("code"):
            case "offered":
                return f"version {progress.get('version')} is offered to the members"
            case "stored":
                self._stored += 1
                return f"stored by node {progress.get('node')} ({self._stored} of {progress.get('members')})"
            case "not-stored":
                return f"node {progress.get('node')} cannot store it: {progress.get('why') or 'it does not say why'}"
            case other:
                fields = ", ".join(f"{name} {value}" for name, value in progress.items() if name != "code")
                return f"{other}: {fields}" if fields else str(other)


def done(answer: dict[str, Any]) -> str:
    """The last line of a good transaction."""
    version_, stored, of = (answer.get(key) for key in ("version", "stored", "of"))
    members = f", stored by {stored} of {of} members" if of else ""
    return f"version {version_} is in force{members}"


def pulled(result: str, local: object, chosen: object) -> str:
    """How `config pull` ended; `local` and `chosen` are ConfigIds or None."""
    here = f"version {local}" if local else "no file"
    return {
        "installed": f"installed version {chosen}; before it was {here}",
        "current": f"{here} is the newest there is",
        "unanswered": f"nobody answered; {here} is here",
        "refused": f"what the others have cannot be used on this node; {here} stays",
    }[result]


def table(rows: Sequence[Sequence[str]]) -> Iterator[str]:
    """Left-aligned columns, two blanks between them."""
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    for row in rows:
        yield "  ".join(field.ljust(width) for field, width in zip(row, widths, strict=True)).rstrip()
