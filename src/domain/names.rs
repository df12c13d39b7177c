//! Names from outside that become parts of paths. Parsed once, valid for ever.
//!
//! The text rules here keep names portable and logs readable; they are not the jail. What a path leads to is
//! decided at each use, by `security::workspace`, through directory handles.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize, de};

/// Why a text is not a name of the wanted kind.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum InvalidName {
    /// There is nothing in it.
    #[error("must not be empty")]
    Empty,
    /// It is longer than names of its kind may be.
    #[error("must be at most {max} {unit} long")]
    TooLong {
        /// The most that is allowed.
        max: usize,
        /// What is counted: `characters` or `bytes`.
        unit: &'static str,
    },
    /// It holds a character that names of its kind may not.
    #[error("may only hold {allowed}")]
    Characters {
        /// What is allowed, in words.
        allowed: &'static str,
    },
    /// It holds NUL, a line break or another control character.
    #[error("must not hold control characters")]
    ControlCharacter,
    /// It starts at the root of the file system.
    #[error("must be a relative path")]
    Absolute,
    /// It climbs out of its folder.
    #[error("must not hold `..`")]
    ParentFolder,
    /// It holds a backslash, which is a separator on some systems and a letter on others.
    #[error("must not hold a backslash; parts are separated by `/`")]
    Backslash,
}

macro_rules! text_name {
    ($name:ident) => {
        impl $name {
            /// The name as text.
            #[must_use]
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }

        impl Serialize for $name {
            fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                serializer.serialize_str(&self.0)
            }
        }

        impl<'de> Deserialize<'de> for $name {
            fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                let text = std::borrow::Cow::<'de, str>::deserialize(deserializer)?;
                text.parse().map_err(de::Error::custom)
            }
        }
    };
}

/// A user inside a tenant: 1 to 64 of `A-Z a-z 0-9 _ -`.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct UserId(String);
text_name!(UserId);

impl UserId {
    /// The longest user id, in characters.
    pub const MAX_CHARS: usize = 64;
}

/// `default`: the user of whoever names none.
impl Default for UserId {
    fn default() -> Self {
        Self("default".to_owned())
    }
}

impl FromStr for UserId {
    type Err = InvalidName;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let allowed = |c: char| c.is_ascii_alphanumeric() || c == '_' || c == '-';
        if text.is_empty() {
            Err(InvalidName::Empty)
        } else if !text.chars().all(allowed) {
            Err(InvalidName::Characters {
                allowed: "letters, digits, `_` and `-`",
            })
        } else if text.len() > Self::MAX_CHARS {
            Err(InvalidName::TooLong {
                max: Self::MAX_CHARS,
                unit: "characters",
            })
        } else {
            Ok(Self(text.to_owned()))
        }
    }
}

/// A tenant's name, which never changes: 1 to 63 of `a-z 0-9 -`, neither first nor last a `-`.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct TenantName(String);
text_name!(TenantName);

impl TenantName {
    /// The longest tenant name, in characters.
    pub const MAX_CHARS: usize = 63;
}

impl FromStr for TenantName {
    type Err = InvalidName;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let allowed = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-';
        if text.is_empty() {
            Err(InvalidName::Empty)
        } else if !text.chars().all(allowed) || text.starts_with('-') || text.ends_with('-') {
            Err(InvalidName::Characters {
                allowed: "lower-case letters, digits and, neither first nor last, `-`",
            })
        } else if text.len() > Self::MAX_CHARS {
            Err(InvalidName::TooLong {
                max: Self::MAX_CHARS,
                unit: "characters",
            })
        } else {
            Ok(Self(text.to_owned()))
        }
    }
}

/// A folder inside a user's tree: a relative path without `..`, kept without `.` parts and doubled or trailing
/// slashes.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Subdir(String);
text_name!(Subdir);

impl Subdir {
    /// The longest subdir, in characters, as it was sent.
    pub const MAX_CHARS: usize = 200;
    /// The longest part between two slashes, in bytes: what file systems take.
    pub const MAX_PART_BYTES: usize = 255;

    /// The folder names from the user's tree downwards. Never empty.
    pub fn parts(&self) -> impl Iterator<Item = &str> {
        self.0.split('/')
    }
}

