//! Turns whose server did not live to end them and that are to go on: found when their session is taken, and handed to
//! whoever opens their folders and runs them. Meanwhile each has its session, so that no other turn begins before it.
//!
//! A turn goes on under its own id. What its agent was doing when the server was lost may be done twice, so this is only
//! for tenants that ask for it, and only so often.

use std::sync::Arc;
use std::time::Duration;

use serde_json::Value;
use tokio::sync::mpsc;
use tracing::Instrument as _;

use super::launch::Folders;
use super::line::{Admission, OnBusy, TurnControl, TurnLine, TurnPlace, TurnSignals};
use super::manager::Agents;
use super::turn::{OnLost, TurnPlan, TurnRun};
use crate::domain::{OnLostTurn, Session, TenantId, Turn};
use crate::limits::Limits;
use crate::limits::counter::Occupied;
use crate::store::StoreError;

/// A turn that is to go on. If it is dropped it stays without an outcome, for whoever takes its session next.
#[derive(Debug)]
pub struct LostTurn {
    /// Whose.
    pub tenant: TenantId,
    /// The turn.
    pub turn: Turn,
    control: Arc<TurnControl>,
    signals: TurnSignals,
    place: TurnPlace,
}

/// Lost turns, as they are found.
pub type LostTurns = mpsc::UnboundedReceiver<LostTurn>;

/// Finds out which turns are to go on. Clones share what they have found. There is at most one such turn for each session.
#[derive(Debug, Clone)]
pub struct Resuming {
    limits: Arc<Limits>,
    /// How often a turn goes on.
    pub(super) most: u32,
    found: mpsc::UnboundedSender<LostTurn>,
}

impl Resuming {
    /// What finds them, and what it finds.
    #[must_use]
    pub fn new(limits: Arc<Limits>, most: u32) -> (Self, LostTurns) {
        let (found, turns) = mpsc::unbounded_channel();
        let resuming = Self { limits, most, found };
        (resuming, turns)
    }

    /// Whether a tenant asks for it.
    pub(super) async fn is_asked_for_by(&self, tenant: TenantId) -> Result<bool, StoreError> {
        let found = self.limits.of(tenant).await?;
        let asked = found.and_then(|tenant| tenant.policy.on_lost);
        Ok(asked == Some(OnLostTurn::Resume))
    }

    /// Gives a turn the session and has it go on; whether it does: not where another has the session already.
    pub(super) fn go_on(&self, tenant: TenantId, turn: &Turn, line: &TurnLine) -> bool {
        let (control, signals) = TurnControl::new(turn.id);
        let Ok(Admission::Now(place)) = line.enter(&control, OnBusy::Reject, 0) else {
            return false;
        };
        let lost = LostTurn {
            tenant,
            turn: turn.clone(),
            control,
            signals,
            place,
        };
        // Nobody takes them while the server ends.
        self.found.send(lost).is_ok()
    }
}

impl Agents {
    /// Goes on with a lost turn, in these folders; from then on it runs to its end.
    pub fn resume_turn(&self, lost: LostTurn, session: Session, folders: Folders, occupied: Occupied) {
        let runtime = self.shared.runtime(lost.tenant, session.id);
        let timeout = lost.turn.deadline.map(|deadline| {
            let left = deadline - self.shared.clock.now();
            left.to_std().unwrap_or(Duration::ZERO)
        });
        let plan = TurnPlan {
            session,
            folders,
            content: Value::String(lost.turn.message.clone()),
            attachments: Vec::new(),
            timeout,
            on_lost: OnLost::Fail,
            request_key: None,
            turn: lost.turn,
            _occupied: occupied,
        };
        let run = TurnRun::new(
            Arc::clone(&self.shared),
            runtime,
            lost.control,
            lost.signals,
            plan,
        );
        let span = run.span();
        self.shared.tasks.spawn(run.run_on(lost.place).instrument(span));
    }

    /// Ends a lost turn that cannot go on as `unknown`; if the store does not take that, it is found again later.
    pub async fn give_up_turn(&self, lost: LostTurn) {
        let runtime = self.shared.runtime(lost.tenant, lost.turn.session);
        if let Err(error) = runtime.log.settle_unknown(&lost.turn).await {
            tracing::warn!(turn.id = %lost.turn.id, error = &error as &dyn std::error::Error,
                "a lost turn was not settled; it is tried again");
            self.find_again(lost).await;
        }
    }

    /// Lets a lost turn be found again, a little later.
    pub async fn find_again(&self, lost: LostTurn) {
        let runtime = self.shared.runtime(lost.tenant, lost.turn.session);
        // Its place first: what has the session is not looked for.
        drop(lost);
        runtime.log.let_go().await;
        self.shared.settle_later(&runtime);
    }
}
