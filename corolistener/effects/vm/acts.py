"""What is done to a VM, one function an action. Everything here blocks: it runs in a thread, and may hang there.

`Call.given_up` is looked at before every step that cannot be taken back: who asked may have gone while the step before hung.
libvirt's own errors are raised as they are.
"""

import contextlib
import re
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

import libvirt

from corolistener.core.actions import EditVm, MarkVm, MigrateVm, Reason, ResumeVm, ShutDownVm, StartVm, StopVm, SuspendVm
from corolistener.core.events import Outcome, Result
from corolistener.effects.vm import texts
from corolistener.effects.vm.lines import ALONE, Connection, Domain, Lines, code, words
from corolistener.effects.vm.settings import Target
from corolistener.effects.vm.sight import DEFINITION, find, working
from corolistener.errors import EffectError
from corolistener.ids import VmName

LIVE, CONFIG = libvirt.VIR_DOMAIN_AFFECT_LIVE, libvirt.VIR_DOMAIN_AFFECT_CONFIG
ELEMENT = libvirt.VIR_DOMAIN_METADATA_ELEMENT
SETTLE_S, SETTLES = 0.05, 40
MIGRATE = (
    libvirt.VIR_MIGRATE_LIVE
    | libvirt.VIR_MIGRATE_PEER2PEER
    | libvirt.VIR_MIGRATE_PERSIST_DEST
    | libvirt.VIR_MIGRATE_UNDEFINE_SOURCE
    | libvirt.VIR_MIGRATE_ABORT_ON_ERROR
)
GOING = (
    libvirt.VIR_DOMAIN_PAUSED_MIGRATION,
    libvirt.VIR_DOMAIN_PAUSED_STARTING_UP,
    libvirt.VIR_DOMAIN_PAUSED_POSTCOPY,
    libvirt.VIR_DOMAIN_PAUSED_SNAPSHOT,
    libvirt.VIR_DOMAIN_PAUSED_SAVE,
    libvirt.VIR_DOMAIN_PAUSED_DUMP,
)
"""A copy that is paused for one of these may go on by itself when that is done."""
TLS_FAILED = re.compile(r"\btls|x509|certificate|credential", re.I)
"""In libvirt's and QEMU's words: a migration that failed for want of encryption."""
NO_TLS = (
    "its memory must be encrypted: give QEMU on every node certificates in /etc/pki/qemu (corolistener.toml(5), migrate_tls),"
    " or write migrate_tls = false in [vms]"
)
KEEP = libvirt.VIR_DOMAIN_UNDEFINE_KEEP_NVRAM | getattr(libvirt, "VIR_DOMAIN_UNDEFINE_KEEP_TPM", 0)
"""What cannot be had again stays."""
ABSENT = Outcome(Result.DONE, facts=(("absent", "yes"),))
DONE = Outcome(Result.DONE)

Text = Callable[[VmName, str], bytes]
Keep = Callable[[VmName, bytes], None]
"""Keeps the text of a definition that is about to be replaced."""
Guard = Callable[[Domain, bool], str]
"""Why a domain is not ours, "" where it is; with True it is read again, whatever was known of it."""


@dataclass(frozen=True, slots=True)
class Call:
    """One action under way. `given_up` is set when nobody waits for it any more."""

    lines: Lines
    guard: Guard
    given_up: threading.Event = field(default_factory=threading.Event)

    def step(self, action: str) -> None:
        """Raises EffectError where nobody waits: the step is not taken."""
        if self.given_up.is_set():
            raise EffectError(action, "given up")

    @contextlib.contextmanager
    def on(self, name: VmName, uuid: str) -> Iterator[tuple[Connection, Domain | None]]:
        """A line, and the domain; EffectError where it is another VM, whatever it is called."""
        with self.lines.line() as connection:
            domain = find(connection, name)
            if domain is not None and is_other(domain, uuid):
                raise EffectError(name, f"another VM of this name is here, with UUID {domain.UUIDString()}")
            yield connection, domain


def is_other(domain: Domain, uuid: str) -> bool:
    """It is not the VM of this UUID; '' is not known."""
    return bool(uuid) and domain.UUIDString() != uuid


def active(domain: Domain | None) -> bool:
    """Whether there is a copy."""
    return domain is not None and bool(domain.isActive())


