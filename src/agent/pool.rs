//! The places for live processes: a bounded number, and a queue for them that is fair over tenants.
//!
//! Whoever finds no place waits in its tenant's queue; places that become free go round the tenants that wait. So one
//! tenant's hundred sessions delay another's first by one place, not by a hundred.

use std::collections::{HashMap, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::{oneshot, watch};

use crate::domain::TenantId;
use crate::limits::counter::Occupied;

/// The places for live processes. Clones share them.
#[derive(Debug, Clone)]
pub(super) struct Pool(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    places: usize,
    waiting_max: usize,
    state: Mutex<State>,
    /// Rises whenever the queue, or what may make room in it, changes.
    changed: watch::Sender<u64>,
}

#[derive(Debug, Default)]
struct State {
    taken: usize,
    closed: bool,
    queues: HashMap<TenantId, VecDeque<Waiter>>,
    /// The tenants that wait, in the order in which they are served.
    round: VecDeque<TenantId>,
    next_ticket: u64,
    /// Idle agents that are being ended for someone who waits.
    making_room: usize,
}

#[derive(Debug)]
struct Waiter {
    ticket: u64,
    place: oneshot::Sender<Place>,
}

/// A place, given back when dropped.
#[derive(Debug)]
pub(super) struct Place {
    pool: Option<Pool>,
    /// Its tenant's own count goes back first.
    occupied: Option<Occupied>,
}

/// A place in the queue, given up when dropped.
#[derive(Debug)]
pub(super) struct Ticket {
    pool: Pool,
    tenant: TenantId,
    number: u64,
    place: oneshot::Receiver<Place>,
}

/// The announcement that an idle agent is being ended to make room.
#[derive(Debug)]
pub(super) struct MakingRoom(Pool);

/// What someone who wants a place gets.
#[derive(Debug)]
pub(super) enum Entry {
    /// A place.
    Place(Place),
    /// A place in the queue.
    Queued(Ticket),
}

/// Why nobody is let in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Refused {
    /// As many wait as may.
    QueueFull,
    /// The server stops.
    Closed,
}

impl Pool {
    pub(super) fn new(places: usize, waiting_max: usize) -> Self {
        Self(Arc::new(Shared {
            places,
            waiting_max,
            state: Mutex::default(),
            changed: watch::Sender::new(0),
        }))
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.0.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A place if one is free and nobody waits for it, else a place in the queue.
    pub(super) fn enter(&self, tenant: TenantId) -> Result<Entry, Refused> {
        let mut state = self.lock();
        if state.closed {
            return Err(Refused::Closed);
        }
        if state.taken < self.0.places && state.round.is_empty() {
            state.taken += 1;
            return Ok(Entry::Place(Place::of(self.clone())));
        }
        if state.waiting() >= self.0.waiting_max {
            return Err(Refused::QueueFull);
        }
        let (place, granted) = oneshot::channel();
        let number = state.next_ticket;
        state.next_ticket += 1;
        let queue = state.queues.entry(tenant).or_default();
        queue.push_back(Waiter {
            ticket: number,
            place,
        });
        if queue.len() == 1 {
            state.round.push_back(tenant);
        }
        drop(state);
        self.note_change();
        Ok(Entry::Queued(Ticket {
            pool: self.clone(),
            tenant,
            number,
            place: granted,
        }))
    }

    /// A place if one is free and nobody waits for it.
    pub(super) fn try_enter(&self) -> Option<Place> {
        let mut state = self.lock();
        let free = !state.closed && state.taken < self.0.places && state.round.is_empty();
        free.then(|| {
            state.taken += 1;
            Place::of(self.clone())
        })
    }

    /// Whether whoever comes now has to wait.
    pub(super) fn is_full(&self) -> bool {
        let state = self.lock();
        state.taken >= self.0.places || !state.round.is_empty()
    }

    /// Announces that an idle agent is ended, if more wait than that is done for already.
    pub(super) fn make_room(&self) -> Option<MakingRoom> {
        let mut state = self.lock();
        let wanted = state.waiting() > state.making_room;
        wanted.then(|| {
            state.making_room += 1;
            MakingRoom(self.clone())
        })
    }

    /// Says that an agent may have become idle.
    pub(super) fn note_change(&self) {
        self.0.changed.send_modify(|version| *version += 1);
    }

    /// Tells of changes: of the queue, and of agents that became idle.
    pub(super) fn watch(&self) -> watch::Receiver<u64> {
        self.0.changed.subscribe()
    }

    /// Lets nobody in any more, and sends those away who wait.
    pub(super) fn close(&self) {
        let mut state = self.lock();
        state.closed = true;
        state.queues.clear();
        state.round.clear();
        drop(state);
        self.note_change();
    }

    /// How many places are taken, and how many wait.
    pub(super) fn counts(&self) -> (usize, usize) {
        let state = self.lock();
        (state.taken, state.waiting())
    }

    /// Gives a place that was freed to the next who waits.
    fn free(&self) {
        let mut state = self.lock();
        if let Some(waiter) = state.next() {
            drop(state);
            // Still taken, by another. Whoever waited may have just given up: dropping the place gives it to the next.
            drop(waiter.place.send(Place::of(self.clone())));
        } else {
            state.taken = state.taken.saturating_sub(1);
            drop(state);
        }
        self.note_change();
    }
}

impl State {
    fn waiting(&self) -> usize {
        self.queues.values().map(VecDeque::len).sum()
    }

    /// The next who waits: tenants take turns.
    fn next(&mut self) -> Option<Waiter> {
        let tenant = self.round.pop_front()?;
        let queue = self.queues.get_mut(&tenant)?;
        let waiter = queue.pop_front();
        if queue.is_empty() {
            self.queues.remove(&tenant);
        } else {
            self.round.push_back(tenant);
        }
        waiter
    }

