//! Sessions and their history.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use chrono::{DateTime, Utc};
use serde_json::{Map, Value};

use super::error::Error;
use crate::agent::{Agents, Folders};
use crate::domain::pattern::any_matches;
use crate::domain::{
    Activity, AuditAction, AuditNote, ClaudeSessionId, Clock, Event, EventBody, EventId, EventKind,
    EventQuery, Page, Plugin, Principal, Room, Session, SessionChange, SessionFilter, SessionId,
    SessionOptions, SessionQuota, SessionStanding, SessionStatus, Subdir, TenantPolicy, UserId,
};
use crate::limits::{Counted, Limits};

use crate::security::workspace::{WorkspaceError, Workspaces};
use crate::store::Store;

/// A session to be made.
#[derive(Debug, Clone)]
pub struct NewSession {
    /// For which user.
    pub user: UserId,
    /// In which folder of the user's tree.
    pub subdir: Option<Subdir>,
    /// What people call it.
    pub title: Option<String>,
    /// What its client attaches.
    pub metadata: Map<String, Value>,
    /// How its agents are run; the server's defaults fill the rest.
    pub options: SessionOptions,
}

/// How a session stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SessionState {
    /// It takes turns.
    Active,
    /// It was closed.
    Closed,
    /// It was not used for longer than sessions live.
    Expired,
}

/// Which sessions a list is to hold. `None` does not filter.
#[derive(Debug, Clone, Default)]
pub struct SessionQuery {
    /// Those of this user.
    pub user: Option<UserId>,
    /// Those that stand so.
    pub state: Option<SessionState>,
    /// Those whose metadata has these values.
    pub metadata: Vec<(String, String)>,
    /// Those in whose title a word, or several, begin so.
    pub title: Option<String>,
}

/// A session and how it stands in this server.
#[derive(Debug, Clone)]
pub struct SessionDetails {
    /// The session.
    pub session: Session,
    /// How it stands.
    pub state: SessionState,
    /// Its workspace's path, to be shown.
    pub cwd: PathBuf,
    /// Whether its agent lives.
    pub agent_live: bool,
    /// Whether a turn runs.
    pub busy: bool,
    /// When it expires if it is not used; never when absent.
    pub expires_at: Option<DateTime<Utc>>,
}

/// What holds for all sessions.
#[derive(Debug, Clone)]
pub struct SessionRules {
    /// What sessions get that do not say otherwise.
    pub defaults: SessionOptions,
    /// The variables that sessions may set for their agents: names, or beginnings that end in `*`.
    pub environment: Vec<String>,
    /// How long a session lives after its last use; zero: for ever.
    pub ttl: Duration,
}

/// Sessions and their history.
#[derive(Debug)]
pub struct SessionService {
    store: Arc<dyn Store>,
    agents: Agents,
    workspaces: Arc<Workspaces>,
    clock: Arc<dyn Clock>,
    limits: Arc<Limits>,
    defaults: SessionOptions,
    /// The variables that sessions may set for their agents: names, or beginnings that end in `*`.
    environment: Vec<String>,
    /// How long a session lives after its last use; for ever when absent.
    ttl: Option<Duration>,
}

impl SessionService {
    /// The use cases over these parts.
    #[must_use]
    pub fn new(
        store: Arc<dyn Store>,
        agents: Agents,
        workspaces: Arc<Workspaces>,
        clock: Arc<dyn Clock>,
        limits: Arc<Limits>,
        rules: SessionRules,
    ) -> Self {
        let SessionRules {
            defaults,
            environment,
            ttl,
        } = rules;
        let ttl = (!ttl.is_zero()).then_some(ttl);
        Self {
            store,
            agents,
            workspaces,
            clock,
            limits,
            defaults,
            environment,
            ttl,
        }
    }

