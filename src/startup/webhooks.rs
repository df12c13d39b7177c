//! Puts together what sends events to webhooks.

use std::sync::Arc;

use super::{StartupError, stores};
use crate::domain::Clock;
use crate::lifecycle::{Shutdown, Tasks};
use crate::security::outgoing::OutgoingRules;
use crate::security::tls;
use crate::security::webhook_signing::WebhookSigner;
use crate::service::{DeliveryMetrics, DeliveryRules, Dispatcher, WebhookRules};
use crate::settings::Settings;
use crate::store::Store;

/// What holds for all webhooks.
pub(super) fn rules(settings: &Settings) -> WebhookRules {
    let webhooks = &settings.webhooks;
    WebhookRules {
        max_per_tenant: webhooks.max_per_tenant,
        allow_http: webhooks.allow_http,
        outgoing: outgoing(settings),
        rotation_grace: webhooks.rotation_grace,
        replay_max: webhooks.replay_max,
    }
}

fn outgoing(settings: &Settings) -> OutgoingRules {
    let networks = &settings.webhooks.allowed_networks;
    OutgoingRules::new(networks.iter().map(|network| network.0).collect())
}

/// Begins to send events to webhooks; what signs them, and what is counted of it.
pub(super) async fn start(
    settings: &Settings,
    store: &Arc<dyn Store>,
    clock: &Arc<dyn Clock>,
    tasks: &Tasks,
    shutdown: &Shutdown,
) -> Result<(WebhookSigner, DeliveryMetrics), StartupError> {
    let signer = WebhookSigner::new(stores::shared_secret(&**store, "webhooks").await?);
    let webhooks = &settings.webhooks;
    let rules = DeliveryRules {
        schedule: webhooks.schedule.clone(),
        timeout: webhooks.timeout,
        concurrency_max: webhooks.concurrency_max,
        webhook_concurrency_max: webhooks.webhook_concurrency_max,
        poll_interval: webhooks.poll_interval,
        disable_after: webhooks.disable_after,
        rotation_grace: webhooks.rotation_grace,
        outgoing: outgoing(settings),
    };
    let dispatcher = Dispatcher::new(
        Arc::clone(store),
        Arc::clone(clock),
        tasks.clone(),
        shutdown.clone(),
        signer.clone(),
        rules,
        tls::client().map_err(|error| StartupError::Webhooks(error.into()))?,
    );
    let dispatcher = dispatcher.map_err(|error| StartupError::Webhooks(error.into()))?;
    let metrics = dispatcher.metrics().clone();
    tasks.spawn(dispatcher.run());
    Ok((signer, metrics))
}
