//! From settings to what the parts are made with.

use std::path::PathBuf;
use std::sync::Arc;

use scripted_model::ScriptedModel;
use secrecy::SecretString;
use url::Url;

use super::{CONNECTION_GRACE, StartupError};
use crate::agent::actor::ActorLimits;
use crate::agent::fence::Fence;
use crate::agent::launch::LaunchSettings;
use crate::agent::{AgentSettings, DiskLimits, FeedLimits, QuestionSettings};
use crate::api::{ApiLimits, ServerOptions, SocketRules};
use crate::checkpoints::{CheckpointLimits, Checkpoints, DiffLimits};
use crate::dialects::Mount;
use crate::domain::{Clock, CredentialKind, Dialect, MicroUsd, TenantLimits};
use crate::gateway::credential::{Credential, Credentials};
use crate::gateway::{Gateway, GatewaySettings};
use crate::guardian;
use crate::lifecycle::Tasks;
use crate::limits::prices::{Price, PriceTable, Rates, UnknownModel};
use crate::limits::rate::RateLimiter;
use crate::limits::tenants::Tenants;
use crate::limits::{KeyRates, Limits};
use crate::security::environment;
use crate::security::outgoing::OutgoingRules;
use crate::security::sealing::SealingKeys;
use crate::service::{
    CloneRules, CopyLimits, FileRules, GitRules, Held, KeepRules, ModelAccess, SearchLimits, Template,
    UnpackLimits,
};
use crate::settings::{
    self, DialectSettings, DialectsSection, ModelSection, OnTimeout, PluginSettings, Settings, UnknownPrice,
};
use crate::store::Store;

/// Where the model's API is, unless it is set.
const THE_API: &str = "https://api.anthropic.com";

pub(super) fn model_access(model: &ModelSection) -> ModelAccess {
    if model.scripted {
        ModelAccess::Scripted
    } else if credential(model).is_some() {
        ModelAccess::Anthropic
    } else {
        ModelAccess::MissingCredential
    }
}

pub(super) fn credential(model: &ModelSection) -> Option<Credential> {
    let all = [
        (CredentialKind::ApiKey, &model.api_key),
        (CredentialKind::AuthToken, &model.auth_token),
        (CredentialKind::OauthToken, &model.oauth_token),
    ];
    let set = |(kind, secret): (CredentialKind, &Option<SecretString>)| {
        let secret = secret.clone()?;
        Some(Credential { kind, secret })
    };
    all.into_iter().find_map(set)
}

/// What proves a server to the model that answers: the scripted one takes anything.
fn credential_for(model: &ModelSection, scripted_model: Option<&ScriptedModel>) -> Option<Credential> {
    match scripted_model {
        Some(_) => Some(Credential {
            kind: CredentialKind::ApiKey,
            secret: "scripted".to_owned().into(),
        }),
        None => credential(model),
    }
}

fn base_url(model: &ModelSection, scripted_model: Option<&ScriptedModel>) -> Option<Url> {
    match scripted_model {
        Some(model) => Url::parse(&model.base_url()).ok(),
        None => model.base_url.clone(),
    }
}

/// The model gateway, unless it is switched off.
pub(super) fn gateway(
    settings: &Settings,
    scripted_model: Option<&ScriptedModel>,
    sealing: &SealingKeys,
    limits: &Arc<Limits>,
    store: &Arc<dyn Store>,
    clock: &Arc<dyn Clock>,
    tasks: &Tasks,
) -> Result<Option<Gateway>, StartupError> {
    let model = &settings.model;
    if !model.gateway {
        return Ok(None);
    }
    let upstream = match base_url(model, scripted_model) {
        Some(url) => url,
        None => Url::parse(THE_API).map_err(|error| StartupError::Key {
            setting: "model.base_url",
            problem: error.to_string(),
        })?,
    };
    let settings = GatewaySettings {
        upstream,
        models: model.allowed_models.clone(),
        prices: price_table(model),
        budget_wait: model.budget_wait,
        request_max_bytes: model.request_max_bytes,
        request_timeout: model.request_timeout,
        connect_timeout: model.connect_timeout,
        silence_timeout: model.silence_timeout,
        connections_max: model.connections_max,
    };
    let platform = credential_for(model, scripted_model);
    let credentials = Credentials::new(platform, sealing.clone(), Arc::clone(store));
    let gateway = Gateway::new(
        settings,
        credentials,
        Arc::clone(limits),
        Arc::clone(store),
        Arc::clone(clock),
        tasks.clone(),
    )?;
    Ok(Some(gateway))
}

