//! What an agent asks in a turn, and who answers: a rule, a person, or the clock.
//!
//! A question is stored before anyone is told of it, and its first answer, whoever gives it, is the one that stands in
//! the store; the agent is told that one.

use std::sync::Arc;

use bytes::Bytes;
use chrono::TimeDelta;
use serde_json::Value;
use tokio::time::Instant;

use super::manager::Shared;
use crate::domain::{
    EventBody, Permission, PermissionDecision, PermissionId, PermissionKind, PermissionResolution,
    PermissionRule, RuleDecision, Session, TenantId, TurnId,
};
use crate::protocol::control;
use crate::protocol::question::ToolQuestion;
use crate::store::StoreError;

/// How questions are treated that nobody answers.
#[derive(Debug, Clone)]
pub struct QuestionSettings {
    /// How long a question waits for its answer.
    pub timeout: std::time::Duration,
    /// Whether it then counts as allowed.
    pub allow_on_timeout: bool,
    /// The most questions of one turn that wait at once.
    pub pending_max: usize,
    /// Who answers, by tool; the first rule that matches counts, after those of the session.
    pub rules: Vec<PermissionRule>,
}

/// The questions of one turn.
#[derive(Debug)]
pub(super) struct Questions {
    shared: Arc<Shared>,
    tenant: TenantId,
    session: Session,
    turn: TurnId,
    pending: Vec<Pending>,
}

#[derive(Debug)]
struct Pending {
    /// The CLI's id of the question.
    request: String,
    permission: Permission,
    deadline: Instant,
}

/// What is to be told of a question.
#[derive(Debug, Default)]
pub(super) struct Told {
    /// To the log.
    pub(super) events: Vec<EventBody>,
    /// To the CLI.
    pub(super) line: Option<Bytes>,
}

impl Questions {
    pub(super) fn new(shared: Arc<Shared>, session: Session, turn: TurnId) -> Self {
        Self {
            shared,
            tenant: session.tenant,
            session,
            turn,
            pending: Vec::new(),
        }
    }

    /// Whether any waits for its answer.
    pub(super) fn any_pending(&self) -> bool {
        !self.pending.is_empty()
    }

    /// When the next one ends without an answer.
    pub(super) fn next_deadline(&self) -> Option<Instant> {
        self.pending.iter().map(|pending| pending.deadline).min()
    }

    /// Takes a question: a rule answers it, or it is stored and waits.
    pub(super) async fn ask(&mut self, request: String, question: ToolQuestion) -> Result<Told, StoreError> {
        let settings = &self.shared.settings.questions;
        if self.pending.len() >= settings.pending_max {
            let why = "Too many questions of this turn wait for an answer already.";
            return Ok(Told {
                events: Vec::new(),
                line: Some(control::deny_tool(&request, why)),
            });
        }
        let now = self.shared.clock.now();
        let mut permission = Permission {
            id: PermissionId::generate(&*self.shared.clock),
            session: self.session.id,
            user: self.session.user.clone(),
            turn: self.turn,
            tool_name: question.tool_name,
            tool_input: question.input,
            tool_use_id: question.tool_use_id,
            description: question.description,
            remembered_as: question.proposed_rule,
            created_at: now,
            expires_at: now
                .checked_add_signed(TimeDelta::from_std(settings.timeout).unwrap_or(TimeDelta::MAX))
                .unwrap_or(chrono::DateTime::<chrono::Utc>::MAX_UTC),
            resolution: None,
        };
        if let Some(decision) = self.by_rule(&permission) {
            permission.resolution = Some(PermissionResolution {
                by: "rule".to_owned(),
                ..PermissionResolution::by_server(decision, now)
            });
        }
        self.shared
            .store
            .insert_permission(self.tenant, &permission)
            .await?;
        if permission.resolution.is_some() {
            return Ok(self.told(&request, &permission));
        }
        let event = EventBody::PermissionRequest {
            permission_id: permission.id,
            kind: permission.kind(),
            tool_name: permission.tool_name.clone(),
            tool_input: permission.tool_input.clone(),
            tool_use_id: permission.tool_use_id.clone(),
            description: permission.description.clone(),
            remembered_as: permission.remembered_as.clone(),
            expires_at: permission.expires_at,
        };
        self.pending.push(Pending {
            request,
            permission,
            deadline: Instant::now() + settings.timeout,
        });
        Ok(Told {
            events: vec![event],
            line: None,
        })
    }

