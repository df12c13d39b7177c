//! Names, and beginnings of names: how settings and policies say which models, variables and servers they mean.

/// Whether a pattern means this name. One that ends in `*` means all that begin so.
#[must_use]
pub fn matches(pattern: &str, name: &str) -> bool {
    match pattern.strip_suffix('*') {
        Some(beginning) => name.starts_with(beginning),
        None => pattern == name,
    }
}

/// Whether one of the patterns means this name.
#[must_use]
pub fn any_matches(patterns: &[String], name: &str) -> bool {
    patterns.iter().any(|pattern| matches(pattern, name))
}
