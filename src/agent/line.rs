//! The line of a session's turns: one has the session, others wait for it in order.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::{mpsc, oneshot, watch};

use crate::domain::{Permission, Turn, TurnErrorCode, TurnId, TurnStatus};

/// What comes of a turn for a session that has one already.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum OnBusy {
    /// It is refused.
    Reject,
    /// It waits for those before it.
    Queue,
    /// The turn that has the session is interrupted, and this one is next.
    Interrupt,
}

/// A turn that is to be run, as others get at it.
#[derive(Debug)]
pub(super) struct TurnControl {
    pub(super) id: TurnId,
    /// Why it is to be stopped; the first reason stands.
    stop: watch::Sender<Option<TurnErrorCode>>,
    /// Whether anything of it is stored.
    stored: AtomicBool,
    /// Where it is.
    status: watch::Sender<TurnStatus>,
    /// The turn with its outcome, once it has one.
    ended: watch::Sender<Option<Arc<Turn>>>,
    /// Answers to what its agent asked.
    answers: mpsc::Sender<Permission>,
}

/// What the runner of a turn hears of others.
#[derive(Debug)]
pub(super) struct TurnSignals {
    pub(super) stop: watch::Receiver<Option<TurnErrorCode>>,
    pub(super) answers: mpsc::Receiver<Permission>,
}

impl TurnControl {
    pub(super) fn new(id: TurnId) -> (Arc<Self>, TurnSignals) {
        let stop = watch::Sender::new(None);
        // Answers that come faster than the CLI takes them wait with their sender.
        let (answers, answered) = mpsc::channel(16);
        let signals = TurnSignals {
            stop: stop.subscribe(),
            answers: answered,
        };
        let control = Self {
            id,
            stop,
            stored: AtomicBool::new(false),
            status: watch::Sender::new(TurnStatus::Queued),
            ended: watch::Sender::new(None),
            answers,
        };
        (Arc::new(control), signals)
    }

    /// Asks it to end for this reason.
    pub(super) fn stop(&self, reason: TurnErrorCode) {
        let first = self.stop.send_if_modified(|current| {
            let first = current.is_none();
            if first {
                *current = Some(reason);
            }
            first
        });
        if first {
            tracing::debug!(turn.id = %self.id, %reason, "a turn is stopped");
        }
    }

    /// Notes that something of it is stored.
    pub(super) fn note_stored(&self) {
        self.stored.store(true, Ordering::Relaxed);
    }

    pub(super) fn status(&self) -> TurnStatus {
        *self.status.borrow()
    }

    pub(super) fn set_status(&self, status: TurnStatus) {
        self.status.send_replace(status);
    }

    pub(super) fn set_ended(&self, turn: Turn) {
        self.ended.send_replace(Some(Arc::new(turn)));
    }

    pub(super) fn ended(&self) -> watch::Receiver<Option<Arc<Turn>>> {
        self.ended.subscribe()
    }

    /// Brings it an answer to what its agent asked; whether it still listens.
    pub(super) async fn answer(&self, permission: Permission) -> bool {
        self.answers.send(permission).await.is_ok()
    }
}

/// The line of a session's turns. Clones share it.
#[derive(Debug, Clone, Default)]
pub(super) struct TurnLine(Arc<Shared>);

#[derive(Debug, Default)]
struct Shared {
    state: Mutex<State>,
    /// How many there are: a level that can be waited for.
    length: watch::Sender<usize>,
}

#[derive(Debug, Default)]
struct State {
    first: Option<Arc<TurnControl>>,
    waiting: VecDeque<Waiting>,
}

#[derive(Debug)]
struct Waiting {
    control: Arc<TurnControl>,
    place: oneshot::Sender<TurnPlace>,
}

/// The right to run a turn of a session, given to the next when dropped. There is one at a time.
#[derive(Debug)]
pub(super) struct TurnPlace(Option<TurnLine>);

/// A place in the line, given up when dropped.
#[derive(Debug)]
pub(super) struct TurnTicket {
    line: TurnLine,
    turn: TurnId,
    place: oneshot::Receiver<TurnPlace>,
}