/// What tenants, keys and addresses may do, and how often.
pub(super) fn limits(settings: &Settings, store: &Arc<dyn Store>, clock: &Arc<dyn Clock>) -> Limits {
    let tenants = Arc::new(Tenants::new(Arc::clone(store), settings.auth.cache_ttl));
    // Other stores have one server each.
    let is_shared = store.backend() == "postgresql";
    let rates = RateLimiter::new(Arc::clone(clock), is_shared.then(|| Arc::clone(store)));
    let keys = KeyRates {
        address_requests: settings.rates.address_requests_per_minute,
        address_sessions: settings.rates.address_sessions_per_minute,
        address_turns: settings.rates.address_turns_per_minute,
        requests: settings.rates.key_requests_per_minute,
        sessions: settings.rates.key_sessions_per_minute,
        turns: settings.rates.key_turns_per_minute,
    };
    let defaults = TenantLimits {
        model_requests_max: Some(settings.model.concurrency_max),
        model_requests_per_minute: Some(settings.model.requests_per_minute_max),
        ..settings.tenants.limits()
    };
    Limits::new(tenants, rates, keys, defaults)
}

fn price_table(model: &ModelSection) -> PriceTable {
    let rate = |usd: f64| MicroUsd::from_usd(usd).get();
    let prices = model.prices.iter().map(|price| Price {
        model: price.model.clone(),
        from: price.from,
        rates: Rates {
            input: rate(price.input_usd),
            output: rate(price.output_usd),
            cache_read: rate(price.cache_read_usd),
            cache_write: rate(price.cache_write_usd.unwrap_or(price.input_usd * 1.25)),
            cache_write_hour: rate(price.cache_write_hour_usd.unwrap_or(price.input_usd * 2.0)),
        },
    });
    let unknown = match model.unknown_price {
        UnknownPrice::Refuse => UnknownModel::Refuse,
        UnknownPrice::Dearest => UnknownModel::Dearest,
        UnknownPrice::Free => UnknownModel::Free,
    };
    PriceTable::new(prices.collect(), unknown)
}

pub(super) fn keep_rules(settings: &Settings) -> KeepRules {
    let (session, events) = (&settings.session, &settings.events);
    KeepRules {
        abandoned_after: settings.model.abandoned_after,
        answer_retention: settings.limits.idempotency_retention,
        ttl: session.ttl,
        removal_delay: session.removal_delay,
        delta_retention: events.delta_retention,
        retention: events.retention,
        message_retention: events.message_retention,
        delivery_retention: settings.webhooks.retention,
        sweep_interval: session.sweep_interval,
        sweep_batch: session.sweep_batch,
    }
}

