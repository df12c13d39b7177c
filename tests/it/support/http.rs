//! Reads requests as a receiver of them does, and no more of HTTP than tests need.

use tokio::io::AsyncReadExt as _;
use tokio::net::TcpStream;

/// The next request's head and body; `None` when the other side has gone.
pub(crate) async fn read_request(stream: &mut TcpStream) -> Option<(String, String)> {
    let mut read = Vec::new();
    loop {
        if stream.read_buf(&mut read).await.unwrap_or(0) == 0 {
            return None;
        }
        let text = String::from_utf8_lossy(&read);
        let Some((head, body)) = text.split_once("\r\n\r\n") else {
            continue;
        };
        let length = head
            .lines()
            .find_map(|line| line.to_lowercase().strip_prefix("content-length: ")?.parse().ok())
            .unwrap_or(0);
        if body.len() >= length {
            return Some((head.to_owned(), body.to_owned()));
        }
    }
}