    /// Makes a session and its workspace. No model is called; the agent is started in the background.
    pub async fn create(&self, caller: &Principal, new: NewSession) -> Result<SessionDetails, Error> {
        let session = self.prepare(caller, new).await?;
        let folders = self.make_folders(caller, &session).await?;
        self.finish(caller, session, folders).await
    }

    /// A session that may be made, counted as one.
    pub(super) async fn prepare(&self, caller: &Principal, new: NewSession) -> Result<Session, Error> {
        if !caller.acts_for(&new.user) {
            return Err(Error::Forbidden {
                reason: "this credential acts for another user",
            });
        }
        self.check_environment(&new.options)?;
        let policy = self.check_policy(caller, &new.options).await?;
        let now = self.clock.now();
        let session = Session {
            id: SessionId::generate(&*self.clock),
            tenant: caller.tenant,
            user: new.user,
            subdir: new.subdir,
            title: new.title,
            metadata: new.metadata,
            options: policy.applied_to(new.options).or(self.defaults.clone()),
            claude_session_id: ClaudeSessionId::generate(&*self.clock),
            conversation_started: false,
            status: SessionStatus::Active,
            message_count: 0,
            created_at: now,
            last_active_at: now,
            closed_at: None,
        };
        self.count_new(caller).await?;
        Ok(session)
    }

    /// Stores a session that was prepared, whose folders are there.
    pub(super) async fn finish(
        &self,
        caller: &Principal,
        session: Session,
        folders: Folders,
    ) -> Result<SessionDetails, Error> {
        self.insert(caller, &session).await?;
        self.agents.prewarm(session.clone(), folders);
        self.details(caller, session).await
    }

    /// A page of the tenant's sessions, newest first; of the caller's own where it acts for one user.
    pub async fn list(
        &self,
        caller: &Principal,
        mut query: SessionQuery,
        before: Option<SessionId>,
        limit: u32,
    ) -> Result<Page<SessionDetails, SessionId>, Error> {
        const NOTHING: Page<SessionDetails, SessionId> = Page {
            items: Vec::new(),
            next: None,
        };
        if let Some(own) = &caller.user {
            if query.user.as_ref().is_some_and(|asked| asked != own) {
                return Ok(NOTHING);
            }
            query.user = Some(own.clone());
        }
        let Some(filter) = self.filter(query) else {
            return Ok(NOTHING);
        };
        let page = self
            .store
            .list_sessions(caller.tenant, &filter, before, limit)
            .await?;
        Ok(Page {
            items: self.details_of(caller, page.items).await?,
            next: page.next,
        })
    }

    /// A session, whatever its status.
    pub async fn get(&self, caller: &Principal, id: SessionId) -> Result<SessionDetails, Error> {
        let session = self.find(caller, id).await?;
        self.details(caller, session).await
    }

    /// Changes an active session: its title, its metadata, its model, its permission mode. A live agent is brought to
    /// them at once where the CLI takes that, and else replaced before the next turn.
    pub async fn update(
        &self,
        caller: &Principal,
        id: SessionId,
        change: SessionChange,
    ) -> Result<SessionDetails, Error> {
        self.find_usable(caller, id).await?;
        let asked = SessionOptions {
            model: change.model.clone().flatten(),
            permission_mode: change.permission_mode,
            ..SessionOptions::default()
        };
        self.check_policy(caller, &asked).await?;
        let changed = self.store.update_session(caller.tenant, id, &change).await?;
        let session = changed.ok_or(Error::SessionClosed)?;
        if change.changes_options() {
            self.agents.apply_options(&session).await;
        }
        let event = EventBody::of_change(&change);
        self.agents.record(caller.tenant, id, vec![event]).await?;
        self.details(caller, session).await
    }

    /// Closes a session: ends its turn and its agent, for good. Closing a closed one changes nothing.
    pub async fn close(&self, caller: &Principal, id: SessionId) -> Result<(), Error> {
        self.find(caller, id).await?;
        self.store
            .close_session(caller.tenant, id, self.clock.now())
            .await?;
        self.agents.close(caller.tenant, id).await;
        Ok(())
    }