pub(super) fn agent_settings(settings: &Settings) -> AgentSettings {
    let agent = &settings.agent;
    AgentSettings {
        max_live: agent.max_live,
        idle_timeout: agent.idle_timeout,
        queue_timeout: agent.queue_timeout,
        queue_max: agent.queue_max,
        turn_queue_max: agent.turn_queue_max,
        resume_prompt: agent.resume_prompt.clone(),
        prewarm: agent.prewarm,
        prewarm_concurrency: agent.prewarm_concurrency,
        prewarm_idle_min: agent.prewarm_idle_min,
        control_timeout: agent.control_timeout,
        memory_max_bytes: agent.memory_max_bytes,
        memory_interval: agent.memory_interval,
        helpers_max: settings.git.concurrency_max,
        disk: DiskLimits {
            max_bytes: settings.isolation.disk_max_bytes,
            max_entries: settings.isolation.disk_max_entries,
            interval: settings.isolation.disk_interval,
        },
        questions: QuestionSettings {
            timeout: settings.permissions.timeout,
            allow_on_timeout: settings.permissions.on_timeout == OnTimeout::Allow,
            pending_max: settings.permissions.pending_max,
            rules: settings.permissions.rules.clone(),
        },
        interrupt_grace: agent.interrupt_grace,
        actor: ActorLimits {
            start_timeout: agent.start_timeout,
            stop_grace: agent.stop_grace,
            line_limit_bytes: agent.line_limit_bytes,
            stderr_tail_bytes: agent.stderr_tail_bytes,
        },
        feed: FeedLimits {
            max_bytes: settings.events.feed_max_bytes,
            delta_segment_bytes: settings.events.delta_segment_bytes,
        },
        transcript_buffer_bytes: agent.transcript_buffer_bytes,
        checkpoints: checkpoints(settings),
        checkpoints_by_default: settings.checkpoints.enabled,
    }
}

pub(super) fn launch_settings(settings: &Settings, scripted_model: Option<&ScriptedModel>) -> LaunchSettings {
    let agent = &settings.agent;
    LaunchSettings {
        cli_path: agent.cli_path.clone(),
        environment: environment::for_agents(
            settings::process_environment(),
            &agent.pass_environment,
            &agent.environment,
        ),
        model_base_url: base_url(&settings.model, scripted_model).map(|url| url.to_string()),
        credential: credential_for(&settings.model, scripted_model),
        gateway: None,
        guardian: None,
        fence: Fence::none(),
        home_template: agent.home_template.clone(),
        mcp_servers: settings.mcp_servers.0.clone(),
        limits: None,
        plugins: settings
            .plugins
            .iter()
            .map(|PluginSettings::Local { path }| path.clone())
            .collect(),
    }
}

pub(super) fn api_limits(settings: &Settings) -> ApiLimits {
    let limits = &settings.limits;
    ApiLimits {
        body_limit_bytes: settings.api.body_limit_bytes,
        body_timeout: settings.api.body_timeout,
        page_default: limits.page_default,
        page_max: limits.page_max,
        message_max_bytes: limits.message_max_bytes,
        title_max_chars: limits.title_max_chars,
        metadata_max_bytes: limits.metadata_max_bytes,
        metadata_filters_max: limits.metadata_filters_max,
        system_prompt_max_bytes: limits.system_prompt_max_bytes,
        tool_list_max: limits.tool_list_max,
        option_max_bytes: limits.option_max_bytes,
        attachments_max: limits.attachments_max,
        turn_timeout_max: limits.turn_timeout_max,
        upload_max_files: settings.files.upload_max_files,
        upload_patience: settings.files.upload_patience,
        share_ttl: settings.auth.share_link_ttl,
        share_ttl_max: settings.auth.share_link_ttl_max,
        heartbeat: settings.events.heartbeat,
        dialect_list_max: settings.dialects.list_max,
        dialect_user: settings.dialects.user_id.clone(),
        dialect_shows_tools: settings.dialects.openai_shows_tools,
        peer_request_max_bytes: settings.instance.message_max_bytes,
    }
}

pub(super) fn git_rules(settings: &Settings) -> GitRules {
    let git = &settings.git;
    let networks = git.clone_networks.iter().map(|network| network.0);
    GitRules {
        program: git.path.clone(),
        timeout: git.timeout,
        output_max_bytes: git.output_max_bytes,
        email_host: git.email_host.clone(),
        cloning: git.clone.then(|| CloneRules {
            timeout: git.clone_timeout,
            depth: git.clone_depth,
            hosts: git.clone_hosts.clone(),
            http: git.clone_http,
            addresses: OutgoingRules::new(networks.collect()),
        }),
    }
}

