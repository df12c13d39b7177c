//! The last requests, to be looked at by tests.

use std::collections::VecDeque;
use std::sync::{Mutex, PoisonError};

use serde::Serialize;
use serde_json::Value;

/// A request for a message.
#[derive(Debug, Clone, Serialize)]
pub struct RecordedRequest {
    /// Its path, without the query.
    pub path: String,
    /// The headers that say who asks, by lower-case name.
    pub headers: Vec<(String, String)>,
    /// Its body.
    pub body: Value,
}

/// The last requests.
#[derive(Debug)]
pub(crate) struct Recording {
    most: usize,
    requests: Mutex<VecDeque<RecordedRequest>>,
}

impl Recording {
    pub(crate) fn of(most: usize) -> Self {
        Self {
            most,
            requests: Mutex::default(),
        }
    }

    pub(crate) fn add(&self, request: RecordedRequest) {
        let mut requests = self.requests.lock().unwrap_or_else(PoisonError::into_inner);
        requests.push_back(request);
        let excess = requests.len().saturating_sub(self.most);
        requests.drain(..excess);
    }

    pub(crate) fn all(&self) -> Vec<RecordedRequest> {
        self.requests
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .iter()
            .cloned()
            .collect()
    }

    pub(crate) fn clear(&self) {
        self.requests
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clear();
    }
}
