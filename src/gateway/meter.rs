//! What an agent uses of the model, by turn: for the turn's own outcome, and for what its budgets have to say.
//!
//! What is owed is not kept here: that is entered in the ledger, request by request, by [`billing`](super::billing).

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::watch;
use tracing::Span;

use crate::domain::{
    Budget, BudgetWarning, EntryId, KeyId, MicroUsd, SessionId, Spender, TenantId, TurnId, Usage, UserId,
};

/// Whose requests a door's are.
#[derive(Debug, Clone)]
pub struct Account {
    /// The tenant.
    pub tenant: TenantId,
    /// The user and the session; nobody's where the CLI is asked about itself.
    pub session: Option<(SessionId, UserId)>,
}

/// Counts what one agent uses.
#[derive(Debug, Clone)]
pub struct Meter {
    inner: Arc<Inner>,
}

#[derive(Debug)]
struct Inner {
    account: Account,
    counted: Mutex<Counted>,
    /// How many requests have ended and are not in the ledger yet.
    settling: watch::Sender<usize>,
}

#[derive(Debug)]
struct Counted {
    /// The turn that runs, or ran last, and the key that asked for it.
    turn: Option<TurnId>,
    key: Option<KeyId>,
    /// What the requests of that turn used so far.
    used: HashMap<EntryId, (Usage, MicroUsd)>,
    /// What budgets have to say that nobody was told yet.
    warnings: Vec<BudgetWarning>,
    /// The budget for which a request of that turn was refused.
    exhausted: Option<Budget>,
    /// The turn's part of a trace, while it runs.
    span: Span,
}

impl Default for Counted {
    fn default() -> Self {
        Self {
            turn: None,
            key: None,
            used: HashMap::new(),
            warnings: Vec::new(),
            exhausted: None,
            span: Span::none(),
        }
    }
}

impl Meter {
    pub(super) fn new(account: Account) -> Self {
        Self {
            inner: Arc::new(Inner {
                account,
                counted: Mutex::default(),
                settling: watch::Sender::new(0),
            }),
        }
    }

    /// The session; nobody's where the CLI is asked about itself.
    pub(super) fn session(&self) -> Option<SessionId> {
        let session = self.inner.account.session.as_ref();
        session.map(|(session, _user)| *session)
    }

    /// Whose it is.
    pub(super) fn tenant(&self) -> TenantId {
        self.inner.account.tenant
    }

    /// Who spends now; nobody where the CLI is asked about itself.
    pub(super) fn spender(&self) -> Option<Spender> {
        let (session, user) = self.inner.account.session.clone()?;
        let counted = self.lock();
        Some(Spender {
            user,
            session,
            turn: counted.turn,
            key: counted.key,
        })
    }

    /// From now on, what is asked for is this turn's, which the key asked for; and part of the trace that it is begun in.
    pub fn begin_turn(&self, turn: TurnId, key: Option<KeyId>) {
        let mut counted = self.lock();
        // What budgets had to say after the last turn's end is told in this one.
        let warnings = std::mem::take(&mut counted.warnings);
        *counted = Counted {
            turn: Some(turn),
            key,
            warnings,
            span: Span::current(),
            ..Counted::default()
        };
    }

    /// What the turn asked for is over; what is still asked for is part of no trace.
    pub fn end_turn(&self, turn: TurnId) {
        let mut counted = self.lock();
        if counted.turn == Some(turn) {
            counted.span = Span::none();
        }
    }

    /// The part of a trace of the turn that runs.
    pub(super) fn span(&self) -> Span {
        self.lock().span.clone()
    }

    /// Counts what a request has used so far, in place of what was counted of it before.
    pub(super) fn count(&self, turn: Option<TurnId>, request: EntryId, used: Usage, cost: MicroUsd) {
        let mut counted = self.lock();
        if counted.turn == turn {
            counted.used.insert(request, (used, cost));
        }
    }

    /// What a turn used so far, and what that costs; nothing once another one has begun.
    #[must_use]
    pub fn used_in(&self, turn: TurnId) -> (Usage, MicroUsd) {
        let counted = self.lock();
        let of_turn = counted.used.values().filter(|_| counted.turn == Some(turn));
        of_turn.fold((Usage::default(), MicroUsd::ZERO), |(usage, cost), request| {
            (usage.plus(request.0), cost.plus(request.1))
        })
    }

    /// Notes that a request of a turn was refused for this budget.
    pub(super) fn exhaust(&self, turn: Option<TurnId>, budget: Budget) {
        let mut counted = self.lock();
        if counted.turn == turn {
            counted.exhausted = Some(budget);
        }
    }

    /// The budget for which a request of the turn was refused, if one was.
    #[must_use]
    pub fn exhausted_in(&self, turn: TurnId) -> Option<Budget> {
        let counted = self.lock();
        counted.exhausted.clone().filter(|_| counted.turn == Some(turn))
    }

    pub(super) fn warn(&self, warnings: Vec<BudgetWarning>) {
        self.lock().warnings.extend(warnings);
    }

    /// What budgets have to say that nobody was told yet.
    #[must_use]
    pub fn take_warnings(&self) -> Vec<BudgetWarning> {
        std::mem::take(&mut self.lock().warnings)
    }

    pub(super) fn settling(&self) -> &watch::Sender<usize> {
        &self.inner.settling
    }

    /// Waits until what has ended is in the ledger, but not for long.
    pub async fn settled(&self, patience: Duration) {
        let mut settling = self.inner.settling.subscribe();
        // Whoever waits goes on either way.
        let _in_time = tokio::time::timeout(patience, settling.wait_for(|open| *open == 0)).await;
    }

    fn lock(&self) -> MutexGuard<'_, Counted> {
        self.inner.counted.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