    /// Makes an active session ready for its next prompt: its workspace, if it is gone, and its agent.
    pub async fn resume(&self, caller: &Principal, id: SessionId) -> Result<SessionDetails, Error> {
        let mut session = self.find_usable(caller, id).await?;
        let folders = self.make_folders(caller, &session).await?;
        session.last_active_at = session.last_active_at.max(self.clock.now());
        if !self
            .store
            .touch_session(caller.tenant, id, session.last_active_at)
            .await?
        {
            return Err(Error::SessionClosed);
        }
        self.agents.prewarm(session.clone(), folders);
        self.details(caller, session).await
    }

    /// A page of the conversation, oldest first: prompts, the assistant's messages, tool results.
    pub async fn messages(
        &self,
        caller: &Principal,
        id: SessionId,
        after: EventId,
        limit: u32,
    ) -> Result<Page<Event, EventId>, Error> {
        self.find(caller, id).await?;
        let events = self
            .store
            .read_events(
                caller.tenant,
                id,
                &EventQuery::after(after).of_kinds(&EventKind::MESSAGES),
                limit.saturating_add(1),
            )
            .await?;
        Ok(Page::cut(events, limit as usize, |event| event.id))
    }

    /// The caller's session, whatever its status.
    pub(super) async fn find(&self, caller: &Principal, id: SessionId) -> Result<Session, Error> {
        let session = self.store.find_session(caller.tenant, id).await?;
        session
            .filter(|session| caller.may_see(session))
            .ok_or(Error::SessionNotFound)
    }

    /// The caller's session, if it takes turns.
    pub(super) async fn find_usable(&self, caller: &Principal, id: SessionId) -> Result<Session, Error> {
        let session = self.find(caller, id).await?;
        match self.state_now(&session).await? {
            SessionState::Active => Ok(session),
            SessionState::Closed => Err(Error::SessionClosed),
            SessionState::Expired => Err(Error::SessionExpired),
        }
    }

    /// The session's folders, which must exist.
    pub(super) async fn folders(&self, caller: &Principal, session: &Session) -> Result<Folders, Error> {
        self.open_folders(caller, session, false).await
    }

    /// The session's folders; its workspace, and what it works in besides, are made where they are missing and may be.
    pub(super) async fn make_folders(&self, caller: &Principal, session: &Session) -> Result<Folders, Error> {
        self.open_folders(caller, session, true).await
    }

    async fn open_folders(
        &self,
        caller: &Principal,
        session: &Session,
        make: bool,
    ) -> Result<Folders, Error> {
        let (workspaces, tenant) = (Arc::clone(&self.workspaces), caller.tenant_name.clone());
        let (user, subdir) = (session.user.clone(), session.subdir.clone());
        let added = session.options.add_dirs.clone().unwrap_or_default();
        let plugins = session.options.plugins.clone().unwrap_or_default();
        off_the_worker(move || {
            let open = |subdir: Option<&Subdir>| {
                if make {
                    workspaces.create(&tenant, &user, subdir)
                } else {
                    workspaces.resolve(&tenant, &user, subdir)
                }
            };
            let plugin = |Plugin::Local { path }: &Plugin| workspaces.resolve(&tenant, &user, Some(path));
            Ok(Folders {
                workspace: open(subdir.as_ref())?,
                tree: workspaces.resolve(&tenant, &user, None)?,
                added: added
                    .iter()
                    .map(|path| open(Some(path)))
                    .collect::<Result<_, _>>()?,
                plugins: plugins.iter().map(plugin).collect::<Result<_, _>>()?,
            })
        })
        .await
    }