/// What a turn gets that comes to the line.
#[derive(Debug)]
pub(super) enum Admission {
    /// The session.
    Now(TurnPlace),
    /// A place in the line.
    Later(TurnTicket),
}

/// Why a turn is not let in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum NotAdmitted {
    /// Another has the session, and it is not to wait.
    Busy,
    /// As many wait as may.
    Full,
}

impl TurnLine {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.0.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn note_length(&self, state: &State) {
        let length = usize::from(state.first.is_some()) + state.waiting.len();
        self.0.length.send_replace(length);
    }

    /// Lets a turn in, as the session stands.
    pub(super) fn enter(
        &self,
        control: &Arc<TurnControl>,
        on_busy: OnBusy,
        waiting_max: usize,
    ) -> Result<Admission, NotAdmitted> {
        let mut state = self.lock();
        let Some(first) = &state.first else {
            state.first = Some(Arc::clone(control));
            self.note_length(&state);
            return Ok(Admission::Now(TurnPlace(Some(self.clone()))));
        };
        if on_busy == OnBusy::Reject {
            return Err(NotAdmitted::Busy);
        }
        if state.waiting.len() >= waiting_max {
            return Err(NotAdmitted::Full);
        }
        let interrupted = (on_busy == OnBusy::Interrupt).then(|| Arc::clone(first));
        let (place, granted) = oneshot::channel();
        let waiting = Waiting {
            control: Arc::clone(control),
            place,
        };
        if interrupted.is_some() {
            state.waiting.push_front(waiting);
        } else {
            state.waiting.push_back(waiting);
        }
        self.note_length(&state);
        drop(state);
        if let Some(first) = interrupted {
            first.stop(TurnErrorCode::TurnInterrupted);
        }
        Ok(Admission::Later(TurnTicket {
            line: self.clone(),
            turn: control.id,
            place: granted,
        }))
    }

    /// The turn that has the session.
    pub(super) fn first(&self) -> Option<Arc<TurnControl>> {
        self.lock().first.clone()
    }

    /// The turn of this id, if it has the session or waits for it.
    pub(super) fn find(&self, turn: TurnId) -> Option<Arc<TurnControl>> {
        let state = self.lock();
        let waiting = state.waiting.iter().map(|waiting| &waiting.control);
        let mut all = state.first.iter().chain(waiting);
        all.find(|control| control.id == turn).cloned()
    }

    /// Asks all turns to end for this reason.
    pub(super) fn stop_all(&self, reason: TurnErrorCode) {
        for control in self.all() {
            control.stop(reason);
        }
    }

    /// Asks the turns to end of which something is stored: what the session's last owner had. One that is just coming may find
    /// the session its own.
    pub(super) fn stop_stored(&self, reason: TurnErrorCode) {
        let stored = |control: &Arc<TurnControl>| control.stored.load(Ordering::Relaxed);
        for control in self.all().into_iter().filter(stored) {
            control.stop(reason);
        }
    }

    fn all(&self) -> Vec<Arc<TurnControl>> {
        let state = self.lock();
        let waiting = state.waiting.iter().map(|waiting| &waiting.control);
        state.first.iter().chain(waiting).cloned().collect()
    }

    /// Asks the turns that wait to end for this reason.
    pub(super) fn stop_waiting(&self, reason: TurnErrorCode) {
        let state = self.lock();
        let waiting: Vec<_> = state
            .waiting
            .iter()
            .map(|waiting| Arc::clone(&waiting.control))
            .collect();
        drop(state);
        for control in waiting {
            control.stop(reason);
        }
    }

    pub(super) fn is_busy(&self) -> bool {
        *self.0.length.borrow() > 0
    }

    pub(super) fn waiting(&self) -> usize {
        self.lock().waiting.len()
    }

    /// Waits until no turn has the session or waits for it.
    pub(super) async fn until_empty(&self) {
        let mut length = self.0.length.subscribe();
        // The sender lives in `self`, so the wait cannot fail.
        let _empty = length.wait_for(|length| *length == 0).await;
    }

