//! Keys for the model's API that clients brought for one session: sealed, in memory, and gone with the server.

use std::collections::{HashMap, VecDeque};
use std::sync::{Mutex, MutexGuard, PoisonError};

use secrecy::SecretString;

use super::credential::Credential;
use crate::domain::{CredentialKind, SessionId};
use crate::security::sealing::{SealError, SealingKeys};

/// The most keys that are kept; the oldest is forgotten for one more.
const KEPT: usize = 10_000;

/// Keys by session.
#[derive(Debug)]
pub(super) struct SessionKeys {
    keys: SealingKeys,
    sealed: Mutex<Sealed>,
}

#[derive(Debug, Default)]
struct Sealed {
    texts: HashMap<SessionId, String>,
    /// The oldest first.
    order: VecDeque<SessionId>,
}

impl SessionKeys {
    /// None yet; they will be sealed with a key that only this process has.
    pub(super) fn new() -> Result<Self, getrandom::Error> {
        Ok(Self {
            keys: SealingKeys::random()?,
            sealed: Mutex::default(),
        })
    }

    pub(super) fn set(&self, session: SessionId, secret: &SecretString) -> Result<(), SealError> {
        let text = self.keys.seal(&purpose(session), secret)?;
        let mut sealed = self.lock();
        if sealed.texts.insert(session, text).is_none() {
            sealed.order.push_back(session);
        }
        if sealed.texts.len() > KEPT
            && let Some(oldest) = sealed.order.pop_front()
        {
            sealed.texts.remove(&oldest);
        }
        Ok(())
    }

    pub(super) fn has(&self, session: SessionId) -> bool {
        self.lock().texts.contains_key(&session)
    }

    pub(super) fn forget(&self, session: SessionId) {
        let mut sealed = self.lock();
        if sealed.texts.remove(&session).is_some() {
            sealed.order.retain(|other| *other != session);
        }
    }

    /// The credential of a session, if its client brought one.
    pub(super) fn of(&self, session: SessionId) -> Result<Option<Credential>, SealError> {
        let text = self.lock().texts.get(&session).cloned();
        let opened = text.map(|text| self.keys.open(&purpose(session), &text));
        let secret = opened.transpose()?;
        Ok(secret.map(|secret| Credential {
            kind: CredentialKind::ApiKey,
            secret,
        }))
    }

    fn lock(&self) -> MutexGuard<'_, Sealed> {
        self.sealed.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn purpose(session: SessionId) -> String {
    format!("session-key/{session}")
}

#[cfg(test)]
mod tests {
    use secrecy::ExposeSecret as _;

    use super::*;
    use crate::domain::SystemClock;

    #[test]
    fn a_key_is_its_sessions_alone_and_is_nowhere_to_be_read() {
        let keys = SessionKeys::new().unwrap();
        let [one, other] = [(); 2].map(|()| SessionId::generate(&SystemClock));
        keys.set(one, &"sk-ant-secret".to_owned().into()).unwrap();
        assert!(keys.has(one) && !keys.has(other));
        let found = keys.of(one).unwrap().unwrap();
        assert_eq!(found.secret.expose_secret(), "sk-ant-secret");
        assert!(keys.of(other).unwrap().is_none());
        assert!(!format!("{keys:?}").contains("sk-ant-secret"));
        keys.forget(one);
        assert!(!keys.has(one) && keys.of(one).unwrap().is_none());
    }

    #[test]
    fn the_oldest_is_forgotten_for_one_too_many() {
        let keys = SessionKeys::new().unwrap();
        let sessions: Vec<_> = (0..=KEPT).map(|_| SessionId::generate(&SystemClock)).collect();
        for session in &sessions {
            keys.set(*session, &"key".to_owned().into()).unwrap();
        }
        assert!(!keys.has(sessions[0]) && keys.has(sessions[1]) && keys.has(sessions[KEPT]));
    }
}
