//! Pieces of messages, packed: those between two whole events make one row, under the id of the last.
//!
//! So a row is not written for each of them, they can be trimmed apart from whole messages, and a reader in the middle
//! of a row still gets exactly the pieces after its place.

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};

use super::{Result, StoreError};
use crate::domain::{Event, EventBody, EventId, TurnId};

/// The kind that such a row has.
pub(super) const KIND: &str = "deltas";

/// One piece.
#[derive(Debug, Serialize, Deserialize)]
struct Piece {
    /// Its id.
    #[serde(rename = "i")]
    id: EventId,
    /// When it was written, where that differs from the row's.
    #[serde(rename = "a", skip_serializing_if = "Option::is_none", default)]
    at: Option<DateTime<Utc>>,
    /// The text.
    #[serde(flatten)]
    text: PieceText,
}

#[derive(Debug, Serialize, Deserialize)]
enum PieceText {
    #[serde(rename = "t")]
    Text(String),
    #[serde(rename = "k")]
    Thinking(String),
}

impl PieceText {
    fn of(body: &EventBody) -> Option<Self> {
        match body {
            EventBody::TextDelta { text } => Some(Self::Text(text.clone())),
            EventBody::ThinkingDelta { text } => Some(Self::Thinking(text.clone())),
            _ => None,
        }
    }

    fn into_body(self) -> EventBody {
        match self {
            Self::Text(text) => EventBody::TextDelta { text },
            Self::Thinking(text) => EventBody::ThinkingDelta { text },
        }
    }
}

/// What is stored as one row.
#[derive(Debug, Clone, Copy)]
pub(super) enum Row<'a> {
    /// An event.
    Whole(&'a Event),
    /// Pieces of messages, all of one turn; never empty.
    Pieces(&'a [Event]),
}

/// The rows that these events make.
pub(super) fn rows(events: &[Event]) -> Vec<Row<'_>> {
    let packed = |event: &Event| event.body.kind().is_delta();
    events
        .chunk_by(|a, b| packed(a) && packed(b) && a.turn_id == b.turn_id)
        .flat_map(|chunk| match chunk {
            [event] if !packed(event) => vec![Row::Whole(event)],
            pieces => vec![Row::Pieces(pieces)],
        })
        .collect()
}

/// The body of a row of pieces that is written at `row_at`.
pub(super) fn pack(pieces: &[Event], row_at: DateTime<Utc>) -> Result<String> {
    let pieces: Vec<_> = pieces
        .iter()
        .filter_map(|event| {
            Some(Piece {
                id: event.id,
                at: (event.created_at != row_at).then_some(event.created_at),
                text: PieceText::of(&event.body)?,
            })
        })
        .collect();
    serde_json::to_string(&pieces).map_err(|error| StoreError::failed("write pieces of a message", error))
}

/// The pieces of a row.
pub(super) fn unpack(body: &str, turn_id: Option<TurnId>, row_at: DateTime<Utc>) -> Result<Vec<Event>> {
    let pieces: Vec<Piece> =
        serde_json::from_str(body).map_err(|error| StoreError::corrupt("pieces of a message", error))?;
    Ok(pieces
        .into_iter()
        .map(|piece| Event {
            id: piece.id,
            turn_id,
            created_at: piece.at.unwrap_or(row_at),
            body: piece.text.into_body(),
        })
        .collect())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::Epoch;

    fn event(sequence: u32, body: EventBody) -> Event {
        Event {
            id: EventId::new(Epoch::new(1).unwrap(), sequence),
            turn_id: None,
            created_at: DateTime::UNIX_EPOCH + chrono::TimeDelta::microseconds(i64::from(sequence)),
            body,
        }
    }

    #[test]
    fn pieces_between_whole_events_make_one_row_and_read_back_exactly() {
        let text = |sequence, text: &str| event(sequence, EventBody::TextDelta { text: text.into() });
        let thinking = |sequence, text: &str| event(sequence, EventBody::ThinkingDelta { text: text.into() });
        let events = [
            text(1, "a"),
            thinking(2, "b\u{0}"),
            event(3, EventBody::TurnStarted {}),
            event(4, EventBody::TurnStarted {}),
            text(5, "c"),
        ];
        let rows = rows(&events);
        assert_eq!(rows.len(), 4);
        let Row::Pieces(pieces) = &rows[0] else {
            panic!("{rows:?}")
        };
        let at = pieces[1].created_at;
        assert_eq!(unpack(&pack(pieces, at).unwrap(), None, at).unwrap(), events[..2]);
    }
}
