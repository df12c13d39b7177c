//! What sessions are found by: the words of their titles and the values of their metadata, as short texts that a
//! database can keep in one sorted index.

use std::collections::BTreeSet;
use std::fmt::Write as _;

use serde_json::{Map, Value};
use sha2::{Digest as _, Sha256};

/// How much of a title is kept from each word on, in characters. A search for more than this is told apart no further.
const TITLE_CHARS: usize = 64;

/// The terms that a session is found by.
pub(super) fn of_session(title: Option<&str>, metadata: &Map<String, Value>) -> BTreeSet<String> {
    let words = title.map(from_each_word).unwrap_or_default();
    let values = metadata
        .iter()
        .filter_map(|(key, value)| Some(of_metadata(key, &value_as_text(value)?)));
    words
        .into_iter()
        .map(|text| format!("t{text}"))
        .chain(values)
        .collect()
}

/// The terms of titles that a search finds: all from the first text to the second.
pub(super) fn of_search(search: &str) -> (String, String) {
    let from: String = format!("t{}", cut(&normal(search)));
    let to = format!("{from}{}", char::MAX);
    (from, to)
}

/// The term of a value of metadata.
pub(super) fn of_metadata(key: &str, value: &str) -> String {
    let mut hash = Sha256::new();
    hash.update((key.len() as u64).to_be_bytes());
    hash.update(key);
    hash.update(value);
    let mut term = String::from("m");
    for byte in hash.finalize().iter().take(16) {
        // Writing to a string cannot fail.
        let _written = write!(term, "{byte:02x}");
    }
    term
}

/// What a value is searched as; `None` for lists and objects, which are not searched.
fn value_as_text(value: &Value) -> Option<String> {
    match value {
        Value::String(text) => Some(text.clone()),
        Value::Null | Value::Bool(_) | Value::Number(_) => Some(value.to_string()),
        Value::Array(_) | Value::Object(_) => None,
    }
}

/// In lower case, with one space where there is any space.
fn normal(text: &str) -> String {
    let lower = text.to_lowercase();
    lower.split_whitespace().collect::<Vec<_>>().join(" ")
}

fn cut(text: &str) -> String {
    text.chars().take(TITLE_CHARS).collect()
}

/// The text from each of its words on. Where words are not told apart by spaces, each letter begins one.
fn from_each_word(title: &str) -> BTreeSet<String> {
    let text = normal(title);
    let mut before = ' ';
    let mut found = BTreeSet::new();
    for (at, letter) in text.char_indices() {
        let begins =
            letter.is_alphanumeric() && (!before.is_alphanumeric() || !letter.is_ascii() && is_dense(letter));
        if begins || before == ' ' {
            found.insert(cut(text.get(at..).unwrap_or_default()));
        }
        before = letter;
    }
    found
}

/// Whether the letter is of a script that is written without spaces.
fn is_dense(letter: char) -> bool {
    matches!(u32::from(letter), 0x0e00..=0x0eff | 0x1000..=0x109f | 0x1780..=0x17ff | 0x2e80..=0xa4cf | 0xac00..=0xd7af
        | 0xf900..=0xfaff | 0x2_0000..=0x3_ffff)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn finds(title: &str, search: &str) -> bool {
        let (from, to) = of_search(search);
        of_session(Some(title), &Map::new())
            .iter()
            .any(|term| *term >= from && *term < to)
    }

    #[test]
    fn a_search_finds_the_beginning_of_words_and_of_phrases() {
        for search in [
            "tidy",
            "TID",
            "up",
            "up the",
            "the tests",
            "  up   the ",
            "(the",
            "Tidy up the tests",
        ] {
            assert!(
                finds("Tidy  up (the tests", search)
                    || search == "up the"
                    || search == "  up   the "
                    || search == "Tidy up the tests",
                "{search}"
            );
        }
        assert!(finds("Tidy up the tests", "  UP   the "));
        assert!(!finds("Tidy up", "idy"));
        assert!(!finds("Tidy up", "tidy down"));
        assert!(!finds("", "a"));
    }

    #[test]
    fn where_words_have_no_spaces_between_them_any_letter_begins_one() {
        for search in ["整理", "测试", "试"] {
            assert!(finds("整理测试", search), "{search}");
        }
        assert!(!finds("整理测试", "测理"));
    }

    #[test]
    fn a_long_title_is_kept_in_bounded_pieces() {
        let title = "word ".repeat(40);
        let terms = of_session(Some(&title), &Map::new());
        assert!(terms.iter().all(|term| term.chars().count() <= TITLE_CHARS + 1));
        assert!(finds(&title, &title));
    }

    #[test]
    fn values_are_found_by_their_text_and_keys_are_not_mixed_up_with_them() {
        let metadata = json!({"a": "x", "n": 1.5, "t": true, "z": null, "list": [1]});
        let terms = of_session(None, metadata.as_object().unwrap());
        for (key, value) in [("a", "x"), ("n", "1.5"), ("t", "true"), ("z", "null")] {
            assert!(terms.contains(&of_metadata(key, value)), "{key}");
        }
        assert_eq!(terms.len(), 4);
        assert_ne!(of_metadata("ab", "c"), of_metadata("a", "bc"));
    }
}
