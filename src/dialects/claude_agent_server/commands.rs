//! What a client sends, and what is done for it.

use actix_web::web;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytestring::ByteString;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use utoipa::ToSchema;

use super::super::asking::wrong_with;
use super::connection::OutputMessage;
use super::refusal::Refusal;
use crate::api::ApiLimits;
use crate::api::auth::{Authenticator, count_request};
use crate::api::v1::socket::connection;
use crate::api::v1::socket::line::json;
use crate::domain::{FilePath, Principal, SessionId};
use crate::service::{NewAttachment, OnBusy, Services, TurnOrder};

/// What a client sends: `type`, and what the type asks for.
#[derive(Debug, Deserialize, Serialize, ToSchema)]
#[schema(as = ClaudeAgentServerInput)]
#[serde(tag = "type", rename_all = "snake_case")]
pub(super) enum InputMessage {
    /// A prompt. It waits for those before it.
    UserMessage {
        /// The prompt, as the SDK has it: `message.content` is a text, or blocks of `text`, `image` and `document`. Its
        /// `session_id` is ignored, as the original does: there is one conversation.
        #[schema(value_type = Object)]
        data: Value,
    },
    /// Interrupt the prompt that is worked on.
    Interrupt {},
    /// Write a file of the workspace.
    CreateFile {
        /// Its path in the workspace.
        path: String,
        /// What is to be in it.
        content: String,
        /// How that is written.
        #[serde(default)]
        encoding: Encoding,
    },
    /// Read a file of the workspace.
    ReadFile {
        /// Its path in the workspace.
        path: String,
        /// How it is to be written.
        #[serde(default)]
        encoding: Encoding,
    },
    /// Remove a file of the workspace.
    DeleteFile {
        /// Its path in the workspace.
        path: String,
    },
    /// List a folder of the workspace, or the workspace itself.
    ListFiles {
        /// Its path in the workspace.
        #[serde(default)]
        path: Option<String>,
    },
}

/// How a file's content is written in JSON.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize, Serialize, ToSchema)]
#[schema(as = ClaudeAgentServerEncoding)]
#[serde(rename_all = "lowercase")]
pub(super) enum Encoding {
    /// As it is.
    #[default]
    #[serde(rename = "utf-8")]
    Utf8,
    /// In base64.
    Base64,
}

/// What messages are done with.
pub(super) struct Desk {
    pub(super) caller: Principal,
    pub(super) session: SessionId,
    pub(super) limits: web::Data<ApiLimits>,
    pub(super) services: web::Data<Services>,
    pub(super) authenticator: web::Data<Authenticator>,
}

impl connection::Desk for Desk {
    const TAKES_BYTES: bool = true;

    async fn answer(&self, message: &[u8]) -> Option<ByteString> {
        json(&self.take(message).await?)
    }
}

impl Desk {
    async fn take(&self, text: &[u8]) -> Option<OutputMessage> {
        let error = |error: String| Some(OutputMessage::Error { error });
        let message = serde_json::from_slice::<Value>(text).and_then(|message| {
            if message.is_object() {
                serde_json::from_value(message)
            } else {
                Err(serde::de::Error::custom("a message is an object with a type"))
            }
        });
        let message: InputMessage = match message {
            Ok(message) => message,
            Err(wrong) => return error(format!("Invalid message format: {wrong}")),
        };
        if let Err(problem) = count_request(&self.authenticator, &self.caller).await {
            return error(Refusal::from(problem).words().to_owned());
        }
        let doing = match &message {
            InputMessage::UserMessage { .. } | InputMessage::Interrupt {} => "",
            InputMessage::CreateFile { .. } => "Failed to create file: ",
            InputMessage::ReadFile { .. } => "Failed to read file: ",
            InputMessage::DeleteFile { .. } => "Failed to delete file: ",
            InputMessage::ListFiles { .. } => "Failed to list files: ",
        };
        match self.carry_out(message).await {
            Ok(told) => told,
            Err(refusal) => error(format!("{doing}{}", refusal.words())),
        }
    }