    fn pass_on(&self) {
        let mut state = self.lock();
        let next = state.waiting.pop_front();
        state.first = next.as_ref().map(|next| Arc::clone(&next.control));
        self.note_length(&state);
        drop(state);
        if let Some(next) = next
            && let Err(place) = next.place.send(TurnPlace(Some(self.clone())))
        {
            // Whoever waited has just given up; dropping the place gives it to the next.
            drop(place);
        }
    }
}

impl TurnTicket {
    /// The place, once it is this turn's. Cancel-safe.
    pub(super) async fn granted(&mut self) -> TurnPlace {
        match (&mut self.place).await {
            Ok(place) => place,
            // The sender is dropped only together with this ticket.
            Err(_dropped) => std::future::pending().await,
        }
    }

    /// How many turns end before this one begins.
    pub(super) fn position(&self) -> usize {
        let state = self.line.lock();
        let before = state
            .waiting
            .iter()
            .position(|waiting| waiting.control.id == self.turn);
        before.map_or(0, |before| before + 1)
    }
}

impl Drop for TurnTicket {
    fn drop(&mut self) {
        let mut state = self.line.lock();
        state.waiting.retain(|waiting| waiting.control.id != self.turn);
        self.line.note_length(&state);
    }
}

impl Drop for TurnPlace {
    fn drop(&mut self) {
        if let Some(line) = self.0.take() {
            line.pass_on();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::SystemClock;

    fn turn() -> Arc<TurnControl> {
        TurnControl::new(TurnId::generate(&SystemClock)).0
    }

    fn later(line: &TurnLine, control: &Arc<TurnControl>, on_busy: OnBusy) -> TurnTicket {
        match line.enter(control, on_busy, 10).unwrap() {
            Admission::Later(ticket) => ticket,
            Admission::Now(_) => panic!("the session was free"),
        }
    }

    fn now(line: &TurnLine, control: &Arc<TurnControl>) -> TurnPlace {
        match line.enter(control, OnBusy::Reject, 10).unwrap() {
            Admission::Now(place) => place,
            Admission::Later(_) => panic!("the session was busy"),
        }
    }

    #[tokio::test]
    async fn turns_have_the_session_one_after_the_other() {
        let line = TurnLine::default();
        let (a, b, c) = (turn(), turn(), turn());
        let place = now(&line, &a);
        assert_eq!(line.enter(&b, OnBusy::Reject, 10).unwrap_err(), NotAdmitted::Busy);
        assert_eq!(line.enter(&b, OnBusy::Queue, 0).unwrap_err(), NotAdmitted::Full);
        let (mut second, third) = (later(&line, &b, OnBusy::Queue), later(&line, &c, OnBusy::Queue));
        assert_eq!((second.position(), third.position()), (1, 2));
        assert!(line.find(c.id).is_some() && line.find(turn().id).is_none());
        drop(place);
        let place = second.granted().await;
        assert_eq!(line.first().unwrap().id, b.id);
        assert_eq!(third.position(), 1);
        drop(third);
        drop(place);
        assert!(!line.is_busy());
        line.until_empty().await;
    }

    #[tokio::test]
    async fn one_that_interrupts_is_next() {
        let line = TurnLine::default();
        let (a, b, c) = (turn(), turn(), turn());
        let place = now(&line, &a);
        let waits = later(&line, &b, OnBusy::Queue);
        let mut urgent = later(&line, &c, OnBusy::Interrupt);
        assert_eq!(*a.stop.borrow(), Some(TurnErrorCode::TurnInterrupted));
        assert_eq!((urgent.position(), waits.position()), (1, 2));
        drop(place);
        drop(urgent.granted().await);
        assert_eq!(
            line.first().unwrap().id,
            b.id,
            "a place that nobody took is passed on"
        );
        drop(waits);
        assert!(!line.is_busy());
    }

    #[tokio::test]
    async fn a_turn_of_which_nothing_is_stored_is_not_the_last_owners() {
        let line = TurnLine::default();
        let (a, b) = (turn(), turn());
        let _place = now(&line, &a);
        let _waits = later(&line, &b, OnBusy::Queue);
        b.note_stored();
        line.stop_stored(TurnErrorCode::TurnUnknown);
        assert_eq!(
            (*a.stop.borrow(), *b.stop.borrow()),
            (None, Some(TurnErrorCode::TurnUnknown))
        );
    }
}
