//! Statements as values: text that is written in this program, and values that are bound to it.

use std::borrow::Cow;
use std::panic::Location;

use chrono::{DateTime, Utc};
use uuid::Uuid;

/// A statement. Its text is made of literals of this program only; what comes from outside is bound.
#[derive(Debug, Clone)]
pub struct Statement {
    text: Cow<'static, str>,
    values: Vec<Value>,
    written_at: &'static Location<'static>,
}

/// A value that is bound to a statement. Each kind may be null.
#[derive(Debug, Clone)]
pub enum Value {
    /// A truth value.
    Bool(Option<bool>),
    /// A number.
    Integer(Option<i64>),
    /// A text.
    Text(Option<String>),
    /// An id.
    Uuid(Option<Uuid>),
    /// A time.
    Time(Option<DateTime<Utc>>),
    /// Bytes.
    Bytes(Option<Vec<u8>>),
}

/// The statement of this text, which numbers its values as `$1`, `$2`, …
#[track_caller]
pub(super) fn sql(text: &'static str) -> Statement {
    Statement {
        text: Cow::Borrowed(text),
        values: Vec::new(),
        written_at: Location::caller(),
    }
}

/// The statement that reads these columns; what follows numbers its values as [`sql`] does. Columns are named and never
/// `*`: a newer server may add some while this one runs.
#[track_caller]
pub(super) fn select(columns: &'static str, from: &'static str) -> Statement {
    sql("SELECT ").push(columns).push(from)
}

impl Statement {
    /// Binds the next value of a text that numbers its values itself.
    #[must_use]
    pub(super) fn bind(mut self, value: impl Into<Value>) -> Self {
        self.values.push(value.into());
        self
    }

    /// Adds text.
    #[must_use]
    pub(super) fn push(mut self, text: &'static str) -> Self {
        self.text.to_mut().push_str(text);
        self
    }

    /// Adds text and, after it, a value.
    #[must_use]
    pub(super) fn push_bind(mut self, text: &'static str, value: impl Into<Value>) -> Self {
        self.values.push(value.into());
        let text_so_far = self.text.to_mut();
        text_so_far.push_str(text);
        text_so_far.push('$');
        text_so_far.push_str(&self.values.len().to_string());
        self
    }

    /// Adds `(a, b, …)` of these values.
    #[must_use]
    pub(super) fn push_row(mut self, row: impl IntoIterator<Item = Value>) -> Self {
        let mut before = "(";
        for value in row {
            self = self.push_bind(before, value);
            before = ", ";
        }
        self.push(")")
    }

    /// Adds `(a, b, …), (c, d, …), …` of these rows.
    #[must_use]
    pub(super) fn push_rows(mut self, rows: impl IntoIterator<Item = Vec<Value>>) -> Self {
        let mut first = true;
        for row in rows {
            if !first {
                self = self.push(", ");
            }
            first = false;
            self = self.push_row(row);
        }
        self
    }

    /// Its text and its values.
    pub(in crate::store) fn into_parts(self) -> (String, Vec<Value>) {
        (self.text.into_owned(), self.values)
    }

    /// Whether a text that is bound to it holds NUL, which PostgreSQL does not keep.
    pub(super) fn holds_nul(&self) -> bool {
        self.values
            .iter()
            .any(|value| matches!(value, Value::Text(Some(text)) if text.contains('\0')))
    }

    /// Where in this program it is written.
    #[must_use]
    pub fn written_at(&self) -> &'static Location<'static> {
        self.written_at
    }

    /// Its text.
    #[must_use]
    pub fn text(&self) -> &str {
        &self.text
    }

    /// The same, as a question to the engine how it would do it.
    #[cfg(test)]
    pub(in crate::store) fn explained(&self, question: &str) -> Self {
        Self {
            text: Cow::Owned(format!("{question} {}", self.text)),
            ..self.clone()
        }
    }
}

macro_rules! value_of {
    ($($type:ty => $kind:ident ($value:ident => $converted:expr);)*) => {
        $(
            impl From<$type> for Value {
                fn from($value: $type) -> Self {
                    Self::$kind(Some($converted))
                }
            }

            impl From<Option<$type>> for Value {
                fn from(value: Option<$type>) -> Self {
                    Self::$kind(value.map(|$value| $converted))
                }
            }
        )*
    };
}

value_of! {
    bool => Bool(value => value);
    i64 => Integer(value => value);
    u32 => Integer(value => i64::from(value));
    String => Text(value => value);
    &str => Text(value => value.to_owned());
    Uuid => Uuid(value => value);
    DateTime<Utc> => Time(value => value);
    Vec<u8> => Bytes(value => value);
    &[u8] => Bytes(value => value.to_vec());
}

/// Rows go into statements of these sizes, as far as the engine takes them, so that there are few texts and each is prepared once a connection.
const ROWS_A_STATEMENT: [usize; 9] = [256, 128, 64, 32, 16, 8, 4, 2, 1];

/// Cuts rows into pieces of a few fixed sizes, of at most `most` rows.
pub(super) fn chunks<T>(mut rows: &[T], most: usize) -> impl Iterator<Item = &[T]> {
    std::iter::from_fn(move || {
        let most = most.min(rows.len());
        let size = ROWS_A_STATEMENT.into_iter().find(|size| *size <= most)?;
        let (chunk, rest) = rows.split_at_checked(size)?;
        rows = rest;
        Some(chunk)
    })
}

/// Repeats the last of `items` until they are of one of a few fixed sizes; in a list to be searched it does no harm.
pub(super) fn padded<T: Clone>(mut items: Vec<T>) -> Vec<T> {
    let size = items.len().next_power_of_two();
    if let Some(last) = items.last().cloned() {
        items.resize(size, last);
    }
    items
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_are_numbered_as_they_are_bound() {
        let statement = sql("INSERT INTO t VALUES ")
            .push_rows([vec![1_i64.into(), "a".into()], vec![2_i64.into(), "b".into()]])
            .push_bind(" RETURNING ", true);
        assert_eq!(
            statement.text(),
            "INSERT INTO t VALUES ($1, $2), ($3, $4) RETURNING $5"
        );
        assert_eq!(statement.into_parts().1.len(), 5);
    }

    #[test]
    fn rows_are_cut_into_few_sizes_and_none_is_lost() {
        let rows: Vec<_> = (0..1000).collect();
        let cut: Vec<_> = chunks(&rows, 256).collect();
        assert_eq!(cut.concat(), rows);
        assert!(cut.iter().all(|chunk| ROWS_A_STATEMENT.contains(&chunk.len())));
        assert!(chunks(&rows, 40).all(|chunk| chunk.len() <= 32));
        assert_eq!(chunks(&[] as &[u8], 256).count(), 0);
    }

    #[test]
    fn a_list_is_padded_with_its_last() {
        assert_eq!(padded(vec![1, 2, 3]), [1, 2, 3, 3]);
        assert_eq!(padded(Vec::<u8>::new()), [] as [u8; 0]);
    }
}