def start(call: Call, action: StartVm, text: Text, keep: Keep) -> Outcome:
    """Define it as the ledger has it, and create a copy that is suspended and knows its generation."""
    with call.on(action.vm.name, action.vm.uuid) as (connection, domain):
        if active(domain):
            return Outcome(Result.DONE, facts=(("kept", "yes"),))
        domain = _defined(call, connection, domain, action, text, keep)
        if why := call.guard(domain, True):
            raise EffectError("StartVm", f"it would not be ours: {why}")
        if domain.hasManagedSaveImage():
            # It would go on from there, wherever its disks have been since.
            raise EffectError("StartVm", "its memory was saved here: virsh managedsave-remove, or start it by hand")
        if domain.autostart():
            domain.setAutostart(0)
        call.step("StartVm")
        _create(call, domain)
        _mark(domain, action.generation)
    return DONE


def _defined(call: Call, connection: Connection, domain: Domain | None, action: StartVm, text: Text, keep: Keep) -> Domain:
    """The domain, with the definition that the action names; the one that is here, where it names none.

    A definition of the same VM that is in the way is replaced, and its text is kept before.
    """
    wanted, other = action.vm.definition, _same(connection, action)
    if other is not None and other.isActive():
        raise EffectError("StartVm", f"it runs here under another name, {other.name()}")
    if domain is not None:
        here = texts.digest(texts.canonical(domain.XMLDesc(DEFINITION)))
        if wanted in ("", here):
            return domain
    try:
        found = text(action.vm.name, wanted) if wanted else b""
    except (LookupError, OSError) as error:
        raise EffectError("StartVm", f"its definition {wanted[:12]} cannot be read here: {error}") from error
    if not found:
        raise EffectError("StartVm", f"its definition {wanted[:12]} is not here" if wanted else "it is not defined here")
    call.step("StartVm")
    for old in (domain, other):
        if old is not None:
            keep(VmName(old.name()), texts.canonical(old.XMLDesc(DEFINITION)))
    if other is not None:
        _undefine(other)  # if it fails, libvirt says next why the definition cannot be written
    return connection.defineXML(found.decode())


def _same(connection: Connection, action: StartVm) -> Domain | None:
    """The same VM under another name: its user renamed it, or an older definition was left over."""
    if not action.vm.uuid:
        return None
    try:
        found = connection.lookupByUUIDString(action.vm.uuid)
    except libvirt.libvirtError as error:
        if code(error) == libvirt.VIR_ERR_NO_DOMAIN:
            return None
        raise
    return found if found.name() != action.vm.name else None


def _create(call: Call, domain: Domain) -> None:
    """A copy that executes nothing. libvirt's test hypervisor knows no such thing, but nothing executes in it."""
    if call.lines.kind == ALONE:
        domain.create()
        domain.suspend()
    else:
        domain.createWithFlags(libvirt.VIR_DOMAIN_START_PAUSED)


def _mark(domain: Domain, generation: int, suspended: bool = False, ending: bool = False) -> None:
    """On the living copy alone: it goes with the copy, and whoever starts another one by hand does not inherit it."""
    definition = texts.digest(texts.canonical(domain.XMLDesc(DEFINITION))) if domain.isPersistent() else ""
    element = texts.copy_element(generation, definition, suspended, ending)
    domain.setMetadata(ELEMENT, element, texts.COPY_KEY, texts.COPY, LIVE)


def mark(call: Call, action: MarkVm) -> Outcome:
    """Write a generation on the copy that is here; 0 takes the label off."""
    with call.on(action.name, action.uuid) as (_, domain):
        if domain is None or not active(domain):
            raise EffectError("MarkVm", "there is no copy of it here")
        if action.generation:
            _mark(domain, action.generation, action.suspended)
        else:
            domain.setMetadata(ELEMENT, None, None, texts.COPY, LIVE)
    return DONE


