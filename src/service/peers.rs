//! What other instances of the server ask of this one: about sessions that it has. They prove themselves by a token; who the
//! caller is, and what it may do, was seen by the one that asks.

use std::sync::Arc;

use bytes::Bytes;
use futures_util::{Stream, StreamExt as _, stream};
use serde_json::value::RawValue;
use tokio::sync::watch;

use super::error::Error;
use super::sessions::SessionService;
use super::turns::TurnService;
use crate::agent::feed::{FeedItem, FeedRead};
use crate::agent::log::LogError;
use crate::agent::{Agents, CliQuestion, OpenLog};
use crate::cluster::{
    Begun, Cluster, LogLine, PeerAnswer, PeerCommand, PeerQuestion, PeerRefusal, PeerRequest,
};
use crate::domain::{Epoch, EventId, SessionId, TenantId};
use crate::store::{Store, StoreError};

/// How many events are sent at once.
const BATCH: usize = 256;

/// Does what other instances ask.
#[derive(Debug)]
pub struct PeerService {
    store: Arc<dyn Store>,
    agents: Agents,
    sessions: Arc<SessionService>,
    turns: Arc<TurnService>,
    cluster: Option<Cluster>,
}

impl PeerService {
    /// The use cases over these parts; nobody may ask where there is one instance.
    #[must_use]
    pub fn new(
        store: Arc<dyn Store>,
        agents: Agents,
        sessions: Arc<SessionService>,
        turns: Arc<TurnService>,
        cluster: Option<Cluster>,
    ) -> Self {
        Self {
            store,
            agents,
            sessions,
            turns,
            cluster,
        }
    }

    /// Whether whoever has this token is another instance.
    #[must_use]
    pub fn admits(&self, token: &str) -> bool {
        self.cluster
            .as_ref()
            .is_some_and(|cluster| cluster.is_peer(token))
    }

    /// Does what is asked of a session.
    pub async fn obey(&self, request: PeerRequest) -> PeerAnswer {
        let PeerRequest {
            tenant,
            session,
            command,
        } = request;
        match command {
            PeerCommand::Drop { epoch } => {
                if let Some(epoch) = Epoch::new(epoch) {
                    self.agents.give_up(session, epoch).await;
                }
                PeerAnswer::Done
            }
            PeerCommand::Close => {
                self.agents.close_here(tenant, session).await;
                PeerAnswer::Done
            }
            // All else is for whoever has the session.
            _ if !self.agents.is_here(session) => PeerAnswer::Refused(PeerRefusal::NotHere),
            command => match self.obey_here(tenant, session, command).await {
                Ok(answer) => answer,
                Err(error) => PeerAnswer::Refused(refusal(error)),
            },
        }
    }

    async fn obey_here(
        &self,
        tenant: TenantId,
        session: SessionId,
        command: PeerCommand,
    ) -> Result<PeerAnswer, Error> {
        Ok(match command {
            PeerCommand::Interrupt { turn } => PeerAnswer::Interrupted {
                turn: self.agents.interrupt_here(session, turn),
            },
            PeerCommand::Answer { permission } => PeerAnswer::Answered {
                taken: self.agents.bring_answer_here(*permission).await,
            },
            PeerCommand::ApplyOptions => {
                let stored = self.store.find_session(tenant, session).await?;
                self.agents
                    .apply_options_here(&stored.ok_or(Error::SessionNotFound)?)
                    .await;
                PeerAnswer::Done
            }
            PeerCommand::Record { bodies } => match self.agents.record_here(tenant, session, bodies).await {
                Ok(()) => PeerAnswer::Done,
                Err(
                    LogError::Elsewhere(_)
                    | LogError::Fenced
                    | LogError::Store(StoreError::StaleEpoch { .. }),
                ) => PeerAnswer::Refused(PeerRefusal::NotHere),
                Err(error) => return Err(error.into()),
            },
            PeerCommand::Ask(PeerQuestion { caller, question }) => {
                let question: CliQuestion =
                    serde_json::from_value(question).map_err(|error| Error::Internal {
                        action: "a question of another instance is not known here",
                        source: Box::new(error),
                    })?;
                let found = self.sessions.find_usable(&caller, session).await?;
                let folders = self.sessions.folders(&caller, &found).await?;
                let value = self.agents.ask_here(found, folders, question).await?;
                PeerAnswer::Said { value }
            }
            PeerCommand::TurnStatus { turn } => PeerAnswer::TurnStatus {
                status: self.agents.turn_status_here(session, turn),
            },
            PeerCommand::Begin(turn) => match self.turns.begin_for_peer(session, *turn).await? {
                Some(started) => PeerAnswer::Begun(Begun {
                    turn: started.turn.id,
                    after: started.after,
                }),
                None => PeerAnswer::Refused(PeerRefusal::NotHere),
            },
            // Done without the session.
            PeerCommand::Drop { .. } | PeerCommand::Close => PeerAnswer::Done,
        })
    }

