//! Whose the session is: taken, kept, lost, given back.

use std::sync::atomic::Ordering;

use tokio::sync::{MutexGuard, watch};

use super::super::feed::FeedItem;
use super::{Hold, LogError, Ownership, SessionLog, State};
use crate::domain::{Claim, Epoch, EventId, TurnId};

impl SessionLog {
    /// Lets the session go: the next write takes it anew, and settles what was left without an outcome.
    pub(in crate::agent) async fn let_go(&self) {
        let mut state = self.ownership.lock().await;
        self.give_up(&mut state);
    }

    /// The same, once it was told how a turn ended and the store has not taken that: the turn does not go on.
    pub(in crate::agent) async fn let_go_after(&self, turn: TurnId) {
        let mut state = self.ownership.lock().await;
        state.told_end = Some(turn);
        self.give_up(&mut state);
    }

    /// Whether the session is owned, as far as is known.
    pub(in crate::agent) fn is_owned(&self) -> bool {
        self.held.borrow().is_some()
    }

    /// Whether what was begun in this hold still counts, as far as is known.
    pub(in crate::agent) fn covers(&self, hold: Hold) -> bool {
        self.cluster.is_none() || self.held.borrow().is_some_and(|(_, held)| held == hold)
    }

    /// Tells whenever the session comes to be owned, or is not any more.
    pub(in crate::agent) fn watch_ownership(&self) -> watch::Receiver<Option<(Epoch, Hold)>> {
        self.held.subscribe()
    }

    /// Says that this instance counts as dead: what it has is not its own until it is taken anew.
    pub(in crate::agent) fn fence(&self) {
        let held = *self.held.borrow();
        if let Some(next) = held.and_then(|(epoch, _)| Epoch::new(epoch.get() + 1)) {
            self.revoke(next);
        }
    }

    /// Says that another instance has taken the session under this epoch; whether it was owned until then.
    pub(in crate::agent) fn revoke(&self, epoch: Epoch) -> bool {
        self.revoked.fetch_max(epoch.get(), Ordering::Relaxed);
        let lost = self.held.send_if_modified(|held| {
            let lost = held.is_some_and(|(held, _)| held < epoch);
            if lost {
                *held = None;
            }
            lost
        });
        if lost {
            self.feed.wake();
        }
        lost
    }

    /// Gives the session back to whoever wants it.
    pub(in crate::agent) async fn release(&self) {
        let Some(cluster) = &self.cluster else { return };
        let mut state = self.current().await;
        if state.owned.is_none() || self.line.is_busy() {
            return;
        }
        if let Some(owned) = &mut state.owned {
            if self.store_pieces(owned).await.is_err() {
                return;
            }
            owned.pieces.clear();
        }
        match cluster.release(self.session).await {
            Ok(()) => self.give_up(&mut state),
            Err(error) => {
                tracing::warn!(session.id = %self.session, error = &error as &dyn std::error::Error,
                "a session was not given back");
            }
        }
    }

    /// Says that another instance writes the log, which is all in the store up to this id; whether the session still is not
    /// owned here.
    pub(in crate::agent) async fn mirror_from(&self, id: EventId) -> bool {
        let state = self.current().await;
        if state.owned.is_none() {
            self.feed.mirror_from(id);
        }
        state.owned.is_none()
    }

    /// Shows what another instance wrote; whether the session still is not owned here.
    pub(in crate::agent) async fn mirror_item(&self, item: FeedItem) -> bool {
        let state = self.current().await;
        if state.owned.is_none() {
            self.feed.publish([item]);
        }
        state.owned.is_none()
    }

    /// Says that nobody writes the log: all of it is in the store.
    pub(in crate::agent) async fn forget_feed(&self) {
        let state = self.current().await;
        if state.owned.is_none() {
            self.feed.forget();
        }
    }

    /// Up to where the whole log is in the store; absent while it is not written here.
    pub(in crate::agent) async fn stored_to(&self) -> Option<EventId> {
        let state = self.current().await;
        let owned = state.owned.as_ref()?;
        Some(
            owned
                .pieces
                .first()
                .map_or(owned.last, |piece| piece.id.previous()),
        )
    }