def resume(call: Call, action: ResumeVm) -> Outcome:
    """Let it run; a copy that is just arriving runs when it is there, and not before."""
    with call.on(action.name, action.uuid) as (_, domain):
        if domain is None or not active(domain):
            raise EffectError("ResumeVm", "there is no copy of it here")
        state, reason = domain.state()
        if state != libvirt.VIR_DOMAIN_PAUSED:
            if state == libvirt.VIR_DOMAIN_CRASHED:
                raise EffectError("ResumeVm", "its system has crashed")
            return Outcome(Result.DONE, facts=(("running", "yes"),))
        if _incoming(domain, reason):
            raise EffectError("ResumeVm", "it is just arriving from another node")
        if reason in GOING and not _starts(reason) and working(domain):
            # The call would wait 30 s for libvirt's lock.
            raise EffectError("ResumeVm", "libvirt is busy with it")
        call.step("ResumeVm")
        domain.resume()
    return DONE


def suspend(call: Call, action: SuspendVm, starting: bool, migrating: bool) -> Outcome:
    """Let it execute nothing, and be sure that it will not by itself.

    `starting`: we are starting it, and that ends in a suspended copy. `migrating`: we are migrating it, which is ended first.
    """
    with call.lines.line() as connection:
        domain = find(connection, action.name)
        if domain is None or is_other(domain, action.uuid):
            return ABSENT
        if migrating:
            _abort(domain)
        for _ in range(SETTLES):
            state, reason = domain.state()
            if state in (libvirt.VIR_DOMAIN_SHUTOFF, libvirt.VIR_DOMAIN_CRASHED):
                return DONE
            if state == libvirt.VIR_DOMAIN_PAUSED and (reason not in GOING or (starting and _starts(reason))):
                return DONE
            if state == libvirt.VIR_DOMAIN_PAUSED and not _starts(reason):
                if _incoming(domain, reason):
                    # It would run when the other side has sent everything, and nothing but its end prevents that.
                    domain.destroy()
                    return Outcome(Result.DONE, facts=(("incoming", "destroyed"),))
                if domain.jobInfo()[0] == libvirt.VIR_DOMAIN_JOB_NONE and domain.state()[0] == state:
                    return DONE
                # A migration that fails lets it run again, though it was suspended meanwhile.
                _abort(domain)
                time.sleep(SETTLE_S)
                continue
            if state == libvirt.VIR_DOMAIN_PMSUSPENDED:
                domain.pMWakeup(0)
            domain.suspend()
            _unlabel(domain)
        raise EffectError("SuspendVm", "it is paused, but may go on by itself: something else is being done to it")


def _unlabel(domain: Domain) -> None:
    """It was running: an old label of its user's pause would keep it suspended when this node may run it again."""
    with contextlib.suppress(libvirt.libvirtError):
        if 'suspended="user"' in domain.metadata(ELEMENT, texts.COPY, LIVE):
            _mark(domain, texts.content(domain.XMLDesc(0)).generation)


def _starts(reason: int) -> bool:
    return bool(reason == libvirt.VIR_DOMAIN_PAUSED_STARTING_UP)


def _incoming(domain: Domain, reason: int) -> bool:
    """Whether its memory is just arriving from another node: only the sending side has statistics."""
    if reason != libvirt.VIR_DOMAIN_PAUSED_MIGRATION:
        return False
    try:
        domain.jobStats()
    except libvirt.libvirtError as error:
        return bool(code(error) == libvirt.VIR_ERR_OPERATION_UNSUPPORTED)
    return False


def _abort(domain: Domain) -> None:
    with contextlib.suppress(libvirt.libvirtError):  # it may have ended meanwhile
        domain.abortJob()


def abort(lines: Lines, name: VmName) -> None:
    """End what is being done to a VM, if libvirt can."""
    with lines.line() as connection:
        domain = find(connection, name)
        if domain is not None:
            _abort(domain)


def stop(call: Call, action: StopVm) -> Outcome:
    """Destroy its copy. A VM that lives elsewhere now is not left defined here, where its definition would grow old."""
    with call.lines.line() as connection:
        domain = find(connection, action.name)
        if domain is None or is_other(domain, action.uuid):
            return ABSENT
        outcome = DONE
        try:
            domain.destroy()
        except libvirt.libvirtError as error:
            if code(error) not in (libvirt.VIR_ERR_OPERATION_INVALID, libvirt.VIR_ERR_NO_DOMAIN) and active(domain):
                raise
            outcome = ABSENT
        if action.reason is Reason.MOVED:
            return _forget(connection, action, outcome)
    return outcome


