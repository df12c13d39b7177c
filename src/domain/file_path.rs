//! The path of a file in a workspace, as clients name it. It refuses what climbs, and what no file system takes.

use std::fmt;
use std::str::FromStr;

use super::InvalidName;
use super::names::one_spelling;

/// The path of a file or folder in a workspace: relative, without `..`, kept without `.` parts and doubled or trailing
/// slashes. Where it leads is decided when it is used.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct FilePath(String);

impl FilePath {
    /// The longest path, in bytes.
    pub const MAX_BYTES: usize = 4096;

    /// The path as text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The names from the workspace downwards. Never empty.
    pub fn parts(&self) -> impl Iterator<Item = &str> {
        self.0.split('/')
    }

    /// The path of the folder that holds it, if that is not the workspace, and its name there.
    #[must_use]
    pub fn split(&self) -> (Option<&str>, &str) {
        self.0
            .rsplit_once('/')
            .map_or((None, &self.0), |(folder, name)| (Some(folder), name))
    }

    /// The path of this name in it.
    pub fn join(&self, below: &Self) -> Result<Self, InvalidName> {
        format!("{}/{}", self.0, below.0).parse()
    }

    /// Whether it may be given to something new: names that break lines or terminals are read and removed, not made.
    pub fn check_new(&self) -> Result<(), InvalidName> {
        if self.0.chars().any(char::is_control) {
            return Err(InvalidName::ControlCharacter);
        }
        Ok(())
    }
}

impl fmt::Display for FilePath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl FromStr for FilePath {
    type Err = InvalidName;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        if text.len() > Self::MAX_BYTES {
            return Err(InvalidName::TooLong {
                max: Self::MAX_BYTES,
                unit: "bytes",
            });
        }
        if text.contains('\0') {
            return Err(InvalidName::ControlCharacter);
        }
        one_spelling(text).map(Self)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_path_is_kept_in_one_spelling_and_told_in_parts() {
        let path: FilePath = "./a//b\\c/d.txt/".parse().unwrap();
        assert_eq!(path.as_str(), "a/b\\c/d.txt");
        assert_eq!(path.split(), (Some("a/b\\c"), "d.txt"));
        assert_eq!("x".parse::<FilePath>().unwrap().split(), (None, "x"));
        assert_eq!(
            path.join(&"x".parse().unwrap()).unwrap().as_str(),
            "a/b\\c/d.txt/x"
        );
    }

    #[test]
    fn what_climbs_or_no_file_system_takes_is_refused_by_name() {
        for (sent, why) in [
            ("..", InvalidName::ParentFolder),
            ("a/../b", InvalidName::ParentFolder),
            ("/etc/passwd", InvalidName::Absolute),
            ("a\0", InvalidName::ControlCharacter),
            ("", InvalidName::Empty),
            ("./", InvalidName::Empty),
        ] {
            assert_eq!(sent.parse::<FilePath>(), Err(why), "{sent:?}");
        }
        assert!("x".repeat(256).parse::<FilePath>().is_err());
        assert!("x/".repeat(2049).parse::<FilePath>().is_err());
        let odd: FilePath = "a\nb".parse().unwrap();
        assert_eq!(odd.check_new(), Err(InvalidName::ControlCharacter));
    }

    proptest! {
        #[test]
        fn a_parsed_path_never_climbs_and_parses_to_itself(text in "\\PC{0,40}|[./a\\\\\n]{0,12}") {
            if let Ok(path) = text.parse::<FilePath>() {
                prop_assert!(!path.as_str().starts_with('/'));
                prop_assert!(path.parts().all(|part| !part.is_empty() && part != "." && part != ".."));
                prop_assert_eq!(path.as_str().parse::<FilePath>().unwrap(), path);
            }
        }
    }
}
