//! Identifiers: UUIDs version 7, told apart by type here and by prefix on the wire (`ses_0199…`).

use std::fmt;
use std::str::FromStr;

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize, de};
use uuid::{NoContext, Timestamp, Uuid};

use super::Clock;

/// Text that is not an id of the wanted kind.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("not a {kind} id: expected `{prefix}` followed by 32 lower-case hexadecimal digits")]
pub struct InvalidId {
    kind: &'static str,
    prefix: &'static str,
}

macro_rules! prefixed_id {
    ($(#[$doc:meta])* $name:ident, $kind:literal, $prefix:literal) => {
        $(#[$doc])*
        #[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
        pub struct $name(Uuid);

        impl $name {
            /// What the wire form begins with.
            pub const PREFIX: &'static str = $prefix;

            /// A new id; ids made later sort after those made earlier, to the microsecond.
            #[must_use]
            pub fn generate(clock: &dyn Clock) -> Self {
                Self(uuid_v7_at(clock.now()))
            }

            /// The id as the store keeps it.
            #[must_use]
            pub const fn as_uuid(&self) -> Uuid {
                self.0
            }

            /// The id that the store kept as `uuid`.
            #[must_use]
            pub const fn from_uuid(uuid: Uuid) -> Self {
                Self(uuid)
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, "{}{}", Self::PREFIX, self.0.simple())
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                fmt::Display::fmt(self, f)
            }
        }

        impl FromStr for $name {
            type Err = InvalidId;

            fn from_str(text: &str) -> Result<Self, Self::Err> {
                text.strip_prefix(Self::PREFIX)
                    .filter(|digits| is_simple_uuid(digits))
                    .and_then(|digits| Uuid::try_parse(digits).ok())
                    .map(Self)
                    .ok_or(InvalidId { kind: $kind, prefix: $prefix })
            }
        }

        impl Serialize for $name {
            fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                serializer.collect_str(self)
            }
        }

        impl<'de> Deserialize<'de> for $name {
            fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                let text = std::borrow::Cow::<'de, str>::deserialize(deserializer)?;
                text.parse().map_err(de::Error::custom)
            }
        }
    };
}

prefixed_id!(
    /// Whom a key belongs to; the border of everything.
    TenantId, "tenant", "ten_"
);
prefixed_id!(
    /// One conversation in one workspace.
    SessionId, "session", "ses_"
);
prefixed_id!(
    /// One key of a tenant's.
    KeyId, "key", "key_"
);
prefixed_id!(
    /// One link by which a session is shown.
    ShareId, "share", "shr_"
);
prefixed_id!(
    /// One budget of a tenant's.
    BudgetId, "budget", "bdg_"
);
prefixed_id!(
    /// One webhook of a tenant's.
    WebhookId, "webhook", "whk_"
);
prefixed_id!(
    /// One entry of the ledger.
    EntryId, "ledger entry", "use_"
);
prefixed_id!(
    /// One question whether a tool may be used.
    PermissionId, "permission", "prm_"
);
prefixed_id!(
    /// One run of an instance of the server.
    InstanceId, "instance", "ins_"
);
prefixed_id!(
    /// One prompt and all that follows until its result.
    TurnId, "turn", "trn_"
);

/// The CLI's own id of a conversation: a bare UUID, chosen by us at first and followed whenever the CLI changes it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct ClaudeSessionId(Uuid);

impl ClaudeSessionId {
    /// A new id for a conversation that has not begun.
    #[must_use]
    pub fn generate(clock: &dyn Clock) -> Self {
        Self(uuid_v7_at(clock.now()))
    }

    /// The id as the store keeps it.
    #[must_use]
    pub const fn as_uuid(&self) -> Uuid {
        self.0
    }

    /// The id that the store kept, or the CLI told, as `uuid`.
    #[must_use]
    pub const fn from_uuid(uuid: Uuid) -> Self {
        Self(uuid)
    }
}

impl fmt::Display for ClaudeSessionId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.0.hyphenated())
    }
}

/// A random version 7 UUID that carries `now`, with the part of the millisecond in the bits that the standard leaves
/// for it (RFC 9562, section 6.2, method 3), so that ids sort by time down to a quarter of a microsecond.
fn uuid_v7_at(now: DateTime<Utc>) -> Uuid {
    const FRACTION_SHIFT: u32 = 64;
    const FRACTION_BITS: u32 = 12;
    let seconds = u64::try_from(now.timestamp()).unwrap_or(0);
    let nanoseconds = now.timestamp_subsec_nanos();
    let random = Uuid::new_v7(Timestamp::from_unix(NoContext, seconds, nanoseconds));
    let fraction = (u128::from(nanoseconds % 1_000_000) << FRACTION_BITS) / 1_000_000;
    let mask = ((1_u128 << FRACTION_BITS) - 1) << FRACTION_SHIFT;
    Uuid::from_u128((random.as_u128() & !mask) | (fraction << FRACTION_SHIFT))
}

/// Exactly one spelling per id, so that two spellings can never name one session.
fn is_simple_uuid(digits: &str) -> bool {
    digits.len() == 32
        && digits
            .bytes()
            .all(|b| b.is_ascii_digit() || (b'a'..=b'f').contains(&b))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::SystemClock;

    #[test]
    fn an_id_reads_back_from_its_wire_form() {
        let id = SessionId::generate(&SystemClock);
        assert_eq!(id.to_string().parse::<SessionId>(), Ok(id));
        assert!(id.to_string().starts_with("ses_"));
        let json = serde_json::to_string(&id).unwrap();
        assert_eq!(serde_json::from_str::<SessionId>(&json).unwrap(), id);
    }

    #[test]
    fn an_id_has_one_spelling_and_one_prefix() {
        let id = SessionId::generate(&SystemClock);
        let text = id.to_string();
        for wrong in [
            text.to_uppercase(),
            text.replace("ses_", "trn_"),
            text.replace("ses_", ""),
            format!("{text}\n"),
            format!("ses_{}", id.as_uuid().hyphenated()),
            "ses_".to_owned(),
            String::new(),
        ] {
            assert!(wrong.parse::<SessionId>().is_err(), "{wrong:?} was taken");
        }
    }

    #[test]
    fn later_ids_sort_after_earlier_ones() {
        let clock = crate::domain::ManualClock::at(SystemClock.now());
        let first = TurnId::generate(&clock);
        clock.advance(chrono::TimeDelta::microseconds(1));
        let second = TurnId::generate(&clock);
        assert!(first < second);
        assert!(first.to_string() < second.to_string());
        assert_eq!(second.as_uuid().get_version_num(), 7);
    }
}
