//! Where an event is in its session's log: ids that rise, never mean two things, and tell whose log they are of.
//!
//! An id is a whole number of 53 bits, which JavaScript holds exactly: the epoch in the upper 16, then the event's number in
//! the epoch in 24, then 13 bits that all ids of a session share, and another session's most likely do not.

use std::fmt;

use serde::{Deserialize, Serialize};

use super::SessionId;

/// How many bits tell the session.
const TAG_BITS: u32 = 13;
/// How many bits number the events of an epoch.
const SEQUENCE_BITS: u32 = 24;
/// How far the ids of two events in a row are apart.
const STEP: u64 = 1 << TAG_BITS;
/// The highest number of an event in its epoch.
const SEQUENCE_MAX: u64 = (1 << SEQUENCE_BITS) - 1;
/// How many numbers of an epoch are left when the next one is to be begun: more than one write has events.
const RESERVE: u64 = 1 << 16;

/// Whose turn it is to write a session's log. Rises by one each time the session's ownership is taken, so that
/// whoever held it before can neither write nor give an id a second meaning.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Epoch(u32);

impl Epoch {
    /// The highest epoch: with it, an [`EventId`] still is an integer that JavaScript holds exactly.
    pub const MAX: u32 = (1 << 16) - 1;

    /// The epoch of a session that nobody has owned yet.
    pub const ZERO: Self = Self(0);

    /// The epoch numbered `number`; `None` past [`Epoch::MAX`].
    #[must_use]
    pub const fn new(number: u32) -> Option<Self> {
        if number <= Self::MAX {
            Some(Self(number))
        } else {
            None
        }
    }

    /// Its number.
    #[must_use]
    pub const fn get(self) -> u32 {
        self.0
    }
}

/// The place of an event in its session's log: strictly increasing, with gaps.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct EventId(u64);

impl EventId {
    /// Before every event of every session.
    pub const START: Self = Self(0);
    /// The highest id there can be: 2^53 - 1.
    pub const MAX: u64 = (1 << 53) - 1;

    /// The event numbered `sequence` of `epoch`, of no session in particular; numbers past the last are the last.
    #[must_use]
    pub const fn new(epoch: Epoch, sequence: u32) -> Self {
        let sequence = sequence as u64;
        let sequence = if sequence > SEQUENCE_MAX {
            SEQUENCE_MAX
        } else {
            sequence
        };
        Self(((epoch.0 as u64) << (SEQUENCE_BITS + TAG_BITS)) | (sequence << TAG_BITS))
    }

    /// The same place in this session's log.
    #[must_use]
    pub const fn of(self, session: SessionId) -> Self {
        Self((self.0 & !(STEP - 1)) | tag(session))
    }

    /// Whether it can be an id of this session's log. Of another session's ids, one in 8192 can be too.
    #[must_use]
    pub fn is_of(self, session: SessionId) -> bool {
        self == Self::START || self.0 & (STEP - 1) == tag(session)
    }

    /// The id that was written as `number`; `None` when no id is.
    #[must_use]
    pub const fn from_number(number: u64) -> Option<Self> {
        if number <= Self::MAX {
            Some(Self(number))
        } else {
            None
        }
    }

    /// The id as a number.
    #[must_use]
    pub const fn get(self) -> u64 {
        self.0
    }

    /// Its number in its epoch.
    #[must_use]
    pub const fn sequence(self) -> u64 {
        (self.0 >> TAG_BITS) & SEQUENCE_MAX
    }

    /// The id after this one in the same epoch; `None` when the epoch is used up.
    #[must_use]
    pub const fn next(self) -> Option<Self> {
        if self.sequence() == SEQUENCE_MAX {
            None
        } else {
            Some(Self(self.0 + STEP))
        }
    }

    /// The id before this one, whether or not an event has it; the start where there is none.
    #[must_use]
    pub const fn previous(self) -> Self {
        Self(self.0.saturating_sub(STEP))
    }

    /// Whether the epoch's ids are so few by now that the next epoch is to be begun.
    #[must_use]
    pub const fn is_near_the_end(self) -> bool {
        SEQUENCE_MAX - self.sequence() < RESERVE
    }
}

/// What all ids of a session share. Ids of sessions are random in their lower half.
const fn tag(session: SessionId) -> u64 {
    let (_, random) = session.as_uuid().as_u64_pair();
    random & (STEP - 1)
}

impl fmt::Display for EventId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(&self.0, f)
    }
}

impl Serialize for EventId {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_u64(self.0)
    }
}

impl<'de> Deserialize<'de> for EventId {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let number = u64::deserialize(deserializer)?;
        Self::from_number(number).ok_or_else(|| serde::de::Error::custom("not an event id"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::SystemClock;

    #[test]
    fn ids_of_a_later_epoch_sort_after_all_of_an_earlier_one() {
        let session = SessionId::generate(&SystemClock);
        let early = EventId::new(Epoch::new(1).unwrap(), u32::MAX).of(session);
        let late = EventId::new(Epoch::new(2).unwrap(), 0);
        assert!(early < late);
        assert_eq!(early.next(), None, "an epoch never runs over into the next");
        assert!(early.is_near_the_end() && !late.is_near_the_end());
    }

    #[test]
    fn the_highest_id_is_an_exact_javascript_integer() {
        let highest = EventId::new(Epoch::new(Epoch::MAX).unwrap(), u32::MAX);
        assert!(highest.get() <= EventId::MAX);
        assert_eq!(highest.get() | (STEP - 1), EventId::MAX);
        assert_eq!(Epoch::new(Epoch::MAX + 1), None);
    }

    #[test]
    fn ids_tell_whose_log_they_are_of() {
        let sessions: Vec<_> = (0..2000).map(|_| SessionId::generate(&SystemClock)).collect();
        let epoch = Epoch::new(3).unwrap();
        let mut mistaken = 0;
        for session in &sessions {
            let id = EventId::new(epoch, 5).of(*session);
            assert!(
                id.is_of(*session) && id.next().unwrap().is_of(*session) && id.previous().is_of(*session)
            );
            assert_eq!((id.next().unwrap().previous(), id.sequence()), (id, 5));
            mistaken += sessions
                .iter()
                .filter(|other| *other != session && id.is_of(**other))
                .count();
        }
        // One in 8192 of four million pairs.
        assert!((200..1000).contains(&mistaken), "{mistaken}");
        assert!(EventId::START.is_of(sessions[0]));
    }
}