    /// What a rule says; questions to a person are for persons, unless a rule names their tool.
    fn by_rule(&self, permission: &Permission) -> Option<PermissionDecision> {
        let own = self.session.options.permission_rules.iter().flatten();
        let mut rules = own.chain(&self.shared.settings.questions.rules);
        let rule = rules.find(|rule| {
            let named = permission.kind() == PermissionKind::Tool || rule.tool != "*";
            named && rule.covers(&permission.tool_name, &permission.tool_input)
        })?;
        match rule.decision {
            RuleDecision::Allow => Some(PermissionDecision::Allow),
            RuleDecision::Deny => Some(PermissionDecision::Deny),
            RuleDecision::Ask => None,
        }
    }

    /// Takes an answer that stands in the store; nothing is told when the question does not wait any more.
    pub(super) fn answered(&mut self, permission: &Permission) -> Told {
        let waits = |pending: &Pending| pending.permission.id == permission.id;
        match self.pending.iter().position(waits) {
            Some(at) => {
                let pending = self.pending.swap_remove(at);
                self.told(&pending.request, permission)
            }
            None => Told::default(),
        }
    }

    /// Ends the questions whose time is over.
    pub(super) async fn expire(&mut self) -> Result<Vec<Told>, StoreError> {
        let now = Instant::now();
        let due: Vec<_> = self
            .pending
            .iter()
            .filter(|pending| pending.deadline <= now)
            .map(|pending| pending.permission.id)
            .collect();
        self.end(&due, PermissionDecision::Expired).await
    }

    /// Ends the question that the CLI takes back.
    pub(super) async fn withdraw(&mut self, request: &str) -> Result<Vec<Told>, StoreError> {
        let taken_back: Vec<_> = self
            .pending
            .iter()
            .filter(|pending| pending.request == request)
            .map(|pending| pending.permission.id)
            .collect();
        self.end(&taken_back, PermissionDecision::Withdrawn).await
    }

    /// Ends what is left when the turn is over.
    pub(super) async fn withdraw_all(&mut self) -> Result<Vec<Told>, StoreError> {
        let all: Vec<_> = self.pending.iter().map(|pending| pending.permission.id).collect();
        self.end(&all, PermissionDecision::Withdrawn).await
    }

    async fn end(
        &mut self,
        questions: &[PermissionId],
        decision: PermissionDecision,
    ) -> Result<Vec<Told>, StoreError> {
        let mut all = Vec::new();
        for id in questions {
            let resolution = PermissionResolution::by_server(decision, self.shared.clock.now());
            // Somebody may have answered in this very moment: then that counts.
            let standing = self
                .shared
                .store
                .resolve_permission(self.tenant, *id, &resolution, None)
                .await?;
            match standing {
                Some(permission) => all.push(self.answered(&permission)),
                // Its session was removed.
                None => self.pending.retain(|pending| pending.permission.id != *id),
            }
        }
        Ok(all)
    }

    fn told(&self, request: &str, permission: &Permission) -> Told {
        let Some(resolution) = &permission.resolution else {
            return Told::default();
        };
        let denied =
            |otherwise: &str| control::deny_tool(request, resolution.message.as_deref().unwrap_or(otherwise));
        let line = match resolution.decision {
            PermissionDecision::Allow => Some(allowed(request, permission, resolution)),
            PermissionDecision::Expired if self.shared.settings.questions.allow_on_timeout => {
                Some(allowed(request, permission, resolution))
            }
            PermissionDecision::Expired => Some(denied("Nobody answered in time whether this is allowed.")),
            PermissionDecision::Deny if resolution.by == "rule" => {
                Some(denied("A rule of this session does not allow this."))
            }
            PermissionDecision::Deny => Some(denied("The user does not allow this.")),
            // The CLI waits for no answer.
            PermissionDecision::Withdrawn => None,
        };
        Told {
            events: vec![resolved(permission, resolution)],
            line,
        }
    }
}

/// The event that tells how a question was answered.
pub(super) fn resolved(permission: &Permission, resolution: &PermissionResolution) -> EventBody {
    EventBody::PermissionResolved {
        permission_id: permission.id,
        tool_name: permission.tool_name.clone(),
        tool_use_id: permission.tool_use_id.clone(),
        decision: resolution.decision,
        by: resolution.by.clone(),
        message: resolution.message.clone(),
        remember: resolution.remember,
    }
}

fn allowed(request: &str, permission: &Permission, resolution: &PermissionResolution) -> Bytes {
    let mut input = resolution
        .updated_input
        .clone()
        .unwrap_or_else(|| permission.tool_input.clone());
    if let (Some(answers), Some(input)) = (&resolution.answers, input.as_object_mut()) {
        input.insert("answers".to_owned(), Value::Object(answers.clone()));
    }
    let remembered = permission.remembered_as.as_ref().filter(|_| resolution.remember);
    let updates: Vec<_> = remembered
        .map(|rule| control::allow_rule(rule))
        .into_iter()
        .collect();
    control::allow_tool(request, &input, &updates)
}