impl FromStr for Subdir {
    type Err = InvalidName;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        if text.chars().count() > Self::MAX_CHARS {
            return Err(InvalidName::TooLong {
                max: Self::MAX_CHARS,
                unit: "characters",
            });
        }
        if text.chars().any(char::is_control) {
            return Err(InvalidName::ControlCharacter);
        }
        if text.contains('\\') {
            return Err(InvalidName::Backslash);
        }
        one_spelling(text).map(Self)
    }
}

/// A relative path without `.` parts and doubled or trailing slashes, if it does not climb.
pub(super) fn one_spelling(text: &str) -> Result<String, InvalidName> {
    if text.starts_with('/') {
        return Err(InvalidName::Absolute);
    }
    let parts: Vec<&str> = text
        .split('/')
        .filter(|part| !part.is_empty() && *part != ".")
        .collect();
    if parts.contains(&"..") {
        return Err(InvalidName::ParentFolder);
    }
    if parts.iter().any(|part| part.len() > Subdir::MAX_PART_BYTES) {
        return Err(InvalidName::TooLong {
            max: Subdir::MAX_PART_BYTES,
            unit: "bytes",
        });
    }
    if parts.is_empty() {
        return Err(InvalidName::Empty);
    }
    Ok(parts.join("/"))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_user_id_is_letters_digits_underscore_and_dash() {
        for good in ["alice", "A-1_b", "0", "-", &"x".repeat(64)] {
            assert!(good.parse::<UserId>().is_ok(), "{good:?}");
        }
        for bad in [
            "",
            "alice\n",
            "al ice",
            "../x",
            ".",
            "..",
            "a/b",
            "a\0b",
            "é",
            "a.b",
            &"x".repeat(65),
        ] {
            assert!(bad.parse::<UserId>().is_err(), "{bad:?}");
        }
    }

    #[test]
    fn a_tenant_name_is_a_lower_case_slug() {
        for good in ["default", "acme-2", "0"] {
            assert!(good.parse::<TenantName>().is_ok(), "{good:?}");
        }
        for bad in ["", "Acme", "-a", "a-", "a_b", "a/b", "..", "a\n", &"x".repeat(64)] {
            assert!(bad.parse::<TenantName>().is_err(), "{bad:?}");
        }
    }

    #[test]
    fn a_subdir_is_kept_in_one_spelling() {
        for (sent, kept) in [
            ("project", "project"),
            ("./x", "x"),
            ("a//b/", "a/b"),
            ("a/./b", "a/b"),
            ("a..b", "a..b"),
            ("~", "~"),
            ("$HOME", "$HOME"),
            ("two words", "two words"),
            ("日本/é", "日本/é"),
        ] {
            assert_eq!(sent.parse::<Subdir>().unwrap().as_str(), kept, "{sent:?}");
        }
    }

    #[test]
    fn a_subdir_that_climbs_or_hides_is_refused_by_name() {
        for (sent, why) in [
            ("..", InvalidName::ParentFolder),
            ("a/../b", InvalidName::ParentFolder),
            ("/etc", InvalidName::Absolute),
            ("a\0", InvalidName::ControlCharacter),
            ("a\n", InvalidName::ControlCharacter),
            ("a\u{85}b", InvalidName::ControlCharacter),
            ("a\\b", InvalidName::Backslash),
            ("", InvalidName::Empty),
            (".", InvalidName::Empty),
            ("./", InvalidName::Empty),
        ] {
            assert_eq!(sent.parse::<Subdir>(), Err(why), "{sent:?}");
        }
        assert!("x".repeat(201).parse::<Subdir>().is_err());
        assert!(
            "日".repeat(86).parse::<Subdir>().is_err(),
            "258 bytes in one part"
        );
    }

    proptest! {
        #[test]
        fn a_parsed_subdir_never_climbs_and_parses_to_itself(text in "\\PC{0,40}|[./a\\\\\n]{0,12}") {
            if let Ok(subdir) = text.parse::<Subdir>() {
                prop_assert!(!subdir.as_str().starts_with('/'));
                prop_assert!(subdir.parts().all(|part| !part.is_empty() && part != "." && part != ".."));
                prop_assert_eq!(subdir.as_str().parse::<Subdir>().unwrap(), subdir);
            }
        }
    }
}