    /// A session's log as it is written here, for an instance that follows it; `None` when it is not written here.
    pub async fn log(&self, session: SessionId) -> Option<impl Stream<Item = Bytes> + use<>> {
        let cluster = self.cluster.clone()?;
        let log = self.agents.open_own_log(session)?;
        let from = self.agents.stored_to(session).await?;
        let follower = Follower {
            newest: log.feed().watch(),
            agents: self.agents.clone(),
            log,
            session,
            cursor: from,
            sign_of_life: cluster.heartbeat_interval(),
        };
        let start = follower.start(from);
        let rest = stream::unfold(follower, |mut follower| async move {
            let lines = follower.next().await?;
            Some((lines, follower))
        });
        Some(stream::once(async move { start }).chain(rest))
    }
}

struct Follower {
    agents: Agents,
    log: OpenLog,
    session: SessionId,
    newest: watch::Receiver<EventId>,
    cursor: EventId,
    sign_of_life: std::time::Duration,
}

impl Follower {
    fn start(&self, stored: EventId) -> Bytes {
        let shown = self.log.feed().newest();
        line(&LogLine::Start { stored, shown })
    }

    async fn next(&mut self) -> Option<Bytes> {
        loop {
            self.newest.borrow_and_update();
            // Before the look: what was written until the end is sent all the same.
            let is_here = self.agents.is_here(self.session);
            match self.log.feed().read_after(self.cursor, BATCH) {
                FeedRead::Items(items) => {
                    if let Some(last) = items.last() {
                        self.cursor = last.id;
                        return Some(items.iter().flat_map(|item| item_line(item)).collect());
                    }
                }
                FeedRead::Stored { up_to: Some(up_to) } if is_here => {
                    self.cursor = up_to;
                    return Some(self.start(up_to));
                }
                FeedRead::Stored { .. } => return None,
            }
            if !is_here {
                return None;
            }
            match tokio::time::timeout(self.sign_of_life, self.newest.changed()).await {
                Ok(Ok(())) => {}
                Ok(Err(_closed)) => return None,
                Err(_silence) => return Some(line(&LogLine::Alive)),
            }
        }
    }
}

fn item_line(item: &FeedItem) -> Bytes {
    let json = String::from_utf8_lossy(&item.json).into_owned();
    match RawValue::from_string(json) {
        Ok(event) => line(&LogLine::Item {
            id: item.id,
            turn: item.turn,
            kind: item.kind,
            terminal: item.terminal,
            event,
        }),
        // Whatever was rendered is JSON.
        Err(_) => Bytes::new(),
    }
}

fn line(line: &LogLine) -> Bytes {
    let mut text = serde_json::to_vec(line).unwrap_or_default();
    text.push(b'\n');
    text.into()
}

fn refusal(error: Error) -> PeerRefusal {
    match error {
        Error::TurnQueueFull { .. } => PeerRefusal::QueueFull,
        Error::ShuttingDown { .. } => PeerRefusal::ShuttingDown,
        Error::SessionNotFound | Error::SessionClosed | Error::SessionExpired => PeerRefusal::SessionGone,
        Error::CliRefused(message) => PeerRefusal::CliRefused { message },
        Error::CliTimeout => PeerRefusal::CliTimeout,
        error => {
            tracing::warn!(
                error = &error as &dyn std::error::Error,
                "what another instance asked for was not done"
            );
            PeerRefusal::Failed {
                message: error.to_string(),
            }
        }
    }
}
