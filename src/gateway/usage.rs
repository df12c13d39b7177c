//! Reads what a response used off its bytes as they pass, streamed or whole.

use serde::Deserialize;
use serde_json::Value;

use crate::limits::prices::Used;

/// A line of a stream longer than this holds no figures; they come in short ones.
const LINE_MAX_BYTES: usize = 256 * 1024;

/// What was read so far of one response.
#[derive(Debug)]
pub(super) struct UsageReader {
    kind: Kind,
    used: Used,
}

#[derive(Debug)]
enum Kind {
    /// Server-sent events: the line that is not complete yet, and whether it is too long to be kept.
    Stream { line: Vec<u8>, skipping: bool },
    /// One JSON value, up to so many bytes.
    Whole { body: Vec<u8>, limit: usize },
    /// Neither: an error, say.
    Nothing,
}

#[derive(Deserialize)]
struct Figures {
    #[serde(default)]
    message: Option<Message>,
    #[serde(default)]
    usage: Option<Value>,
}

#[derive(Deserialize)]
struct Message {
    #[serde(default)]
    usage: Option<Value>,
}

impl UsageReader {
    /// For a stream of server-sent events.
    pub(super) fn of_stream() -> Self {
        Self::new(Kind::Stream {
            line: Vec::new(),
            skipping: false,
        })
    }

    /// For a JSON body of at most `limit` bytes.
    pub(super) fn of_whole(limit: usize) -> Self {
        Self::new(Kind::Whole {
            body: Vec::new(),
            limit,
        })
    }

    /// For what uses nothing.
    pub(super) fn of_nothing() -> Self {
        Self::new(Kind::Nothing)
    }

    fn new(kind: Kind) -> Self {
        Self {
            kind,
            used: Used::default(),
        }
    }

    /// Takes note of bytes that pass.
    pub(super) fn read(&mut self, bytes: &[u8]) {
        match &mut self.kind {
            Kind::Stream { line, skipping } => {
                let mut pieces = bytes.split(|byte| *byte == b'\n');
                // What comes before the first line's end belongs to the line before.
                if let Some(rest) = pieces.next() {
                    extend(line, skipping, rest);
                }
                for piece in pieces {
                    if !*skipping {
                        note_line(&mut self.used, line);
                    }
                    line.clear();
                    *skipping = false;
                    extend(line, skipping, piece);
                }
            }
            Kind::Whole { body, limit } => {
                if body.len().saturating_add(bytes.len()) <= *limit {
                    body.extend_from_slice(bytes);
                }
            }
            Kind::Nothing => {}
        }
    }

    /// What the response used, as far as it said so far.
    pub(super) fn used(&self) -> Used {
        self.used
    }

    /// What the response used, as far as it said.
    pub(super) fn finish(&mut self) -> Used {
        if let Kind::Whole { body, .. } = &self.kind
            && let Ok(figures) = serde_json::from_slice(body)
        {
            note(&mut self.used, figures);
        }
        self.used
    }
}

fn extend(line: &mut Vec<u8>, skipping: &mut bool, piece: &[u8]) {
    if line.len().saturating_add(piece.len()) > LINE_MAX_BYTES {
        *skipping = true;
        line.clear();
    } else if !*skipping {
        line.extend_from_slice(piece);
    }
}

fn note_line(used: &mut Used, line: &[u8]) {
    let Some(data) = line.strip_prefix(b"data:") else {
        return;
    };
    // Only the first and the last events of a message have figures; the others are not even looked into.
    let has_figures = data
        .windows(b"\"usage\"".len())
        .any(|window| window == b"\"usage\"");
    if has_figures && let Ok(figures) = serde_json::from_slice(data) {
        note(used, figures);
    }
}

/// Figures are of the whole message so far, so a later one stands for those before it.
fn note(used: &mut Used, figures: Figures) {
    let told = figures
        .message
        .and_then(|message| message.usage)
        .or(figures.usage);
    let Some(told) = told else { return };
    let figure = |name: &str, into: &mut u64| {
        if let Some(now) = told.get(name).and_then(Value::as_u64) {
            *into = now;
        }
    };
    if let Some(hour) = told
        .get("cache_creation")
        .and_then(|kinds| kinds.get("ephemeral_1h_input_tokens"))
        .and_then(Value::as_u64)
    {
        used.for_an_hour = hour;
    }
    let used = &mut used.usage;
    figure("input_tokens", &mut used.input_tokens);
    figure("output_tokens", &mut used.output_tokens);
    figure("cache_read_input_tokens", &mut used.cache_read_input_tokens);
    figure(
        "cache_creation_input_tokens",
        &mut used.cache_creation_input_tokens,
    );
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const STREAM: &str = "event: message_start\ndata: {\"type\":\"message_start\",\"message\":{\"model\":\"m\",\"usage\":{\"input_tokens\":7,\"cache_read_input_tokens\":3,\"output_tokens\":1}}}\n\n\
        event: content_block_delta\ndata: {\"type\":\"content_block_delta\",\"delta\":{\"text\":\"about \\\"usage\\\"\"}}\n\n\
        event: message_delta\r\ndata: {\"type\":\"message_delta\",\"usage\":{\"output_tokens\":42}}\r\n\r\n";

    fn used(reader: &mut UsageReader) -> (u64, u64, u64) {
        let used = reader.finish().usage;
        (
            used.input_tokens,
            used.cache_read_input_tokens,
            used.output_tokens,
        )
    }

    proptest! {
        #[test]
        fn the_figures_are_the_same_however_a_stream_is_cut(cuts in proptest::collection::vec(0..STREAM.len(), 0..8)) {
            let mut cuts = cuts;
            cuts.extend([0, STREAM.len()]);
            cuts.sort_unstable();
            let mut reader = UsageReader::of_stream();
            for pair in cuts.windows(2) {
                reader.read(&STREAM.as_bytes()[pair[0]..pair[1]]);
            }
            prop_assert_eq!(used(&mut reader), (7, 3, 42));
        }

        #[test]
        fn nothing_that_passes_breaks_it(bytes in proptest::collection::vec(any::<u8>(), 0..400)) {
            for mut reader in [UsageReader::of_stream(), UsageReader::of_whole(100), UsageReader::of_nothing()] {
                reader.read(&bytes);
                reader.finish();
            }
        }
    }

    #[test]
    fn a_stream_that_breaks_off_counts_as_far_as_it_came() {
        let mut reader = UsageReader::of_stream();
        reader.read(&STREAM.as_bytes()[..STREAM.len() / 2]);
        assert_eq!(used(&mut reader), (7, 3, 1));
    }

    #[test]
    fn a_whole_message_is_read_too() {
        let mut reader = UsageReader::of_whole(1000);
        reader.read(b"{\"type\":\"message\",\"usage\":");
        reader.read(b"{\"input_tokens\":5,\"output_tokens\":6}}");
        assert_eq!(used(&mut reader), (5, 0, 6));
    }

    #[test]
    fn a_line_without_end_is_not_kept() {
        let mut reader = UsageReader::of_stream();
        reader.read(b"data: ");
        for _ in 0..100 {
            reader.read(&vec![b'x'; 64 * 1024]);
        }
        let Kind::Stream { line, .. } = &reader.kind else {
            panic!("it is a stream")
        };
        assert!(line.len() <= LINE_MAX_BYTES);
        reader.read(b"\n");
        reader.read(STREAM.as_bytes());
        assert_eq!(used(&mut reader), (7, 3, 42));
    }
}
