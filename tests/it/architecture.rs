//! The layers: which module may use which. An edge that is not in the table fails the build.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

/// Each module of the crate, and the modules it may use. To use another one is a decision: write it down in
/// `docs/ARCHITECTURE.md` first.
const LAYERS: &[(&str, &[&str])] = &[
    ("domain", &[]),
    ("lifecycle", &[]),
    ("telemetry", &[]),
    ("guardian", &[]),
    ("jail", &["guardian"]),
    ("settings", &["domain"]),
    ("console", &[]),
    ("protocol", &["domain"]),
    ("security", &["domain"]),
    ("files", &["domain", "security"]),
    ("checkpoints", &["domain", "security"]),
    ("store", &["domain", "lifecycle"]),
    ("limits", &["domain", "store"]),
    ("cluster", &["domain", "lifecycle", "security", "store"]),
    ("gateway", &["domain", "lifecycle", "limits", "security", "store"]),
    (
        "agent",
        &[
            "checkpoints",
            "cluster",
            "domain",
            "gateway",
            "guardian",
            "jail",
            "lifecycle",
            "limits",
            "protocol",
            "security",
            "store",
            "telemetry",
        ],
    ),
    (
        "service",
        &[
            "agent",
            "checkpoints",
            "cluster",
            "domain",
            "files",
            "gateway",
            "lifecycle",
            "limits",
            "security",
            "store",
        ],
    ),
    ("api", &["console", "domain", "service", "telemetry"]),
    ("dialects", &["api", "domain", "service"]),
    (
        "startup",
        &[
            "agent",
            "api",
            "checkpoints",
            "cluster",
            "console",
            "dialects",
            "domain",
            "gateway",
            "guardian",
            "jail",
            "lifecycle",
            "limits",
            "security",
            "service",
            "settings",
            "store",
        ],
    ),
    (
        "cli",
        &[
            "api",
            "domain",
            "guardian",
            "jail",
            "service",
            "settings",
            "startup",
            "store",
            "telemetry",
        ],
    ),
];

/// Files longer than this are hard to find one's way in.
const MOST_LINES: usize = 600;

fn sources(folder: &Path, found: &mut Vec<PathBuf>) {
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            sources(&path, found);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            found.push(path);
        }
    }
}

fn library_sources() -> Vec<(String, PathBuf, String)> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let mut files = Vec::new();
    sources(&root, &mut files);
    files
        .into_iter()
        .filter(|path| !path.starts_with(root.join("bin")))
        .map(|path| {
            let inside = path.strip_prefix(&root).unwrap();
            let first = inside.components().next().unwrap().as_os_str().to_str().unwrap();
            let module = first.trim_end_matches(".rs").to_owned();
            let text = std::fs::read_to_string(&path).unwrap();
            (module, path, text)
        })
        .filter(|(module, ..)| module != "main" && module != "lib")
        .collect()
}

/// The modules that a text names as `crate::module`.
fn used(text: &str) -> BTreeSet<&str> {
    text.split("crate::")
        .skip(1)
        .map(|rest| {
            rest.split(|c: char| !c.is_alphanumeric() && c != '_')
                .next()
                .unwrap_or_default()
        })
        .filter(|module| !module.is_empty())
        .collect()
}

#[test]
fn modules_use_only_the_layers_below_them() {
    let layers: BTreeMap<_, _> = LAYERS.iter().copied().collect();
    let mut wrong = Vec::new();
    let mut seen = BTreeSet::new();
    for (module, path, text) in library_sources() {
        let Some(allowed) = layers.get(module.as_str()) else {
            wrong.push(format!("{}: module `{module}` is in no layer", path.display()));
            continue;
        };
        for other in used(&text) {
            if other != module && !allowed.contains(&other) {
                wrong.push(format!("{}: `{module}` may not use `{other}`", path.display()));
            }
        }
        seen.insert(module);
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    let unused: Vec<_> = layers.keys().filter(|layer| !seen.contains(**layer)).collect();
    assert!(
        unused.is_empty(),
        "the table names modules that do not exist: {unused:?}"
    );
}

#[test]
fn the_table_has_no_circle() {
    let layers: BTreeMap<_, _> = LAYERS.iter().copied().collect();
    let mut placed: BTreeSet<&str> = BTreeSet::new();
    while placed.len() < layers.len() {
        let next = layers
            .iter()
            .find(|(name, below)| {
                !placed.contains(**name) && below.iter().all(|other| placed.contains(other))
            })
            .unwrap_or_else(|| {
                panic!(
                    "a circle among {:?}",
                    layers.keys().filter(|name| !placed.contains(**name))
                )
            });
        placed.insert(next.0);
    }
}

#[test]
fn no_file_is_too_long_to_find_ones_way_in() {
    let long: Vec<_> = library_sources()
        .into_iter()
        .map(|(_, path, text)| (text.lines().count(), path))
        .filter(|(lines, _)| *lines > MOST_LINES)
        .collect();
    assert!(long.is_empty(), "{long:?}");
}

#[test]
fn every_module_says_what_it_is_for() {
    for (_, path, text) in library_sources() {
        assert!(
            text.starts_with("//! "),
            "{} has no module documentation",
            path.display()
        );
    }
}
