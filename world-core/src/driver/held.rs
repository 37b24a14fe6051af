//! The one copy of a lease in this process, and until when it holds.
//!
//! The drive renews it, the keeper renews it for a drive that is stuck, and whoever must know
//! whether the lease still holds asks here.

use std::{
    sync::{
        Arc, Mutex,
        atomic::{AtomicU32, Ordering::SeqCst},
    },
    time::Duration,
};

use super::clock::{Clock, moment};
use crate::{
    ids::{Position, RunId, Timestamp},
    lease::{Lease, Ticket},
    lock::lock,
    moment::Moment,
};

/// A lease that this process holds, as far as it knows.
#[derive(Debug)]
pub(super) struct HeldLease {
    clock: Arc<dyn Clock>,
    run: RunId,
    ticket: Ticket,
    closed: bool,
    attempt: AtomicU32,
    term: Mutex<Term>,
}

#[derive(Clone, Copy, Debug)]
struct Term {
    /// The end that the store knows, by the wall clock, and how far the monotonic clock goes until
    /// then. Both count from before the store was asked, so the store never sees it end earlier.
    until: Moment,
    /// The head when the lease was claimed, or when its owner began anew.
    head: Position,
    /// How many renewals were answered.
    renewals: u64,
}

/// A renewal that was sent and is not answered yet.
#[derive(Debug)]
pub(super) struct Renewal {
    /// What the World is asked to renew.
    pub(super) lease: Lease,
    until: Moment,
    /// How many renewals had been answered when it was sent.
    renewals: u64,
}

impl Renewal {
    /// The end that the World is asked for.
    pub(super) const fn until(&self) -> Timestamp {
        self.until.wall
    }
}

impl HeldLease {
    /// Takes a lease that was asked for at a moment, before which nobody else can have counted
    /// its time.
    pub(super) fn new(clock: &Arc<dyn Clock>, lease: Lease, asked: Moment) -> Self {
        let time = lease.until.since(asked.wall);
        Self {
            clock: Arc::clone(clock),
            run: lease.run,
            ticket: lease.ticket,
            closed: lease.closed,
            attempt: AtomicU32::new(lease.attempt),
            term: Mutex::new(Term {
                until: Moment {
                    wall: lease.until,
                    monotonic: asked.monotonic.saturating_add(time),
                },
                head: lease.head,
                renewals: 0,
            }),
        }
    }

    pub(super) const fn run(&self) -> &RunId {
        &self.run
    }

    pub(super) const fn ticket(&self) -> Ticket {
        self.ticket
    }

    /// Whether the run is closed.
    pub(super) const fn is_closed(&self) -> bool {
        self.closed
    }

    /// How often the run has been claimed since its last progress, this time included.
    pub(super) fn attempt(&self) -> u32 {
        self.attempt.load(SeqCst)
    }

    pub(super) fn set_attempt(&self, attempt: u32) {
        self.attempt.store(attempt, SeqCst);
    }

    /// The run has made progress under this lease.
    pub(super) fn progressed(&self) {
        self.set_attempt(1);
    }

    /// The head when the lease was claimed, or when its owner began anew.
    pub(super) fn head(&self) -> Position {
        self.term().head
    }

    pub(super) fn set_head(&self, head: Position) {
        lock(&self.term).head = head;
    }

    /// Whether nobody else can have the run: both clocks say that the lease has not run out. The
    /// monotonic one knows when the wall clock was set back, the wall clock when the machine slept.
    pub(super) fn holds(&self) -> bool {
        let (now, until) = (moment(&*self.clock), self.term().until);
        now.wall < until.wall && now.monotonic < until.monotonic
    }

    /// How much time is left of it by the monotonic clock.
    pub(super) fn left(&self) -> Duration {
        self.term().until.monotonic.saturating_sub(self.clock.monotonic())
    }

    /// When this much of it is left, by each clock; a moment that has passed by either is over.
    pub(super) fn moment_before_end(&self, left: Duration) -> Moment {
        let Moment { wall, monotonic } = self.term().until;
        let millis = u64::try_from(left.as_millis()).unwrap_or(u64::MAX);
        Moment {
            wall: Timestamp::from_millis(wall.as_millis().saturating_sub(millis)),
            monotonic: monotonic.saturating_sub(left),
        }
    }

    /// Begins a renewal: the lease is to hold for `time` from now on. `head` is that of its owner,
    /// 0 if it begins anew.
    pub(super) fn renewal(&self, time: Duration, head: Position) -> Renewal {
        let until = moment(&*self.clock).plus(time);
        let term = self.term();
        let lease = Lease {
            run: self.run.clone(),
            ticket: self.ticket,
            attempt: self.attempt(),
            until: term.until.wall,
            head,
            closed: self.closed,
        };
        Renewal { lease, until, renewals: term.renewals }
    }

    /// A renewal was answered: the lease is held.
    pub(super) fn renewed(&self, renewal: &Renewal) {
        let mut term = lock(&self.term);
        // Of two renewals that were under way at once nobody knows which came last to the store.
        term.until = if term.renewals == renewal.renewals {
            renewal.until
        } else {
            Moment {
                wall: term.until.wall.min(renewal.until.wall),
                monotonic: term.until.monotonic.min(renewal.until.monotonic),
            }
        };
        term.renewals += 1;
    }

    fn term(&self) -> Term {
        *lock(&self.term)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::VirtualClock;

    const LEASE: Duration = Duration::from_secs(15);

    fn held(clock: &VirtualClock) -> HeldLease {
        let shared: Arc<dyn Clock> = Arc::new(clock.clone());
        let lease = Lease {
            run: RunId::new("a").unwrap(),
            ticket: Ticket::from_bytes([1; 16]),
            attempt: 1,
            until: clock.now().plus(LEASE),
            head: Position::START,
            closed: false,
        };
        HeldLease::new(&shared, lease, moment(clock))
    }

    #[test]
    fn a_lease_holds_only_while_both_clocks_say_so() {
        let clock = VirtualClock::new();
        let lease = held(&clock);
        clock.advance(LEASE - Duration::from_millis(1));
        assert!(lease.holds());
        clock.set_back(LEASE);
        clock.advance(Duration::from_millis(1));
        assert!(!lease.holds(), "the wall clock was set back");
        let lease = held(&clock);
        clock.set_forward(LEASE);
        assert!(!lease.holds() && lease.left() == LEASE, "the machine slept");
    }

    #[test]
    fn a_renewal_counts_from_before_it_was_sent() {
        let clock = VirtualClock::new();
        let lease = held(&clock);
        let renewal = lease.renewal(LEASE, Position::START);
        clock.advance(LEASE * 2 / 3);
        lease.renewed(&renewal);
        assert_eq!(lease.left(), LEASE / 3);
        assert_eq!(renewal.until(), clock.now().plus(LEASE / 3));
    }

    #[test]
    fn of_two_renewals_under_way_at_once_the_earlier_end_counts() {
        let clock = VirtualClock::new();
        let lease = held(&clock);
        let first = lease.renewal(LEASE, Position::START);
        clock.advance(LEASE / 3);
        let second = lease.renewal(LEASE, Position::START);
        lease.renewed(&second);
        assert_eq!(lease.left(), LEASE);
        lease.renewed(&first);
        assert_eq!(lease.left(), LEASE * 2 / 3);
        lease.renewed(&lease.renewal(LEASE, Position::START));
        assert_eq!(lease.left(), LEASE);
    }
}
