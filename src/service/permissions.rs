//! What agents ask, and the answers of people.

use std::sync::Arc;

use serde_json::{Map, Value};

use super::error::Error;
use super::sessions::SessionService;
use crate::agent::Agents;
use crate::domain::{
    AuditAction, AuditNote, Clock, EventBody, Page, Permission, PermissionDecision, PermissionId,
    PermissionKind, PermissionResolution, Principal, SessionChange, SessionId,
};
use crate::store::{PermissionFilter, Store};

/// A person's answer.
#[derive(Debug, Clone)]
pub struct PermissionAnswer {
    /// Whether it is allowed.
    pub allow: bool,
    /// What the agent is told besides.
    pub message: Option<String>,
    /// What the tool is to be called with instead.
    pub updated_input: Option<Map<String, Value>>,
    /// Whether the same needs no permission in this session from now on.
    pub remember: bool,
    /// The answers to a question, by the question's text.
    pub answers: Option<Map<String, Value>>,
}

/// Questions of agents.
#[derive(Debug)]
pub struct PermissionService {
    store: Arc<dyn Store>,
    agents: Agents,
    sessions: Arc<SessionService>,
    clock: Arc<dyn Clock>,
}

impl PermissionService {
    /// The use cases over these parts.
    #[must_use]
    pub fn new(
        store: Arc<dyn Store>,
        agents: Agents,
        sessions: Arc<SessionService>,
        clock: Arc<dyn Clock>,
    ) -> Self {
        Self {
            store,
            agents,
            sessions,
            clock,
        }
    }

    /// A page of the questions that wait, oldest first: of one session, or of all that the caller may see.
    pub async fn list(
        &self,
        caller: &Principal,
        session: Option<SessionId>,
        after: Option<PermissionId>,
        limit: u32,
    ) -> Result<Page<Permission, PermissionId>, Error> {
        if let Some(session) = session {
            self.sessions.find(caller, session).await?;
        }
        let filter = PermissionFilter {
            session,
            user: caller.user.clone(),
        };
        let waiting = self
            .store
            .list_pending_permissions(caller.tenant, &filter, after, limit.saturating_add(1))
            .await?;
        Ok(Page::cut(waiting, limit as usize, |permission| permission.id))
    }

    /// A question of a session, answered or not.
    pub async fn get(
        &self,
        caller: &Principal,
        session: SessionId,
        id: PermissionId,
    ) -> Result<Permission, Error> {
        self.sessions.find(caller, session).await?;
        self.question(caller, session, id).await
    }

    /// A question of a session that the caller may see.
    async fn question(
        &self,
        caller: &Principal,
        session: SessionId,
        id: PermissionId,
    ) -> Result<Permission, Error> {
        let found = self.store.find_permission(caller.tenant, id).await?;
        found
            .filter(|permission| permission.session == session)
            .ok_or(Error::PermissionNotFound)
    }

    /// Answers a question. The first answer counts.
    pub async fn answer(
        &self,
        caller: &Principal,
        session: SessionId,
        id: PermissionId,
        answer: PermissionAnswer,
    ) -> Result<Permission, Error> {
        self.sessions.find_usable(caller, session).await?;
        let asked = self.question(caller, session, id).await?;
        if let Some(resolution) = asked.resolution {
            return Err(Error::PermissionAnswered {
                decision: resolution.decision,
            });
        }
        check(&asked, &answer)?;
        let resolution = PermissionResolution {
            decision: if answer.allow {
                PermissionDecision::Allow
            } else {
                PermissionDecision::Deny
            },
            message: answer.message,
            updated_input: answer.updated_input.map(Value::Object),
            answers: answer.answers,
            remember: answer.remember,
            by: caller.credential.clone(),
            at: self.clock.now(),
        };
        let action = AuditAction::PermissionAnswered;
        let note = AuditNote::by(caller, resolution.at, caller.tenant, action, &id)
            .with("decision", resolution.decision.to_string())
            .with("tool", asked.tool_name)
            .with("session", session.to_string());
        let standing = self
            .store
            .resolve_permission(caller.tenant, id, &resolution, Some(&note))
            .await?
            .ok_or(Error::PermissionNotFound)?;
        match &standing.resolution {
            Some(first) if *first == resolution => {}
            Some(first) => {
                return Err(Error::PermissionAnswered {
                    decision: first.decision,
                });
            }
            None => return Err(Error::PermissionNotFound),
        }
        if resolution.remember {
            self.remember(caller, &standing).await?;
        }
        match self.agents.bring_answer(caller.tenant, standing.clone()).await {
            Ok(true) => {}
            // Its turn ended in this moment, and has noted the question as answered or withdrawn.
            Ok(false) => tracing::info!(permission.id = %id, "an answer found no turn that waits for it"),
            // It stands in the store; the instance that runs the turn finds it there when the question's time is over.
            Err(error) => tracing::warn!(permission.id = %id, error = &error as &dyn std::error::Error,
                "an answer did not reach the instance that runs the turn"),
        }
        Ok(standing)
    }

    /// Lets the session's next agents know too.
    async fn remember(&self, caller: &Principal, permission: &Permission) -> Result<(), Error> {
        let change = SessionChange {
            allow_tool: permission.remembered_as.clone(),
            ..SessionChange::default()
        };
        let changed = self
            .store
            .update_session(caller.tenant, permission.session, &change)
            .await?;
        if let Some(session) = changed {
            // The agent itself is told with the answer.
            self.agents.apply_options(&session).await;
            let event = EventBody::of_change(&change);
            self.agents.record(caller.tenant, session.id, vec![event]).await?;
        }
        Ok(())
    }
}

/// Whether the answer is one to this question.
fn check(asked: &Permission, answer: &PermissionAnswer) -> Result<(), Error> {
    let wrong = |field: &'static str, reason: &'static str| Err(Error::Answer { field, reason });
    if answer.remember && !answer.allow {
        return wrong("remember", "only what is allowed can be remembered");
    }
    if answer.remember && asked.remembered_as.is_none() {
        return wrong("remember", "the like of this cannot be remembered");
    }
    if answer.updated_input.is_some() && !answer.allow {
        return wrong(
            "updated_input",
            "a tool that is not allowed is called with nothing",
        );
    }
    match (asked.kind(), &answer.answers) {
        (PermissionKind::Question, None) if answer.allow && answer.updated_input.is_none() => {
            wrong("answers", "a question is answered by answers, or denied")
        }
        (PermissionKind::Question, Some(_)) if !answer.allow => {
            wrong("answers", "a question that is denied has no answers")
        }
        (PermissionKind::Question, Some(answers)) => {
            let questions = asked.tool_input.get("questions").and_then(Value::as_array);
            let known = |text: &String| {
                questions
                    .into_iter()
                    .flatten()
                    .any(|question| question.get("question").and_then(Value::as_str) == Some(text.as_str()))
            };
            if answers.keys().all(known) {
                Ok(())
            } else {
                wrong("answers", "the keys must be the texts of the questions")
            }
        }
        (PermissionKind::Tool | PermissionKind::Plan, Some(_)) => {
            wrong("answers", "only a question has answers")
        }
        _ => Ok(()),
    }
}
