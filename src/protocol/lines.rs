//! Splits a process's output into lines, in bounded memory.

use std::io;

use bytes::{Buf as _, BytesMut};
use tokio_util::codec::Decoder;

/// One line of output.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Line {
    /// A line of text, without its end.
    Text(String),
    /// A line over the limit. What it held is gone; the lines after it are not.
    TooLong {
        /// How long it was, without its end.
        bytes: u64,
    },
    /// A line that is no text.
    NotUtf8,
}

/// Decodes lines of at most a given length. Empty lines are skipped, `\r\n` ends a line as `\n` does, and a last line
/// without an end counts. Never holds more than the limit and one read.
#[derive(Debug)]
pub struct LineDecoder {
    limit_bytes: usize,
    /// How far the buffer has been searched for an end.
    searched: usize,
    /// The bytes thrown away so far of a line over the limit.
    discarded: Option<u64>,
}

impl LineDecoder {
    /// A decoder of lines of at most `limit_bytes`.
    #[must_use]
    pub const fn new(limit_bytes: usize) -> Self {
        Self {
            limit_bytes,
            searched: 0,
            discarded: None,
        }
    }

    /// The line that `bytes` are; `None` for an empty one.
    fn line(&mut self, bytes: &[u8]) -> Option<Line> {
        let bytes = bytes.strip_suffix(b"\r").unwrap_or(bytes);
        if let Some(discarded) = self.discarded.take() {
            return Some(Line::TooLong {
                bytes: discarded + bytes.len() as u64,
            });
        }
        if bytes.is_empty() {
            return None;
        }
        if bytes.len() > self.limit_bytes {
            return Some(Line::TooLong {
                bytes: bytes.len() as u64,
            });
        }
        Some(std::str::from_utf8(bytes).map_or(Line::NotUtf8, |text| Line::Text(text.to_owned())))
    }
}

impl Decoder for LineDecoder {
    type Item = Line;
    type Error = io::Error;

    fn decode(&mut self, buffer: &mut BytesMut) -> Result<Option<Line>, io::Error> {
        loop {
            let unsearched = buffer.get(self.searched..).unwrap_or_default();
            if let Some(offset) = unsearched.iter().position(|byte| *byte == b'\n') {
                let bytes = buffer.split_to(self.searched + offset);
                buffer.advance(1);
                self.searched = 0;
                if let Some(line) = self.line(&bytes) {
                    return Ok(Some(line));
                }
                continue;
            }
            self.searched = buffer.len();
            if self.discarded.is_some() || buffer.len() > self.limit_bytes {
                *self.discarded.get_or_insert(0) += buffer.len() as u64;
                buffer.clear();
                self.searched = 0;
            }
            return Ok(None);
        }
    }

    fn decode_eof(&mut self, buffer: &mut BytesMut) -> Result<Option<Line>, io::Error> {
        if let Some(line) = self.decode(buffer)? {
            return Ok(Some(line));
        }
        let rest = buffer.split();
        self.searched = 0;
        if rest.is_empty() && self.discarded.is_none() {
            return Ok(None);
        }
        Ok(self.line(&rest))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn decode(limit: usize, chunks: &[&[u8]]) -> (Vec<Line>, usize) {
        let mut decoder = LineDecoder::new(limit);
        let mut buffer = BytesMut::new();
        let mut lines = Vec::new();
        let mut most = 0;
        for chunk in chunks {
            buffer.extend_from_slice(chunk);
            most = most.max(buffer.len());
            while let Some(line) = decoder.decode(&mut buffer).unwrap() {
                lines.push(line);
            }
        }
        while let Some(line) = decoder.decode_eof(&mut buffer).unwrap() {
            lines.push(line);
        }
        (lines, most)
    }

    fn text(text: &str) -> Line {
        Line::Text(text.to_owned())
    }

    #[test]
    fn lines_end_with_either_end_and_empty_ones_are_skipped() {
        let (lines, _) = decode(10, &[b"a\n\r\n\nb\r\nc"]);
        assert_eq!(lines, [text("a"), text("b"), text("c")]);
    }

    #[test]
    fn a_line_over_the_limit_is_counted_once_and_the_next_is_read() {
        let long = [b'x'; 1000];
        let chunks: Vec<&[u8]> = std::iter::repeat_n(&long[..], 100)
            .chain([&b"\nok\n"[..]])
            .collect();
        let (lines, most) = decode(1500, &chunks);
        assert_eq!(lines, [Line::TooLong { bytes: 100_000 }, text("ok")]);
        assert!(most <= 2_500, "held {most} bytes");
    }

    #[test]
    fn a_line_just_at_the_limit_is_taken_and_one_byte_more_is_not() {
        assert_eq!(decode(3, &[b"abc\n"]).0, [text("abc")]);
        assert_eq!(decode(3, &[b"abcd\n"]).0, [Line::TooLong { bytes: 4 }]);
        assert_eq!(decode(3, &[b"abcd"]).0, [Line::TooLong { bytes: 4 }]);
    }

    #[test]
    fn what_is_not_text_is_told_and_skipped() {
        assert_eq!(decode(10, &[b"\xff\xfe\nok\n"]).0, [Line::NotUtf8, text("ok")]);
    }

    proptest! {
        #[test]
        fn no_line_is_lost_or_moved_however_the_output_is_cut(
            lines in proptest::collection::vec("[a-z]{1,12}", 0..20),
            cuts in proptest::collection::vec(1_usize..7, 1..80),
        ) {
            let bytes = lines.iter().flat_map(|line| format!("{line}\n").into_bytes()).collect::<Vec<_>>();
            let mut rest = &bytes[..];
            let mut chunks = Vec::new();
            for cut in cuts.iter().cycle() {
                if rest.is_empty() { break; }
                let (chunk, after) = rest.split_at((*cut).min(rest.len()));
                chunks.push(chunk);
                rest = after;
            }
            let expected: Vec<Line> = lines.iter().map(|line| {
                if line.len() > 8 { Line::TooLong { bytes: line.len() as u64 } } else { text(line) }
            }).collect();
            prop_assert_eq!(decode(8, &chunks).0, expected);
        }
    }
}
