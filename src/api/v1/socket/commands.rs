//! What clients send over a WebSocket, and what they are answered.

use actix_web::web;
use bytestring::ByteString;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use sha2::{Digest as _, Sha256};
use utoipa::ToSchema;

use super::super::chat::{MessageRequest, turn_of};
use super::super::permissions::{AnswerPermissionRequest, permission_id};
use super::super::sessions::UpdateSessionRequest;
use super::connection;
use super::line::json;
use crate::api::ApiLimits;
use crate::api::auth::{Authenticator, count_request, require};
use crate::api::input::{CheckRequest, read};
use crate::api::problem::{FieldError, Problem, ProblemCode};
use crate::domain::{Principal, Role, SessionId};
use crate::service::{Once, Services};

/// The longest `ref`, in bytes.
const REF_MAX_BYTES: usize = 255;

/// What a client sends: `type`, what the type asks for, and, if it wants, a `ref` of its own by which it is answered.
///
/// This is how the document shows it. What is sent is read type by type, so that all that is wrong with it is told at once.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(tag = "type", rename_all = "snake_case")]
pub enum SocketCommand {
    /// Take a turn, as `POST …/turns`; `idempotency_key` besides.
    Message(MessageRequest),
    /// Interrupt the turn that runs.
    Interrupt {},
    /// Answer a question of the agent, as `POST …/permissions/{permission_id}`.
    Permission(AnswerPermissionRequest),
    /// Set the model; null leaves it to the CLI.
    SetModel {
        /// The model.
        #[schema(example = "opus")]
        model: Option<String>,
    },
    /// Set what tools may do without asking.
    SetPermissionMode {
        /// The mode.
        #[schema(example = "plan")]
        permission_mode: String,
    },
    /// Be answered.
    Ping {},
}

/// What a client is answered.
#[derive(Debug, Serialize, ToSchema)]
#[serde(tag = "type", rename_all = "snake_case")]
pub enum SocketReply {
    /// It is done, or has begun.
    Ack {
        /// The command's `ref`.
        #[serde(rename = "ref", skip_serializing_if = "Option::is_none")]
        #[schema(example = "7")]
        reference: Option<String>,
        /// The command's type.
        #[schema(example = "message")]
        of: String,
        /// The turn that it began, or interrupted.
        #[serde(skip_serializing_if = "Option::is_none")]
        #[schema(example = "trn_0199e2c9b6c17d4e8f2a3b5c7d9e1f2a")]
        turn_id: Option<String>,
    },
    /// It was not done.
    Refused {
        /// The command's `ref`, if it could be read.
        #[serde(rename = "ref", skip_serializing_if = "Option::is_none")]
        #[schema(example = "7")]
        reference: Option<String>,
        /// The command's type, if it could be read.
        #[serde(skip_serializing_if = "Option::is_none")]
        #[schema(example = "message")]
        of: Option<String>,
        /// Why, as a problem of HTTP would say.
        #[schema(value_type = BTreeMap<String, Value>, example = json!({"type": "about:blank", "title": "Another turn of the session runs", "status": 409, "code": "session_busy"}))]
        problem: Value,
    },
    /// The answer to a `ping`.
    Pong {
        /// The command's `ref`.
        #[serde(rename = "ref", skip_serializing_if = "Option::is_none")]
        #[schema(example = "7")]
        reference: Option<String>,
    },
}

/// What commands are done with.
pub(super) struct Desk {
    pub(super) caller: Principal,
    pub(super) session: SessionId,
    pub(super) limits: web::Data<ApiLimits>,
    pub(super) services: web::Data<Services>,
    pub(super) authenticator: web::Data<Authenticator>,
}

impl connection::Desk for Desk {
    const TAKES_BYTES: bool = false;

    async fn answer(&self, text: &[u8]) -> Option<ByteString> {
        let (mut reference, mut of) = (None, None);
        let done = self.take(text, &mut reference, &mut of).await;
        let reply = match done {
            Ok(reply) => reply,
            Err(problem) => SocketReply::Refused {
                reference,
                of,
                problem: serde_json::to_value(problem.view("")).unwrap_or_default(),
            },
        };
        json(&reply)
    }
}

