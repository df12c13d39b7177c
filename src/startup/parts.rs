//! From settings to what the parts are made with.

use std::path::PathBuf;

use scripted_model::ScriptedModel;

use super::CONNECTION_GRACE;
use crate::agent::actor::ActorLimits;
use crate::agent::launch::{LaunchSettings, ModelCredential};
use crate::agent::{AgentSettings, FeedLimits, QuestionSettings};
use crate::api::{ApiLimits, ServerOptions};
use crate::guardian;
use crate::security::environment;
use crate::service::{CopyLimits, KeepRules, ModelAccess};
use crate::settings::{self, ModelSection, OnTimeout, PluginSettings, Settings};

pub(super) fn model_access(model: &ModelSection) -> ModelAccess {
    if model.scripted {
        ModelAccess::Scripted
    } else if credential(model).is_some() {
        ModelAccess::Anthropic
    } else {
        ModelAccess::MissingCredential
    }
}

fn credential(model: &ModelSection) -> Option<ModelCredential> {
    let api_key = model.api_key.clone().map(ModelCredential::ApiKey);
    let auth_token = model.auth_token.clone().map(ModelCredential::AuthToken);
    let oauth_token = model.oauth_token.clone().map(ModelCredential::OauthToken);
    api_key.or(auth_token).or(oauth_token)
}

pub(super) fn keep_rules(settings: &Settings) -> KeepRules {
    let (session, events) = (&settings.session, &settings.events);
    KeepRules {
        ttl: session.ttl,
        removal_delay: session.removal_delay,
        delta_retention: events.delta_retention,
        retention: events.retention,
        tenant_retention: events.tenant_retention.clone(),
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
        prewarm: agent.prewarm,
        prewarm_concurrency: agent.prewarm_concurrency,
        prewarm_idle_min: agent.prewarm_idle_min,
        control_timeout: agent.control_timeout,
        memory_max_bytes: agent.memory_max_bytes,
        memory_interval: agent.memory_interval,
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
    }
}

pub(super) fn launch_settings(settings: &Settings, scripted_model: Option<&ScriptedModel>) -> LaunchSettings {
    let agent = &settings.agent;
    let configured = settings.model.base_url.as_ref().map(ToString::to_string);
    LaunchSettings {
        cli_path: agent.cli_path.clone(),
        environment: environment::for_agents(
            settings::process_environment(),
            &agent.pass_environment,
            &agent.environment,
        ),
        model_base_url: scripted_model.map(ScriptedModel::base_url).or(configured),
        credential: match scripted_model {
            Some(_) => Some(ModelCredential::ApiKey("scripted".to_owned().into())),
            None => credential(&settings.model),
        },
        guardian: guardian(agent.guardian_path.clone()),
        mcp_servers: settings.mcp_servers.0.clone(),
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
        heartbeat: settings.events.heartbeat,
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
fn guardian(configured: Option<PathBuf>) -> Option<PathBuf> {
    if !guardian::is_supported() {
        return None;
    }
    Some(configured.unwrap_or_else(|| guardian::OWN_PROGRAM.into()))
}

pub(super) fn copy_limits(settings: &Settings) -> CopyLimits {
    CopyLimits {
        max_bytes: settings.limits.workspace_copy_max_bytes,
        max_entries: settings.limits.workspace_copy_max_entries,
    }
}