    /// How many are served before this one is, itself included; zero when it does not wait.
    fn position(&self, tenant: TenantId, ticket: u64) -> usize {
        let own_place = |queue: &VecDeque<Waiter>| queue.iter().position(|waiter| waiter.ticket == ticket);
        let Some(depth) = self.queues.get(&tenant).and_then(own_place) else {
            return 0;
        };
        let mut before_own = true;
        let mut served = 0;
        for other in &self.round {
            let length = self.queues.get(other).map_or(0, VecDeque::len);
            if *other == tenant {
                before_own = false;
                served += depth + 1;
            } else {
                served += length.min(depth + usize::from(before_own));
            }
        }
        served
    }
}

impl Ticket {
    /// How many are served before this one is, itself included.
    pub(super) fn position(&self) -> usize {
        self.pool.lock().position(self.tenant, self.number)
    }

    /// The place, once there is one; `None` when the pool closes. Cancel-safe.
    pub(super) async fn granted(&mut self) -> Option<Place> {
        (&mut self.place).await.ok()
    }
}

impl Drop for Ticket {
    fn drop(&mut self) {
        let mut state = self.pool.lock();
        let Some(queue) = state.queues.get_mut(&self.tenant) else {
            return;
        };
        queue.retain(|waiter| waiter.ticket != self.number);
        if queue.is_empty() {
            state.queues.remove(&self.tenant);
            state.round.retain(|tenant| *tenant != self.tenant);
        }
        drop(state);
        self.pool.note_change();
    }
}

impl Drop for MakingRoom {
    fn drop(&mut self) {
        // Nobody is told: the place that is freed tells, and where none is, nothing has changed.
        let mut state = self.0.lock();
        state.making_room = state.making_room.saturating_sub(1);
    }
}

impl Place {
    fn of(pool: Pool) -> Self {
        Self {
            pool: Some(pool),
            occupied: None,
        }
    }

    /// The same, which counts as one of its tenant's besides.
    pub(super) fn with(mut self, occupied: Option<Occupied>) -> Self {
        self.occupied = occupied;
        self
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.occupied = None;
        if let Some(pool) = self.pool.take() {
            pool.free();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::SystemClock;

    fn queued(pool: &Pool, tenant: TenantId) -> Ticket {
        match pool.enter(tenant).unwrap() {
            Entry::Queued(ticket) => ticket,
            Entry::Place(_) => panic!("a place was free"),
        }
    }

    fn place(pool: &Pool, tenant: TenantId) -> Place {
        match pool.enter(tenant).unwrap() {
            Entry::Place(place) => place,
            Entry::Queued(_) => panic!("no place was free"),
        }
    }

    fn tenants<const N: usize>() -> [TenantId; N] {
        std::array::from_fn(|_| TenantId::generate(&SystemClock))
    }

    #[tokio::test]
    async fn places_that_become_free_go_round_the_tenants() {
        let pool = Pool::new(1, 100);
        let [busy, rare] = tenants();
        let held = place(&pool, busy);
        let mut many: Vec<_> = (0..5).map(|_| queued(&pool, busy)).collect();
        let mut one = queued(&pool, rare);
        assert_eq!(
            many.iter().map(Ticket::position).collect::<Vec<_>>(),
            [1, 3, 4, 5, 6]
        );
        assert_eq!(
            one.position(),
            2,
            "after the first of the other tenant, not after all"
        );
        drop(held);
        let first = many.remove(0).granted().await.unwrap();
        assert_eq!((one.position(), many[0].position()), (1, 2));
        drop(first);
        let second = one.granted().await.unwrap();
        drop(second);
        drop(many.remove(0).granted().await.unwrap());
        assert_eq!(
            pool.counts(),
            (1, 2),
            "the next one has the place, though it has not looked"
        );
        drop(many);
        assert_eq!(pool.counts(), (0, 0), "whoever gave up gave its place back");
    }

    #[tokio::test]
    async fn whoever_gives_up_is_passed_over() {
        let pool = Pool::new(1, 100);
        let [tenant] = tenants();
        let held = place(&pool, tenant);
        let (gone, mut stays) = (queued(&pool, tenant), queued(&pool, tenant));
        assert_eq!(stays.position(), 2);
        drop(gone);
        assert_eq!(stays.position(), 1);
        drop(held);
        let granted = stays.granted().await.unwrap();
        assert_eq!(pool.counts(), (1, 0));
        // One that is granted and dropped unseen goes back too.
        let unseen = queued(&pool, tenant);
        drop(granted);
        drop(unseen);
        assert_eq!(pool.counts(), (0, 0));
    }

    #[tokio::test]
    async fn the_queue_is_bounded_and_ends_with_the_pool() {
        let pool = Pool::new(1, 1);
        let [tenant] = tenants();
        let held = place(&pool, tenant);
        let mut waits = queued(&pool, tenant);
        assert_eq!(pool.enter(tenant).unwrap_err(), Refused::QueueFull);
        assert!(pool.try_enter().is_none() && pool.is_full());
        pool.close();
        assert!(waits.granted().await.is_none());
        assert_eq!(pool.enter(tenant).unwrap_err(), Refused::Closed);
        drop(held);
        assert_eq!(pool.counts(), (0, 0));
    }

    #[test]
    fn room_is_made_once_for_each_who_waits() {
        let pool = Pool::new(1, 10);
        let [tenant] = tenants();
        let _held = place(&pool, tenant);
        assert!(pool.make_room().is_none(), "nobody waits");
        let _waits = queued(&pool, tenant);
        let making = pool.make_room().unwrap();
        assert!(pool.make_room().is_none(), "one is enough");
        drop(making);
        assert!(pool.make_room().is_some());
    }
}