pub(super) fn templates(settings: &Settings) -> Vec<Template> {
    let templates = settings.workspaces.templates.iter();
    templates
        .map(|(name, template)| Template {
            name: name.clone(),
            description: template.description.clone(),
            path: template.path.clone(),
        })
        .collect()
}

/// The dialects on the platform's own port.
pub(super) fn mounts(dialects: &DialectsSection) -> Vec<Mount> {
    let mount = |(dialect, settings): (Dialect, &DialectSettings)| Mount {
        dialect,
        prefix: settings.prefix.clone(),
    };
    dialects.enabled().map(mount).collect()
}

pub(super) fn socket_rules(settings: &Settings) -> SocketRules {
    let websocket = &settings.websocket;
    SocketRules {
        frame_max_bytes: websocket.frame_max_bytes,
        message_max_bytes: websocket.message_max_bytes,
        ping_interval: websocket.ping_interval,
        idle_timeout: websocket.idle_timeout,
        origins: settings.api.cors_origins.clone(),
    }
}

pub(super) fn server_options(settings: &Settings) -> ServerOptions {
    let api = &settings.api;
    ServerOptions {
        workers: api.workers,
        max_connections: api.max_connections,
        keep_alive: api.keep_alive,
        head_timeout: api.head_timeout,
        connection_grace: CONNECTION_GRACE,
        cors_origins: api.cors_origins.clone(),
        cors_credentials: api.cors_credentials,
        trusted_proxies: api.trusted_proxies.iter().map(|network| network.0).collect(),
    }
}

/// The program that guards agents, where there can be one.
pub(super) fn guardian(configured: Option<PathBuf>) -> Option<PathBuf> {
    if !guardian::is_supported() {
        return None;
    }
    Some(configured.unwrap_or_else(|| guardian::OWN_PROGRAM.into()))
}

pub(super) fn file_rules(settings: &Settings) -> FileRules {
    let files = &settings.files;
    FileRules {
        max_file_bytes: files.max_file_bytes,
        max_whole_bytes: settings.limits.attachment_max_bytes,
        depth_max: files.depth_max,
        list_max_seen: files.list_max_seen,
        search: SearchLimits {
            max_file_bytes: files.search_max_file_bytes,
            timeout: files.search_timeout,
            line_max_bytes: files.search_line_max_bytes,
            depth: files.depth_max,
        },
        archive_max_bytes: files.archive_max_bytes,
        unpack: UnpackLimits {
            max_bytes: files.archive_max_unpacked_bytes,
            max_entries: files.archive_max_entries,
        },
        copy: copy_limits(settings),
        heavy_max: files.heavy_max,
        archive_patience: files.archive_patience,
        workspace: Held {
            bytes: settings.isolation.disk_max_bytes,
            entries: settings.isolation.disk_max_entries,
        },
    }
}

pub(super) fn copy_limits(settings: &Settings) -> CopyLimits {
    CopyLimits {
        max_bytes: settings.limits.workspace_copy_max_bytes,
        max_entries: settings.limits.workspace_copy_max_entries,
    }
}

/// What workspaces were like before and after turns.
fn checkpoints(settings: &Settings) -> Checkpoints {
    let kept = &settings.checkpoints;
    let limits = CheckpointLimits {
        max_bytes: kept.max_bytes,
        max_entries: kept.max_entries,
        max_file_bytes: kept.max_file_bytes,
        max_depth: kept.max_depth,
        max_turns: kept.max_turns,
        timeout: kept.timeout,
    };
    Checkpoints::new(&kept.folder(&settings.agent.homes_dir), limits)
}

/// How much a turn's diff may come to.
pub(super) fn diff_limits(settings: &Settings) -> DiffLimits {
    let kept = &settings.checkpoints;
    DiffLimits {
        file_max_bytes: kept.diff_file_max_bytes,
        max_bytes: kept.diff_max_bytes,
        files_max: kept.diff_files_max,
        timeout: kept.diff_timeout,
    }
}
