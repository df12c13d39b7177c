//! The models that sessions can ask for.

use serde::Deserialize;

use super::error::Error;
use crate::agent::Agents;
use crate::domain::Principal;

/// A model, by the name that a session asks for it with.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ModelInfo {
    /// The name to ask for it with.
    pub id: String,
    /// What people call it.
    pub name: String,
    /// What it is good for.
    pub description: String,
}

/// The models that sessions can ask for.
#[derive(Debug)]
pub struct ModelService {
    agents: Agents,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct CliModel {
    value: String,
    #[serde(default)]
    display_name: Option<String>,
    #[serde(default)]
    description: String,
}

impl ModelService {
    /// The models that these agents' CLI offers.
    #[must_use]
    pub fn new(agents: Agents) -> Self {
        Self { agents }
    }

    /// What the CLI offers. It is asked once in the server's life.
    pub async fn list(&self, _caller: &Principal) -> Result<Vec<ModelInfo>, Error> {
        let told = self.agents.models().await.map_err(Error::Agent)?;
        let models: Vec<CliModel> = serde_json::from_value(told).map_err(|error| Error::Internal {
            action: "the CLI's list of models was not understood",
            source: Box::new(error),
        })?;
        let info = |model: CliModel| ModelInfo {
            name: model.display_name.unwrap_or_else(|| model.value.clone()),
            id: model.value,
            description: model.description,
        };
        Ok(models.into_iter().map(info).collect())
    }
}