impl Desk {
    async fn take(
        &self,
        text: &[u8],
        reference: &mut Option<String>,
        of: &mut Option<String>,
    ) -> Result<SocketReply, Problem> {
        let mut fields: Map<String, Value> = serde_json::from_slice(text)
            .map_err(|error| Problem::new(ProblemCode::MalformedJson).with_detail(error.to_string()))?;
        *reference = take_text(&mut fields, "ref", REF_MAX_BYTES)?;
        let kind = take_text(&mut fields, "type", REF_MAX_BYTES)?
            .ok_or_else(|| wrong("type", "missing", "is missing"))?;
        *of = Some(kind.clone());
        let reference = reference.clone();
        count_request(&self.authenticator, &self.caller).await?;
        if kind == "ping" {
            only(&fields, None)?;
            return Ok(SocketReply::Pong { reference });
        }
        let turn_id = self.carry_out(&kind, fields).await?;
        Ok(SocketReply::Ack {
            reference,
            of: kind,
            turn_id,
        })
    }

    /// Carries a command out; the turn that it began or interrupted.
    async fn carry_out(&self, kind: &str, mut fields: Map<String, Value>) -> Result<Option<String>, Problem> {
        let (caller, services, session) = (&self.caller, &self.services, self.session);
        let known = [
            "message",
            "interrupt",
            "permission",
            "set_model",
            "set_permission_mode",
        ];
        if !known.contains(&kind) {
            let words = format!("is none of {}, ping", known.join(", "));
            return Err(wrong("type", "unknown_type", &words));
        }
        require(caller, Role::Member)?;
        match kind {
            "message" => {
                let key = take_text(&mut fields, "idempotency_key", REF_MAX_BYTES)?;
                let digest = Value::Object(fields.clone()).to_string();
                let asked = self.read::<MessageRequest>(fields)?;
                let once = key.map(|key| Once {
                    key,
                    fingerprint: Sha256::digest(format!("{session}{digest}")).into(),
                });
                let turn = services
                    .turns
                    .submit(caller, turn_of(session, asked, once))
                    .await?;
                Ok(Some(turn.turn.id.to_string()))
            }
            "interrupt" => {
                only(&fields, None)?;
                let turn = services.turns.interrupt(caller, session).await?;
                Ok(turn.map(|turn| turn.to_string()))
            }
            "permission" => {
                let id = take_text(&mut fields, "permission_id", REF_MAX_BYTES)?
                    .ok_or_else(|| wrong("permission_id", "missing", "is missing"))?;
                let answer = self.read::<AnswerPermissionRequest>(fields)?;
                services
                    .permissions
                    .answer(caller, session, permission_id(&id)?, answer.into())
                    .await?;
                Ok(None)
            }
            _ => {
                let field = kind.trim_start_matches("set_");
                only(&fields, Some(field))?;
                if !fields.contains_key(field) {
                    return Err(wrong(field, "missing", "is missing"));
                }
                let change = self.read::<UpdateSessionRequest>(fields)?.change()?;
                services.sessions.update(caller, session, change).await?;
                Ok(None)
            }
        }
    }

    fn read<T: CheckRequest>(&self, fields: Map<String, Value>) -> Result<T, Problem> {
        read(Value::Object(fields), &self.limits, ProblemCode::ValidationFailed)
    }
}

/// Refuses fields other than this one.
fn only(fields: &Map<String, Value>, known: Option<&str>) -> Result<(), Problem> {
    match fields.keys().find(|name| Some(name.as_str()) != known) {
        Some(other) => Err(wrong(other, "unknown", "is not a field of this command")),
        None => Ok(()),
    }
}

fn wrong(field: &str, code: &str, words: &str) -> Problem {
    Problem::fields(
        ProblemCode::ValidationFailed,
        vec![FieldError::new(field, code, words)],
    )
}

/// Takes a text out of a command.
fn take_text(fields: &mut Map<String, Value>, name: &str, most: usize) -> Result<Option<String>, Problem> {
    match fields.remove(name) {
        None => Ok(None),
        Some(Value::String(text)) if (1..=most).contains(&text.len()) => Ok(Some(text)),
        Some(_) => Err(wrong(
            name,
            "wrong_type",
            &format!("must be a text of 1 to {most} bytes"),
        )),
    }
}