    /// The folder of a user's tree that a path names: a path in the tree, or a whole one that leads into it, as it is shown.
    ///
    /// # Errors
    /// A path that leads out of the tree is refused.
    pub fn subdir_of(&self, caller: &Principal, user: &UserId, path: &Path) -> Result<Option<Subdir>, Error> {
        let tree = self.workspaces.shown_path(&caller.tenant_name, user, None);
        let below = path.strip_prefix(&tree).unwrap_or(path);
        if below.as_os_str().is_empty() {
            return Ok(None);
        }
        let subdir = below.to_str().and_then(|path| path.parse::<Subdir>().ok());
        subdir.map(Some).ok_or(Error::Workspace(WorkspaceError::Outside))
    }

    /// The folder that all workspaces lie in, to be shown.
    #[must_use]
    pub fn workspaces_dir(&self) -> &Path {
        self.workspaces.base_path()
    }

    /// The time.
    #[must_use]
    pub fn now(&self) -> DateTime<Utc> {
        self.clock.now()
    }

    /// The tenant's policy, if it allows these options.
    pub(super) async fn check_policy(
        &self,
        caller: &Principal,
        options: &SessionOptions,
    ) -> Result<TenantPolicy, Error> {
        let tenant = self.limits.of(caller.tenant).await?;
        let policy = tenant.map(|tenant| tenant.policy).unwrap_or_default();
        let Some(option) = policy.forbidden(options) else {
            return Ok(policy);
        };
        let action = AuditAction::OptionRefused;
        let note = AuditNote::by(caller, self.clock.now(), caller.tenant, action, &option);
        self.store.append_audit(&[note]).await?;
        Err(Error::OptionForbidden { option })
    }

    /// Counts a session that is about to be made.
    pub(super) async fn count_new(&self, caller: &Principal) -> Result<(), Error> {
        self.limits
            .count_address(Counted::Session, caller.address)
            .await?;
        self.limits
            .count(Counted::Session, caller.tenant, caller.key)
            .await?;
        Ok(())
    }

    /// Stores a new session, if the tenant and the user may have another one.
    pub(super) async fn insert(&self, caller: &Principal, session: &Session) -> Result<(), Error> {
        let limits = self.limits.limits_of(caller.tenant).await?;
        let most = |limit: Option<u32>| limit.filter(|most| *most > 0);
        let quota = SessionQuota {
            of_tenant: most(limits.sessions_max),
            of_user: most(limits.user_sessions_max),
            used_after: self.expiry_border(),
        };
        if quota.of_tenant.is_none() && quota.of_user.is_none() {
            return Ok(self.store.insert_session(caller.tenant, session).await?);
        }
        let room = self
            .store
            .insert_session_within(caller.tenant, session, &quota)
            .await?;
        let (limit, most) = match room {
            Room::Free => return Ok(()),
            Room::TenantFull => ("sessions_max", quota.of_tenant),
            Room::UserFull => ("user_sessions_max", quota.of_user),
        };
        Err(Error::QuotaReached {
            limit,
            most: most.unwrap_or_default(),
        })
    }

    /// Whether the variables that a session asks for are for sessions to set.
    fn check_environment(&self, options: &SessionOptions) -> Result<(), Error> {
        let allowed = |name: &String| any_matches(&self.environment, name);
        match options
            .env
            .iter()
            .flat_map(|env| env.keys())
            .find(|name| !allowed(name))
        {
            Some(name) => Err(Error::OptionForbidden {
                option: format!("env.{name}"),
            }),
            None => Ok(()),
        }
    }

    /// How many sessions of the platform are active.
    pub(super) async fn count_active(&self) -> Result<u64, Error> {
        Ok(self.store.count_active_sessions(self.expiry_border()).await?)
    }

    /// Sessions that were last used then or before have expired; none has when absent.
    fn expiry_border(&self) -> Option<DateTime<Utc>> {
        border(self.clock.now(), self.ttl)
    }

