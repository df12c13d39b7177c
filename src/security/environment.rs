//! An agent's environment: built from nothing, so that what the server knows is not what its agents know.

use std::collections::BTreeMap;
use std::ffi::OsString;

/// The variables that every agent gets: those of the server's own whose names are listed, then `extra`.
#[must_use]
pub fn for_agents<'a>(
    server: impl IntoIterator<Item = (String, String)>,
    passed: &[String],
    extra: impl IntoIterator<Item = (&'a String, &'a String)>,
) -> BTreeMap<String, OsString> {
    let mut environment: BTreeMap<_, OsString> = server
        .into_iter()
        .filter(|(name, _)| passed.contains(name))
        .map(|(name, value)| (name, value.into()))
        .collect();
    environment.extend(
        extra
            .into_iter()
            .map(|(name, value)| (name.clone(), value.into())),
    );
    environment
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_is_listed_reaches_an_agent() {
        let server = [("PATH", "/bin"), ("DATABASE_URL", "secret"), ("LANG", "C")]
            .map(|(name, value)| (name.to_owned(), value.to_owned()));
        let extra = BTreeMap::from([("LANG".to_owned(), "C.UTF-8".to_owned())]);
        let environment = for_agents(server, &["PATH".to_owned(), "LANG".to_owned()], &extra);
        let names: Vec<_> = environment
            .iter()
            .map(|(name, value)| (name.as_str(), value.to_str().unwrap()))
            .collect();
        assert_eq!(names, [("LANG", "C.UTF-8"), ("PATH", "/bin")]);
    }
}
