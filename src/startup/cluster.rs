//! Makes this server one of several, where its store can be shared.

use std::net::SocketAddr;
use std::sync::Arc;

use super::{StartupError, stores};
use crate::agent::Agents;
use crate::cluster::{Cluster, ClusterSettings};
use crate::domain::SharedClock;
use crate::lifecycle::{Shutdown, Tasks};
use crate::security::peer_tokens::PeerTokens;
use crate::security::tls;
use crate::settings::Settings;
use crate::store::Store;
use crate::store::sql::instances::Instances;

/// Joins the instances that share the store; `None` where the store is this server's alone.
pub(super) async fn join(
    settings: &Settings,
    address: SocketAddr,
    store: &dyn Store,
    instances: Option<Instances>,
    clock: &Arc<SharedClock>,
) -> Result<Option<Cluster>, StartupError> {
    let Some(instances) = instances else {
        return Ok(None);
    };
    let instance = &settings.instance;
    let secret = stores::shared_secret(store, "instances").await?;
    let settings = ClusterSettings {
        name: match &instance.id {
            Some(name) => name.clone(),
            None => format!("{}:{}", host_name(), address.port()).parse().map_err(
                |error: crate::domain::InvalidName| StartupError::Key {
                    setting: "instance.id",
                    problem: format!("the machine's name is none for an instance: {error}"),
                },
            )?,
        },
        url: match &instance.advertise_url {
            Some(url) => url.to_string(),
            None => advertised(address),
        },
        lease_ttl: instance.lease_ttl,
        heartbeat_interval: instance.heartbeat_interval,
        peer_timeout: instance.peer_timeout,
        message_max_bytes: instance.message_max_bytes,
        handover_timeout: instance.handover_timeout,
    };
    let tls = tls::client().map_err(StartupError::Tls)?;
    let cluster = Cluster::join(
        settings,
        instances,
        Arc::clone(clock),
        PeerTokens::new(secret),
        tls,
    )
    .await?;
    Ok(Some(cluster))
}

/// Where others reach a server that listens here, unless they are told.
fn advertised(address: SocketAddr) -> String {
    if address.ip().is_unspecified() {
        format!("http://{}:{}", host_name(), address.port())
    } else {
        format!("http://{address}")
    }
}

fn host_name() -> String {
    rustix::system::uname().nodename().to_string_lossy().into_owned()
}

/// Begins to live as one of several; ends when told that it is to leave, once it has left.
pub(super) fn start(
    cluster: &Cluster,
    agents: &Agents,
    tasks: &Tasks,
    shutdown: &Shutdown,
) -> tokio::sync::oneshot::Sender<()> {
    let (leave, leaves) = tokio::sync::oneshot::channel();
    let (member, ending) = (cluster.clone(), agents.clone());
    let told = shutdown.clone();
    tasks.spawn(async move {
        let stopped = async {
            let _told_or_dropped = leaves.await;
        };
        member.run_membership(told, stopped, || ending.end_all()).await;
    });
    tasks.spawn(cluster.clone().run_notices(shutdown.clone()));
    let (heeding, heeded) = (agents.clone(), cluster.clone());
    tasks.spawn(async move { heeding.heed_others(heeded).await });
    let (settling, settled) = (agents.clone(), cluster.clone());
    tasks.spawn(async move { settling.settle_abandoned(settled).await });
    leave
}