    /// How it stands, as far as is known.
    pub(super) async fn current(&self) -> MutexGuard<'_, State> {
        let mut state = self.ownership.lock().await;
        self.give_up_revoked(&mut state);
        state
    }

    fn give_up_revoked(&self, state: &mut State) {
        let revoked = self.revoked.load(Ordering::Relaxed);
        if state
            .owned
            .as_ref()
            .is_some_and(|owned| owned.epoch.get() < revoked)
        {
            self.give_up(state);
        }
    }

    /// The ownership under which is written. What belongs to a hold is refused in any other.
    pub(super) async fn owned<'a>(
        &self,
        state: &'a mut State,
        hold: Option<Hold>,
    ) -> Result<&'a mut Ownership, LogError> {
        let revoked = self.revoked.load(Ordering::Relaxed);
        if state
            .owned
            .as_ref()
            .is_some_and(|owned| owned.epoch.get() < revoked)
        {
            self.give_up(state);
        }
        let mut goes_on = self.cluster.is_none() || hold.is_none();
        if let Some(used_up) = state.owned.take_if(|owned| owned.last.is_near_the_end()) {
            self.store_pieces(&used_up).await?;
            goes_on = true;
        }
        if state.owned.is_none() {
            if !goes_on {
                return Err(LogError::Fenced);
            }
            let owned = self.acquire(state).await?;
            self.held.send_replace(Some((owned.epoch, state.hold)));
            state.owned = Some(owned);
        }
        match &mut state.owned {
            Some(owned) if hold.is_none_or(|hold| hold == state.hold) => Ok(owned),
            _ => Err(LogError::Fenced),
        }
    }

    /// Gives up an ownership that is not believed in any more; what was shown and not stored is lost.
    pub(super) fn give_up(&self, state: &mut State) {
        let Some(owned) = state.owned.take() else { return };
        if let Some(lost) = owned.pieces.last() {
            self.feed.note_lost(lost.id);
        }
        self.held.send_replace(None);
        self.feed.wake();
    }

    /// Takes the session: always, where there is one instance; else if no other is in a turn of it. Whether it was this
    /// one's all the while decides about the hold.
    async fn claim(&self, state: &mut State) -> Result<Epoch, LogError> {
        let Some(cluster) = &self.cluster else {
            let taken = self.store.acquire_session(self.tenant, self.session).await?;
            return taken.ok_or(LogError::SessionMissing);
        };
        let own = cluster.own_id();
        let (epoch, before) = match cluster.claim(self.tenant, self.session).await? {
            Claim::Taken { epoch, before } => (epoch, before),
            Claim::Held(instance) => return Err(LogError::Elsewhere(instance)),
            Claim::Fenced => return Err(LogError::Fenced),
            Claim::NoSession => return Err(LogError::SessionMissing),
        };
        let follows = state.last_epoch.is_some_and(|last| last.get() + 1 == epoch.get());
        if before != own || !follows {
            state.hold.0 += 1;
        }
        state.last_epoch = Some(epoch);
        if let Some(other) = before.filter(|before| Some(*before) != own)
            && let Some(peer) = cluster.peer(other)
        {
            cluster.ask_to_drop(&peer, self.tenant, self.session, epoch).await;
        }
        Ok(epoch)
    }

    async fn acquire(&self, state: &mut State) -> Result<Ownership, LogError> {
        let epoch = self.claim(state).await?;
        let mut owned = Ownership {
            epoch,
            last: EventId::new(epoch, 0).of(self.session),
            pieces: Vec::new(),
            pieces_bytes: 0,
            shown_bytes: 0,
        };
        self.feed.start_after(owned.last);
        for turn in self.store.unfinished_turns(self.tenant, self.session).await? {
            if self.line.find(turn.id).is_none() {
                let may_go_on = state.told_end != Some(turn.id);
                self.deal_with(&mut owned, &turn, may_go_on).await?;
            }
        }
        Ok(owned)
    }
}
