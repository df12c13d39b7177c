//! Attachments: images and documents that go with a prompt, sent along or taken from the workspace.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};

use super::error::Error;
use crate::domain::{Attachment, FilePath};
use crate::files::{FileError, reading};
use crate::security::workspace::Workspace;

/// The kinds of images that models see.
const IMAGE_TYPES: [&str; 4] = ["image/png", "image/jpeg", "image/gif", "image/webp"];

/// A file to go with a prompt.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum NewAttachment {
    /// One that is sent along.
    Data {
        /// What it is called.
        name: Option<String>,
        /// What it is.
        media_type: String,
        /// Its content.
        data: Vec<u8>,
    },
    /// One in the workspace.
    Path(FilePath),
}

/// Whether a file of this type can go with a prompt.
#[must_use]
pub fn is_supported(media_type: &str) -> bool {
    IMAGE_TYPES.contains(&media_type)
        || media_type == "application/pdf"
        || media_type == "application/json"
        || media_type.starts_with("text/")
}

/// The prompt as the CLI gets it, and what is told of its attachments.
pub(super) async fn content(
    message: &str,
    attachments: Vec<NewAttachment>,
    workspace: &Workspace,
    max_bytes: u64,
) -> Result<(Value, Vec<Attachment>), Error> {
    if attachments.is_empty() {
        return Ok((json!(message), Vec::new()));
    }
    let dir = workspace.dir().try_clone().map_err(|error| Error::Internal {
        action: "the workspace cannot be read",
        source: Box::new(error),
    })?;
    let read = tokio::task::spawn_blocking(move || {
        let numbered = attachments.into_iter().enumerate();
        numbered
            .map(|(index, attachment)| {
                block(attachment, &dir, max_bytes).map_err(|reason| Error::Attachment { index, reason })
            })
            .collect::<Result<Vec<_>, _>>()
    });
    let blocks = read.await.map_err(|error| Error::Internal {
        action: "attachments were not read",
        source: Box::new(error),
    })??;
    let (mut content, told): (Vec<_>, Vec<_>) = blocks.into_iter().unzip();
    // Last, as the API's makers advise: what is asked comes after what it is asked about.
    content.push(json!({"type": "text", "text": message}));
    Ok((Value::Array(content), told))
}

fn block(
    attachment: NewAttachment,
    dir: &cap_std::fs::Dir,
    max_bytes: u64,
) -> Result<(Value, Attachment), String> {
    let (name, media_type, data) = match attachment {
        NewAttachment::Data {
            name,
            media_type,
            data,
        } => (name, media_type, data),
        NewAttachment::Path(path) => {
            let data = read(dir, &path, max_bytes)?;
            let media_type = type_of(path.as_str(), &data).ok_or("is of a kind that models do not take")?;
            (Some(path.as_str().to_owned()), media_type.to_owned(), data)
        }
    };
    if data.len() as u64 > max_bytes {
        return Err(too_long(max_bytes));
    }
    let told = Attachment {
        name: name.clone(),
        media_type: media_type.clone(),
        size_bytes: data.len() as u64,
    };
    let encoded =
        |data: &[u8]| json!({"type": "base64", "media_type": media_type, "data": STANDARD.encode(data)});
    let block = if IMAGE_TYPES.contains(&media_type.as_str()) {
        json!({"type": "image", "source": encoded(&data)})
    } else if media_type == "application/pdf" {
        json!({"type": "document", "source": encoded(&data), "title": name})
    } else {
        let text = String::from_utf8(data).map_err(|_not_text| "is not UTF-8 text")?;
        json!({"type": "document", "source": {"type": "text", "media_type": "text/plain", "data": text}, "title": name})
    };
    Ok((block, told))
}

/// Reads a file of the workspace.
fn read(dir: &cap_std::fs::Dir, path: &FilePath, max_bytes: u64) -> Result<Vec<u8>, String> {
    reading::read(dir, path, max_bytes).map_err(|error| match error {
        FileError::NotAFile => "is not a file".to_owned(),
        FileError::TooLong { max_bytes } => too_long(max_bytes),
        _ => "is no file of the workspace that can be read".to_owned(),
    })
}

fn too_long(max_bytes: u64) -> String {
    format!("must have at most {max_bytes} bytes")
}

/// What a file is, by its name and, where that says nothing, by whether it is text.
fn type_of(path: &str, data: &[u8]) -> Option<&'static str> {
    let extension = path
        .rsplit_once('.')
        .map(|(_, extension)| extension.to_ascii_lowercase());
    match extension.as_deref() {
        Some("png") => Some("image/png"),
        Some("jpg" | "jpeg") => Some("image/jpeg"),
        Some("gif") => Some("image/gif"),
        Some("webp") => Some("image/webp"),
        Some("pdf") => Some("application/pdf"),
        _ => std::str::from_utf8(data).is_ok().then_some("text/plain"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_is_what_its_name_says_or_text() {
        assert_eq!(type_of("a/B.PNG", b""), Some("image/png"));
        assert_eq!(type_of("notes", b"text"), Some("text/plain"));
        assert_eq!(type_of("core.bin", &[0xff, 0xfe]), None);
    }

    #[test]
    fn images_documents_and_text_become_blocks() {
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join("a.txt"), "hello").unwrap();
        std::os::unix::fs::symlink("/etc/hostname", folder.path().join("out")).unwrap();
        std::fs::create_dir(folder.path().join("sub")).unwrap();
        let dir = cap_std::fs::Dir::open_ambient_dir(folder.path(), cap_std::ambient_authority()).unwrap();
        let path = |path: &str| NewAttachment::Path(path.parse().unwrap());
        let data = |media_type: &str| NewAttachment::Data {
            name: None,
            media_type: media_type.to_owned(),
            data: b"x".to_vec(),
        };
        let (text, told) = block(path("a.txt"), &dir, 5).unwrap();
        assert_eq!(text["source"]["data"], "hello");
        assert_eq!((told.size_bytes, told.name.as_deref()), (5, Some("a.txt")));
        assert_eq!(block(data("image/png"), &dir, 5).unwrap().0["type"], "image");
        assert_eq!(
            block(data("application/pdf"), &dir, 5).unwrap().0["source"]["data"],
            "eA=="
        );
        for refused in [path("a.txt"), path("out"), path("sub"), path("missing")] {
            assert!(block(refused.clone(), &dir, 4).is_err(), "{refused:?}");
        }
    }
}