    async fn state_now(&self, session: &Session) -> Result<SessionState, Error> {
        let busy = self.has_expired(session) && {
            let standing = self.agents.standing(session.tenant, &[session.id]).await?;
            standing.first().is_some_and(|standing| standing.busy)
        };
        Ok(self.state(session, busy))
    }

    fn has_expired(&self, session: &Session) -> bool {
        self.expiry_border()
            .is_some_and(|border| session.last_active_at <= border)
    }

    fn state(&self, session: &Session, busy: bool) -> SessionState {
        let expired = self.has_expired(session);
        if session.status == SessionStatus::Closed {
            SessionState::Closed
        } else if expired && !busy {
            SessionState::Expired
        } else {
            SessionState::Active
        }
    }

    /// What the store is asked for; `None` when no session can be such a one.
    fn filter(&self, query: SessionQuery) -> Option<SessionFilter> {
        let border = self.expiry_border();
        let (status, activity) = match query.state {
            None => (None, None),
            Some(SessionState::Closed) => (Some(SessionStatus::Closed), None),
            Some(SessionState::Active) => (Some(SessionStatus::Active), border.map(Activity::After)),
            Some(SessionState::Expired) => (Some(SessionStatus::Active), Some(Activity::UpTo(border?))),
        };
        Some(SessionFilter {
            user: query.user,
            status,
            activity,
            metadata: query.metadata,
            title: query.title,
        })
    }

    fn expires_at(&self, session: &Session) -> Option<DateTime<Utc>> {
        session
            .last_active_at
            .checked_add_signed(chrono::TimeDelta::from_std(self.ttl?).ok()?)
    }

    pub(super) async fn details(
        &self,
        caller: &Principal,
        session: Session,
    ) -> Result<SessionDetails, Error> {
        let standing = self.agents.standing(session.tenant, &[session.id]).await?;
        let standing = standing.first().copied().unwrap_or_default();
        Ok(self.details_by(caller, session, standing))
    }

    async fn details_of(
        &self,
        caller: &Principal,
        sessions: Vec<Session>,
    ) -> Result<Vec<SessionDetails>, Error> {
        let ids: Vec<_> = sessions.iter().map(|session| session.id).collect();
        let standings = self.agents.standing(caller.tenant, &ids).await?;
        let both = sessions.into_iter().zip(standings);
        Ok(both
            .map(|(session, standing)| self.details_by(caller, session, standing))
            .collect())
    }

    fn details_by(&self, caller: &Principal, session: Session, standing: SessionStanding) -> SessionDetails {
        let cwd = self
            .workspaces
            .shown_path(&caller.tenant_name, &session.user, session.subdir.as_ref());
        let session = if caller.guest.is_some() {
            for_guest(session)
        } else {
            session
        };
        SessionDetails {
            cwd,
            agent_live: standing.held,
            busy: standing.busy,
            expires_at: self.expires_at(&session),
            state: self.state(&session, standing.busy),
            session,
        }
    }
}

/// A session as it is told to those who came by a link: without what its client attached, and of its options the model and the
/// permission mode alone.
fn for_guest(session: Session) -> Session {
    let options = session.options;
    Session {
        metadata: Map::new(),
        options: SessionOptions {
            model: options.model,
            permission_mode: options.permission_mode,
            ..SessionOptions::default()
        },
        ..session
    }
}

/// The time before which lies what is older than `age`; `None` when nothing is too old.
pub(super) fn border(now: DateTime<Utc>, age: Option<Duration>) -> Option<DateTime<Utc>> {
    now.checked_sub_signed(chrono::TimeDelta::from_std(age?).ok()?)
}

/// Runs file-system work where it may block.
pub(super) async fn off_the_worker<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, Error> + Send + 'static,
) -> Result<T, Error> {
    match tokio::task::spawn_blocking(work).await {
        Ok(done) => done,
        Err(error) => Err(Error::Internal {
            action: "the workspace was not looked at",
            source: Box::new(error),
        }),
    }
}
