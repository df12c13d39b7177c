//! An archive on its way out, piece by piece.

use std::io::{self, Write};
use std::time::Duration;

use bytes::Bytes;
use tokio::sync::mpsc;

/// How long a piece is, in bytes, at most.
const PIECE_BYTES: usize = 64 * 1024;

/// Hands what is written to the reader of a channel, and waits for it as long as it may take.
pub(super) struct Pieces {
    reader: mpsc::Sender<io::Result<Bytes>>,
    piece: Vec<u8>,
    patience: Duration,
    runtime: tokio::runtime::Handle,
}

impl Pieces {
    pub(super) fn new(reader: mpsc::Sender<io::Result<Bytes>>, patience: Duration) -> Self {
        Self {
            reader,
            piece: Vec::with_capacity(PIECE_BYTES),
            patience,
            runtime: tokio::runtime::Handle::current(),
        }
    }

    fn hand_over(&mut self) -> io::Result<()> {
        if self.piece.is_empty() {
            return Ok(());
        }
        let piece = std::mem::replace(&mut self.piece, Vec::with_capacity(PIECE_BYTES));
        let handed = self.reader.send(Ok(piece.into()));
        match self.runtime.block_on(tokio::time::timeout(self.patience, handed)) {
            Ok(Ok(())) => Ok(()),
            Ok(Err(_gone)) => Err(io::ErrorKind::BrokenPipe.into()),
            Err(_late) => Err(io::Error::new(
                io::ErrorKind::TimedOut,
                "the archive was left unread (files.archive_patience)",
            )),
        }
    }
}

impl Write for Pieces {
    fn write(&mut self, data: &[u8]) -> io::Result<usize> {
        self.piece.extend_from_slice(data);
        if self.piece.len() >= PIECE_BYTES {
            self.hand_over()?;
        }
        Ok(data.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        self.hand_over()
    }
}

impl Drop for Pieces {
    fn drop(&mut self) {
        // What is left goes out also where nobody flushes; one who has gone misses nothing.
        let _handed = self.hand_over();
    }
}
