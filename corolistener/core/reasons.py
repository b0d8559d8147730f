"""Why actions are taken: one enumeration for all lanes."""

from enum import Enum


class Reason(Enum):
    """Why an action is taken. Words for people live in cli/render."""

    ELECTED = "elected"
    ADOPTED = "adopted"
    RESTORED = "restored"
    RETRIED = "retried"
    SUPERSEDED_MASTER = "other-master"
    QUORUM_LOST = "quorum-lost"
    LEASE_ENDED = "lease-ended"
    COROSYNC_LOST = "corosync-lost"
    LEAVING = "leaving"
    DISALLOWED = "disallowed"
    CONFIGURED = "configured"
    NOT_MASTER = "not-master"
    BROKEN = "invariant-broken"
    PLACED = "placed"
    RETURNED = "returned"
    MOVED = "placed-elsewhere"
    OUTDATED = "older-generation"
    STRAY = "started-by-hand"
    LOST = "node-lost"
    ORDERED = "ordered"
    IN_DOUBT = "in-doubt"
    WORTHLESS = "may-run-elsewhere"