def _forget(connection: Connection, action: StopVm, outcome: Outcome) -> Outcome:
    """Undefine it. What cannot be had again stays: firmware variables, a TPM, a saved memory, snapshots."""
    domain = find(connection, action.name)
    if domain is None or is_other(domain, action.uuid) or not domain.isPersistent():
        return outcome
    why = _undefine(domain)
    return Outcome(Result.DONE, facts=(*outcome.facts, ("defined", why))) if why else outcome


def _undefine(domain: Domain) -> str:
    """Take its definition away, and nothing that cannot be had again; why that failed, or ''."""
    for flags in dict.fromkeys((KEEP, libvirt.VIR_DOMAIN_UNDEFINE_KEEP_NVRAM, 0)):
        try:
            domain.undefineFlags(flags)
            return ""
        except libvirt.libvirtError as error:
            if code(error) not in (libvirt.VIR_ERR_INVALID_ARG, libvirt.VIR_ERR_ARGUMENT_UNSUPPORTED):
                return words(error)
    return "libvirt knows none of our flags"


def shut_down(call: Call, action: ShutDownVm) -> Outcome:
    """Press its power button. What comes of that is up to its system."""
    with call.on(action.name, action.uuid) as (_, domain):
        if domain is None or not active(domain):
            return ABSENT
        call.step("ShutDownVm")
        with contextlib.suppress(libvirt.libvirtError):  # the next process of the daemon shall know whose will its end is
            _mark(domain, texts.content(domain.XMLDesc(0)).generation, ending=True)
        domain.shutdown()
    return DONE


def migrate(call: Call, action: MigrateVm, to: Target) -> Outcome:
    """Move it live; returns when it runs there. Its definition goes with it and leaves here."""
    with call.on(action.name, action.uuid) as (_, domain):
        if domain is None or not active(domain):
            raise EffectError("MigrateVm", "there is no copy of it here")
        call.step("MigrateVm")
        _mark(domain, texts.content(domain.XMLDesc(0)).generation)  # its definition may be another one than when it was started
        flags = MIGRATE | (libvirt.VIR_MIGRATE_UNSAFE if to.unsafe else 0) | (libvirt.VIR_MIGRATE_TLS if to.tls else 0)
        if not domain.isPersistent():
            flags &= ~libvirt.VIR_MIGRATE_UNDEFINE_SOURCE
        try:
            domain.migrateToURI3(to.uri, {libvirt.VIR_MIGRATE_PARAM_URI: to.data}, flags)
        except libvirt.libvirtError as error:
            if not to.tls or not TLS_FAILED.search(words(error)):
                raise
            raise EffectError("MigrateVm", f"{words(error)}; {NO_TLS}") from error
    return DONE


def progress(lines: Lines, name: VmName) -> tuple[int, int] | None:
    """Bytes that a migration has moved, and that are left; None: libvirt does not say."""
    with contextlib.suppress(libvirt.libvirtError), lines.line() as connection:
        domain = find(connection, name)
        if domain is not None:
            stats = domain.jobStats()
            if "memory_total" in stats:
                return int(stats.get("memory_processed", 0)), int(stats.get("memory_remaining", 0))
    return None


def edit(call: Call, action: EditVm) -> Outcome:
    """Write wishes into the definition, and on the living copy, so that both say the same; of a VM that is not ours as well."""
    with call.lines.line() as connection:
        domain = find(connection, action.name)
        if domain is None or is_other(domain, action.uuid):
            raise EffectError("EditVm", "it is not defined here")
        old = texts.content(domain.XMLDesc(DEFINITION)).wishes
        element = texts.vm_element(texts.merged(old, action.wishes))
        where = (CONFIG if domain.isPersistent() else 0) | (LIVE if active(domain) else 0)
        with contextlib.suppress(libvirt.libvirtError) if element is None else contextlib.nullcontext():
            domain.setMetadata(ELEMENT, element, texts.VM_KEY if element else None, texts.VM, where)
    return DONE


def stop_autostart(lines: Lines, name: VmName) -> None:
    """libvirt starts it no more when it starts itself: nobody has looked then whether the VM runs elsewhere."""
    with lines.line() as connection:
        domain = find(connection, name)
        if domain is not None and domain.autostart():
            domain.setAutostart(0)
