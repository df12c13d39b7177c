//! Webhooks: where a tenant has events sent, and what became of each.

use std::fmt;
use std::str::FromStr;

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};
use strum::{Display, EnumString};
use utoipa::ToSchema;

use super::{EventId, EventKind, SessionId, TenantId, WebhookId};

/// Where a tenant has events sent.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Webhook {
    /// Its id.
    pub id: WebhookId,
    /// Where to.
    pub url: String,
    /// What people call it.
    pub description: Option<String>,
    /// Which events.
    pub kinds: Vec<EventKind>,
    /// When it was made.
    pub created_at: DateTime<Utc>,
    /// Which of its secrets signs.
    pub secret_version: u32,
    /// When the secret before it was replaced.
    pub rotated_at: Option<DateTime<Utc>>,
    /// Since when nothing is sent, and why, if nothing is.
    pub disabled: Option<Disabled>,
    /// Since when every try failed, if the last one did.
    pub failing_since: Option<DateTime<Utc>>,
}

/// Why nothing is sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Disabled {
    /// Since when.
    pub at: DateTime<Utc>,
    /// Why.
    pub reason: DisabledReason,
}

/// Why nothing is sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum DisabledReason {
    /// Somebody wanted it so.
    Asked,
    /// Every try failed for too long.
    Failing,
    /// It answered that it is gone (410).
    Gone,
}

/// What is changed of a webhook. `None` leaves a field as it is.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct WebhookChange {
    /// Where to.
    pub url: Option<String>,
    /// What people call it; no name any more where that is `None`.
    pub description: Option<Option<String>>,
    /// Which events.
    pub kinds: Option<Vec<EventKind>>,
    /// Whether, and why, nothing is sent.
    pub disabled: Option<Option<Disabled>>,
    /// When its secret is replaced by the next.
    pub rotated_at: Option<DateTime<Utc>>,
    /// Since when every try failed.
    pub failing_since: Option<Option<DateTime<Utc>>>,
}

impl WebhookChange {
    /// Makes the change.
    pub fn apply(&self, webhook: &mut Webhook) {
        if let Some(url) = &self.url {
            webhook.url.clone_from(url);
        }
        if let Some(description) = &self.description {
            webhook.description.clone_from(description);
        }
        if let Some(kinds) = &self.kinds {
            webhook.kinds.clone_from(kinds);
        }
        if let Some(disabled) = self.disabled {
            webhook.disabled = disabled;
        }
        if let Some(at) = self.rotated_at {
            webhook.rotated_at = Some(at);
            webhook.secret_version += 1;
        }
        if let Some(since) = self.failing_since {
            webhook.failing_since = since;
        }
    }
}

/// Which event a delivery brings: the same over all tries, and for all webhooks that get it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct MessageId {
    /// The event's session.
    pub session: SessionId,
    /// The event.
    pub event: EventId,
}

/// Text that is not a message's id.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("not a message's id")]
pub struct InvalidMessageId;

impl fmt::Display for MessageId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "msg_{}_{}", self.session.as_uuid().simple(), self.event)
    }
}

impl FromStr for MessageId {
    type Err = InvalidMessageId;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let parts = text.strip_prefix("msg_").and_then(|rest| rest.split_once('_'));
        let (session, event) = parts.ok_or(InvalidMessageId)?;
        let session = format!("{}{session}", SessionId::PREFIX).parse();
        let event = event.parse().ok().and_then(EventId::from_number);
        match (session, event) {
            (Ok(session), Some(event)) => Ok(Self { session, event }),
            _ => Err(InvalidMessageId),
        }
    }
}

/// One event on its way to one webhook.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Delivery {
    /// Its number: later ones have higher ones.
    #[serde(skip)]
    pub number: u64,
    /// Whose.
    pub tenant: TenantId,
    /// Where to.
    pub webhook: WebhookId,
    /// The event's session.
    pub session: SessionId,
    /// The event.
    pub event: EventId,
    /// The event's type.
    pub kind: EventKind,
    /// Where it is.
    pub status: DeliveryStatus,
    /// How often it was tried.
    pub attempts: u32,
    /// When it is tried next; not any more when absent.
    pub due_at: Option<DateTime<Utc>>,
    /// When the event was written, or it was asked for again.
    pub created_at: DateTime<Utc>,
    /// What came of the last try.
    pub last: Option<DeliveryAttempt>,
}

impl Delivery {
    /// Which event it brings.
    #[must_use]
    pub const fn message(&self) -> MessageId {
        MessageId {
            session: self.session,
            event: self.event,
        }
    }
}

/// Where a delivery is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, Display, EnumString, ToSchema)]
#[serde(rename_all = "snake_case")]
#[strum(serialize_all = "snake_case")]
pub enum DeliveryStatus {
    /// It is yet to be delivered.
    Pending,
    /// It was.
    Delivered,
    /// It was tried as often as it is, and never was: a dead letter.
    Dead,
}

/// What came of a try.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct DeliveryAttempt {
    /// When it ended.
    pub at: DateTime<Utc>,
    /// What was answered, if anything was.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    #[schema(nullable = false, example = 503)]
    pub status: Option<u16>,
    /// What went wrong, if anything did.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    #[schema(nullable = false, example = "the receiver answered 503")]
    pub error: Option<String>,
}

/// Which deliveries of a webhook are made again.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Redelivery {
    /// This one, wherever it is.
    One(MessageId),
    /// All dead letters.
    Dead,
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::{Epoch, SystemClock};

    #[test]
    fn a_messages_id_reads_back() {
        let session = SessionId::generate(&SystemClock);
        let id = MessageId {
            session,
            event: EventId::new(Epoch::new(1).unwrap(), 7).of(session),
        };
        assert_eq!(id.to_string().parse::<MessageId>(), Ok(id));
        for wrong in [
            "",
            "msg_",
            "msg_1_2",
            "msg_x_1",
            &id.to_string().replace("msg", "msx"),
            &format!("{id}x"),
        ] {
            assert!(wrong.parse::<MessageId>().is_err(), "{wrong}");
        }
    }
}
