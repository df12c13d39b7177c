//! The ports: the platform's own, and those of dialects that have one.

use std::net::{SocketAddr, TcpListener};
use std::sync::Arc;

use actix_web::dev::{Server, ServerHandle};
use futures_util::future::{join_all, try_join_all};

use super::{CONNECTION_GRACE, StartupError, parts};
use crate::api::{self, Anonymous, ApiState, Content};
use crate::dialects;
use crate::domain::Dialect;
use crate::lifecycle::Shutdown;
use crate::service::KeyIdentity;
use crate::settings::{DialectSettings, Settings};

/// Ports that are bound and not served yet: before anything is opened, since a second server on the same address must not
/// touch the first one's store.
pub(super) struct Ports {
    own: TcpListener,
    pub(super) address: SocketAddr,
    dialects: Vec<(Dialect, TcpListener, SocketAddr)>,
}

impl Ports {
    pub(super) fn bind(settings: &Settings) -> Result<Self, StartupError> {
        let (own, address) = bind(SocketAddr::new(settings.api.host, settings.api.port))?;
        let wanted = settings.dialects.enabled();
        let dialects = wanted
            .filter_map(|(dialect, settings)| Some((dialect, settings.bind?)))
            .map(|(dialect, wanted)| {
                let (listener, address) = bind(wanted)?;
                Ok((dialect, listener, address))
            })
            .collect::<Result<_, StartupError>>()?;
        Ok(Self {
            own,
            address,
            dialects,
        })
    }

    /// Where each dialect is that has a port of its own.
    pub(super) fn of_dialects(&self) -> Vec<(Dialect, SocketAddr)> {
        let each = self.dialects.iter();
        each.map(|(dialect, _, address)| (*dialect, *address)).collect()
    }

    /// Serves at all of them, once the answer is awaited.
    pub(super) fn serve(self, settings: &Settings, state: &ApiState) -> Result<Servers, StartupError> {
        let options = parts::server_options(settings);
        let shared = dialects::Shared::default();
        let others = dialects::routes(&parts::mounts(&settings.dialects), &shared);
        let own = api::serve(state.clone(), self.own, &options, Content::All, others);
        let mut servers = vec![own.map_err(StartupError::Http)?];
        for (dialect, listener, address) in self.dialects {
            let state = ApiState {
                authenticator: state.authenticator.at(anonymous(settings, dialect, address)),
                ..state.clone()
            };
            let server = api::serve(
                state,
                listener,
                &options,
                Content::Others,
                dialects::alone(dialect, &shared),
            );
            servers.push(server.map_err(StartupError::Http)?);
            tracing::info!(%dialect, %address, "listening");
        }
        Ok(Servers(servers))
    }
}

fn bind(address: SocketAddr) -> Result<(TcpListener, SocketAddr), StartupError> {
    let failed = |source| StartupError::Bind { address, source };
    let listener = TcpListener::bind(address).map_err(failed)?;
    let address = listener.local_addr().map_err(failed)?;
    Ok((listener, address))
}

/// Who callers without a credential are at a dialect's own address.
fn anonymous(settings: &Settings, dialect: Dialect, address: SocketAddr) -> Anonymous {
    if !address.ip().is_loopback() {
        return Anonymous::Nobody;
    }
    let mut enabled = settings.dialects.enabled();
    let found = enabled.find(|(other, _)| *other == dialect);
    let Some((
        _,
        DialectSettings {
            anonymous: Some(whom),
            ..
        },
    )) = found
    else {
        return Anonymous::AsElsewhere;
    };
    Anonymous::This(Arc::new(KeyIdentity {
        name: dialect.to_string(),
        tenant: whom.tenant.clone(),
        role: whom.role,
        user: whom.user_id.clone(),
    }))
}

/// The HTTP servers, one for each port.
pub(super) struct Servers(Vec<Server>);

impl Servers {
    pub(super) fn handles(&self) -> Vec<ServerHandle> {
        self.0.iter().map(Server::handle).collect()
    }

    /// Serves until all have ended, or one fails.
    pub(super) async fn run(self) -> Result<(), StartupError> {
        let served = try_join_all(self.0).await;
        served.map(|_all| ()).map_err(StartupError::Http)
    }
}

/// Ends the HTTP servers; connections may finish what they are sending.
pub(super) async fn stop_listening(
    handles: &[ServerHandle],
    shutdown: &Shutdown,
    serving: impl Future<Output = Result<(), StartupError>>,
) -> Result<(), StartupError> {
    let stop = |graceful: bool| join_all(handles.iter().map(move |handle| handle.stop(graceful)));
    let graceful = tokio::time::timeout(CONNECTION_GRACE, stop(true));
    let stopped = async {
        tokio::select! {
            stopped = graceful => stopped.is_ok(),
            () = shutdown.forced() => false,
        }
    };
    let ((), served) = tokio::join!(
        async {
            if !stopped.await {
                stop(false).await;
            }
        },
        serving
    );
    served
}
