"""What each line of the log means, by its code: docs/log.md is this table.

`python -m corolistener.daemon.catalogue` prints that page.
"""

import sys
from collections.abc import Iterator

CORE = {
    "ring": "corosync has formed a ring of these nodes.",
    "ring-stalled": "The ring does not bring back what this node says: corosync, or a path that carries no large packets.",
    "ring-moves": "The ring brings messages again.",
    "quorum-gained": "The nodes of the ring are a quorum.",
    "quorum-lost": "The nodes of the ring are no quorum: nothing of the cluster may run here.",
    "corosync-foreign": "corosync here runs in another cluster than the file's: nothing may run here until it is restarted.",
    "quorum-not-enough": "corosync says quorate, but these nodes have no majority of all votes: nothing may run here.",
    "votes-recounted": "corosync has lost count of votes after a reload, and is told to count again.",
    "view": "The members have agreed on a view: who is here, in the order of their ranks.",
    "master": "This node is the master.",
    "no-master": "No member can be master.",
    "role": "The role of this node has changed.",
    "phase": "The master has reached this step of its work.",
    "lease-gained": "A quorum has confirmed this node: it may act.",
    "lease-ended": "No quorum has confirmed this node in time: it lets go of everything.",
    "second-process": "Another process of a node is in the daemons' group: it does not count as its daemon.",
    "daemon-gone": "The daemon of a node has gone, and its node is still in the ring.",
    "absent": "The daemon of a member of the ring has not spoken: the view is formed without it.",
    "farewell": "This node leaves: it lets go of everything first.",
    "vacated": "The daemon of a node has ended for good, and what it held is let go.",
    "unable": "A node cannot hold what a master holds, for this reason.",
    "left": "A node has left the group.",
    "node-dismissed": "A node that was removed from corosync.conf does not count among all votes any more.",
    "disallowed": "A node is back with state that the cluster has gone on without: it may not act until the master admits it.",
    "admitted": "The master has admitted a node that was disallowed.",
    "eligible": "A node can become master again.",
    "ineligible": "A node cannot become master, for these reasons.",
    "service-waits": "The service is not started yet, because the former master may still serve.",
    "service-waits-for-proof": "The former master has no daemon and may still serve: only a proof lets the service start.",
    "address-held": "The cloud IP is on its device, and announced.",
    "address-dropped": "The cloud IP is off its device.",
    "address-lost": "Somebody has removed the cloud IP from its device: it is put back.",
    "address-conflict": "Another machine answers for the cloud IP.",
    "lock-taken": "A lock file of VMmanager is taken.",
    "lock-released": "A lock file of VMmanager is removed.",
    "service-started": "The service runs.",
    "service-stopped": "The service has stopped.",
    "service-killed": "The service did not stop within its time: everything that belongs to it is killed.",
    "database-taken": "The database is taken into use.",
    "effect-failed": "Something that was to be done has failed, for this reason; it is tried again.",
    "adopted": "What a former process of this node held is held further.",
    "config-offered": "A new version of corosync.conf is offered to the members.",
    "config-stored": "A version of corosync.conf is stored on this node.",
    "config-not-stored": "A version of corosync.conf cannot be stored on this node.",
    "config-committed": "A version of corosync.conf is in force.",
    "config-withdrawn": "A version of corosync.conf is taken back.",
    "config-rollback": "The last change of corosync.conf has cost quorum: this node goes back to the version before.",
    "config-differs": "The corosync.conf of this node is not the one in force.",
    "settings-differ": "Another member runs with other settings that members rely on from each other.",
    "bad-message": "A message of another node cannot be understood.",
    "corosync-lost": "The connection to corosync is lost.",
    "replication-off-master": "The master has no replica of the database.",
    "invariant-broken": "This program contradicts itself: this node decides nothing any more.",
    "ledger-open": "The ledger of the cluster is open, with this version.",
    "ledger-went-back": "The ledger of a node was restored, copied or taken back: the node is no witness.",
    "ledger-waits": "The ledger is not opened, because the members that remember it are no majority.",
    "ledger-forced-open": "An operator has ordered to open the ledger with what the members here remember.",
    "ledger-not-stored": "The ledger cannot be written to the disk of this node.",
    "vm-started": "A VM runs here.",
    "vm-resumed": "A VM that was suspended runs again.",
    "vm-suspended": "A VM is suspended.",
    "vm-stopped": "A VM is stopped here.",
    "vm-placed": "The ledger has a new node for a VM.",
    "vm-owed": "A VM should run and no node can take it, for this reason.",
    "vms-wait": "These VMs do not run, (unkept) start on no other node, or (unplaced) need `virsh resume`. Told every minute.",
    "vm-frozen": "A VM is in doubt: nothing is done to it until this is resolved.",
    "vm-stray": "A VM runs here that the ledger has elsewhere.",
    "vm-failed": "What was to be done to a VM has failed, for this reason.",
    "vm-crashed": "A VM has ended by itself.",
    "vm-forgotten": "A VM is let go of: the ledger knows it no more, and says where it runs.",
    "vm-given-up": "A VM cannot be kept running here: another node should try.",
    "vm-moves": "A VM begins to move to another node.",
    "vm-moved": "A VM has moved to another node.",
    "vm-paused": "A VM is suspended, and not by this node: by its user, or by a trouble of its own, so many times in a row.",
    "vm-not-moved": "A VM has not moved, for this reason; it runs where it was.",
    "vm-asked-to-shut-down": "The power button of a VM was pressed.",
    "vm-definition-not-kept": "The definition of a VM cannot be spread, so no other node can start the VM.",
    "node-excused": "A node is in maintenance: it is given no VMs.",
    "node-readmitted": "A node is given VMs again.",
    "emptying": "This node is shut down: its VMs are moved or stopped first.",
    "proof-missing": "It is not proven that a lost node runs nothing: its VMs are not started elsewhere yet.",
    "node-awaited": "No member has seen this node since the cluster started: its fence agents wait for it.",
    "fencing": "A fence agent is asked to switch a node off.",
    "fenced": "A node has been switched off.",
    "fence-refused": "The word of a fence agent is not believed, for this reason.",
    "node-killed": "corosync was ended on a member that cannot put its VMs in order.",
    "proven": "It is proven that a lost node runs nothing.",
    "watchdog-starves": "The watchdog is not fed: it resets this node, because VMs may run here that may not.",
    "panic": "The cluster is in panic: it decides nothing about VMs.",
    "recovered": "An operator has ended the panic.",
}
"""Codes of the core's notes (core/notes)."""
SHELL = {
    "broken": "This node decides nothing any more; the journal was saved.",
    "bug": "An error in this program.",
    "closing": "Something could not be closed in time at the end.",
    "config-behind": "Another node has a newer corosync.conf than this one.",
    "config-pull-unavailable": "Other nodes cannot fetch corosync.conf from this one.",
    "corosync-connected": "The connection to corosync stands.",
    "corosync-disconnected": "corosync has closed the connection.",
    "corosync-unreachable": "corosync cannot be reached.",
    "ended": "The daemon ends, for this reason.",
    "hook-silent": "A VM was started and libvirt did not call the hook, which refuses starts by hand.",
    "lease-too-short": "lease_ms is too short for the timers of corosync; the least that they allow is used.",
    "ledger-damaged": "The ledger on the disk was damaged, or is of another cluster, and is put aside.",
    "locks-cleared": "Lock files of an earlier boot, or of somebody else, were in the way.",
    "log": "The log file cannot be opened.",
    "managed-not-written": "The list for libvirt's hook cannot be written.",
    "no-real-time-priority": "The daemon has no real-time priority, so a busy machine delays it.",
    "planted": "Something under a name that the daemon writes to was not made by it: it is not used.",
    "power-on-failed": "A node that was fenced could not be switched on again.",
    "powered-on": "A node that was fenced was switched on again.",
    "request": "An operator has asked for this.",
    "service-status-unknown": "The hook cannot say whether the service runs.",
    "settings": "The settings in force, or a warning about them.",
    "settings-unusable": "The settings cannot be used, for this reason: the daemon runs with the last good ones.",
    "settings-not-kept": "The settings cannot be written to the state directory as the last good ones.",
    "held-not-written": "What this node may hold cannot be written to the run directory.",
    "settings-kept": "The new settings cannot be used, so the old ones stay.",
    "settings-need-restart": "These tables count from the next start of the daemon.",
    "started": "The daemon has started.",
    "state-directory-mended": "Others could look into the state directory; now they cannot.",
    "stopped": "The daemon has stopped.",
    "watchdog": "The state of the watchdog has changed.",
    "watchdog-weak": "What this node measures is no proof to the others, because it may stand still: see weak_watchdogs.",
    "watchdog-missing": "A watchdog is required, and there is none.",
    "vms-uri-kept": "The settings name no hypervisor, and this node has VMs in the ledger: the last uri is used.",
    "vms-uri-not-kept": "The uri of the hypervisor could not be written into the state directory.",
}
"""Codes of what the core does not know of."""


def page() -> str:
    """docs/log.md."""
    return "\n".join(_lines()) + "\n"


def _lines() -> Iterator[str]:
    from corolistener.core.notes import NoteCode
    from corolistener.daemon.notes import level_of

    yield "# What the lines of the log mean"
    yield ""
    yield "A line has a time, a level, a code and facts. Made by `python -m corolistener.daemon.catalogue`."
    yield ""
    yield "| code | level | meaning |"
    yield "|---|---|---|"
    levels = {code.value: level_of(code) for code in NoteCode}
    names = {20: "info", 30: "warning", 40: "error"}
    for code, text in sorted({**SHELL, **CORE}.items()):
        yield f"| {code} | {names.get(levels.get(code, 0), '')} | {text} |"


if __name__ == "__main__":
    sys.stdout.write(page())