    async fn carry_out(&self, message: InputMessage) -> Result<Option<OutputMessage>, Refusal> {
        let (caller, session, files) = (&self.caller, self.session, &self.services.files);
        match message {
            InputMessage::UserMessage { data } => {
                let order = self.prompt(&data)?;
                self.services.turns.submit(caller, order).await?;
                Ok(None)
            }
            InputMessage::Interrupt {} => {
                self.services.turns.interrupt(caller, session).await?;
                Ok(None)
            }
            InputMessage::CreateFile {
                path,
                content,
                encoding,
            } => {
                let data = match encoding {
                    Encoding::Utf8 => content.into_bytes(),
                    Encoding::Base64 => STANDARD
                        .decode(content)
                        .map_err(|_wrong| Refusal::bad("content is not base64"))?,
                };
                files.write(caller, session, inside(&path)?, data).await?;
                Ok(Some(OutputMessage::done("create_file")))
            }
            InputMessage::ReadFile { path, encoding } => {
                let data = files.read(caller, session, inside(&path)?).await?;
                let result = match encoding {
                    Encoding::Utf8 => String::from_utf8_lossy(&data).into_owned(),
                    Encoding::Base64 => STANDARD.encode(data),
                };
                Ok(Some(OutputMessage::FileResult {
                    operation: "read_file",
                    result: result.into(),
                    encoding: Some(encoding),
                }))
            }
            InputMessage::DeleteFile { path } => {
                files.remove_file(caller, session, inside(&path)?).await?;
                Ok(Some(OutputMessage::done("delete_file")))
            }
            InputMessage::ListFiles { path } => {
                let path = match path.as_deref() {
                    None | Some("" | "." | "/") => None,
                    Some(path) => Some(inside(path)?),
                };
                let most = self.limits.dialect_list_max;
                let names = files.names(caller, session, path, most).await?;
                Ok(Some(OutputMessage::FileResult {
                    operation: "list_files",
                    result: names.into(),
                    encoding: None,
                }))
            }
        }
    }

    /// The turn that a prompt asks for.
    fn prompt(&self, data: &Value) -> Result<TurnOrder, Refusal> {
        let wrong = |words: &str| Refusal::bad(&format!("Invalid message format: {words}"));
        let message = data.get("message").ok_or_else(|| wrong("data has no message"))?;
        let role = message.get("role").and_then(Value::as_str);
        if role.is_some_and(|role| role != "user") {
            return Err(wrong("its role is not user"));
        }
        let (mut texts, mut attachments) = (Vec::new(), Vec::new());
        match message.get("content") {
            Some(Value::String(text)) => texts.push(text.as_str()),
            Some(Value::Array(blocks)) => {
                for block in blocks {
                    let field = |name: &str| block.get(name).and_then(Value::as_str);
                    match (field("type"), field("text")) {
                        (Some("text"), Some(text)) => texts.push(text),
                        (Some("image" | "document"), _) => attachments.push(
                            attachment(block)
                                .ok_or_else(|| wrong("the source of an image or document is not base64"))?,
                        ),
                        _ => return Err(wrong("a block is neither text, image nor document")),
                    }
                }
            }
            _ => return Err(wrong("its content is neither a text nor blocks")),
        }
        if attachments.len() > self.limits.attachments_max {
            return Err(wrong("it has too many attachments (limits.attachments_max)"));
        }
        let prompt = texts.join("\n\n");
        if let Some(words) = wrong_with(&prompt, &self.limits) {
            return Err(wrong(&format!("its text {words}")));
        }
        Ok(TurnOrder {
            attachments,
            on_busy: OnBusy::Queue,
            ..TurnOrder::new(self.session, prompt)
        })
    }
}

/// An image or a document that is sent along.
fn attachment(block: &Value) -> Option<NewAttachment> {
    let source = block.get("source")?;
    if source.get("type")?.as_str()? != "base64" {
        return None;
    }
    let title = block.get("title").and_then(Value::as_str);
    Some(NewAttachment::Data {
        name: title.map(ToOwned::to_owned),
        media_type: source.get("media_type")?.as_str()?.to_owned(),
        data: STANDARD.decode(source.get("data")?.as_str()?).ok()?,
    })
}

/// A path in the workspace.
fn inside(path: &str) -> Result<FilePath, Refusal> {
    let path = path.trim_start_matches("./");
    path.parse()
        .map_err(|error| Refusal::bad(&format!("path {error}")))
}
