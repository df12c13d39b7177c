//! docs/CONFIGURATION.md: its tables are made of the settings' own words, types, defaults and checks. What stands between the
//! tables is written by hand.

mod code;

use std::fmt::Write as _;
use std::path::Path;

use paddock::settings::{ALIASES, Settings};
use serde_json::{Value, json};
use syn::Type;

use code::{Code, Field, taken_apart};

/// How the page is made anew.
const AGAIN: &str = "run UPDATE_DOCS=1 cargo test --test it configuration::";

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// The fewest values with which each setting can be read that is a structure, or a list of some.
fn least(path: &str) -> Value {
    match path {
        "auth.oidc" => json!({"issuer": "https://login.example.com", "audience": "paddock"}),
        "auth.keys" => json!([{"name": "ci", "key": "sixteen characters"}]),
        "model.prices" => json!([
            {"model": "m", "from": "2026-01-01", "input_usd": 1.0, "output_usd": 1.0, "cache_read_usd": 1.0}
        ]),
        "permissions.rules" => json!([{"tool": "Bash", "decision": "ask"}]),
        "plugins" => json!([{"type": "local", "path": "/"}]),
        path if path.starts_with("dialects.") => json!({"tenant": "acme", "role": "member"}),
        path => panic!("tell `least` with which values `{path}` can be read"),
    }
}

fn variable(path: &str) -> String {
    format!("PADDOCK__{}", path.replace('.', "__").to_uppercase())
}

fn pointer(path: &str) -> String {
    format!("/{}", path.replace('.', "/"))
}

fn defaults() -> Value {
    serde_json::to_value(Settings::default()).unwrap()
}

/// The settings with one of another value, if it can be read.
fn with(path: &str, value: Value) -> Option<Settings> {
    let mut settings = defaults();
    *settings.pointer_mut(&pointer(path)).unwrap() = value;
    serde_json::from_value(settings).ok()
}

/// What the server says to values at the ends of what a setting's type can hold.
fn bounds(path: &str, kind: &Type) -> Vec<String> {
    const STRANGE: &str = "…";
    let probes: Vec<Value> = match taken_apart(kind) {
        (name, Some(inner)) if name == "Option" => return bounds(path, inner),
        (name, Some(inner)) if name == "Vec" => match taken_apart(inner).0.as_str() {
            "String" | "PathBuf" => vec![json!([STRANGE])],
            "Duration" => vec![json!([])],
            _ => Vec::new(),
        },
        (name, _) => match name.as_str() {
            "u32" | "u64" | "usize" => vec![json!(0), json!(u32::MAX), json!(u64::MAX)],
            "i64" => vec![json!(i64::MIN), json!(i64::MAX)],
            "f64" => vec![json!(-1.0), json!(0.0), json!(1e9)],
            "Duration" => vec![json!("0s"), json!("1ms"), json!("1000000days")],
            "String" | "SecretString" => vec![json!(""), json!(STRANGE)],
            "PathBuf" => vec![json!(""), json!("data/workspaces/here")],
            "Url" => vec![json!("ftp://example.com")],
            _ => Vec::new(),
        },
    };
    let mut found = Vec::new();
    for settings in probes.into_iter().filter_map(|probe| with(path, probe)) {
        for problem in settings.problems() {
            let (about, said) = problem.split_once(": ").unwrap();
            let said = said.replace(&format!("`{STRANGE}` "), "");
            let said = match said.strip_prefix("must be ") {
                Some(bound) => bound.to_owned(),
                None if said.starts_with("must ") || said.starts_with("needs ") => said,
                None => format!("refused where it {said}"),
            };
            if about.split(", ").any(|about| about == path) && !found.contains(&said) {
                found.push(said);
            }
        }
    }
    found
}

/// A value as `paddock config` prints it.
fn printed(path: &str, value: &Value) -> String {
    match value {
        Value::String(text) if text.is_empty() => "`\"\"`".to_owned(),
        Value::String(text) => format!("`{text}`"),
        Value::Array(entries) if entries.iter().any(Value::is_object) => "those in `config.yaml`".to_owned(),
        Value::Number(number) if path.ends_with("_bytes") => {
            let (bytes, units) = (number.as_u64().unwrap(), ["KiB", "MiB", "GiB"]);
            let power = (1..=3)
                .rev()
                .find(|power| bytes > 0 && bytes.is_multiple_of(1 << (10 * power)));
            let said = power.map(|power| format!(" ({} {})", bytes >> (10 * power), units[power - 1]));
            format!("`{bytes}`{}", said.unwrap_or_default())
        }
        value => format!("`{value}`"),
    }
}

/// A row of a table.
fn row(name: &str, value: &str, default: &str, words: &str) -> String {
    for cell in [name, value, default, words] {
        assert!(!cell.contains('|'), "{name}: a cell of a table holds no |");
    }
    format!("| {name} | {value} | {default} | {words} |\n")
}

const HEAD: &str = "| setting, variable | value | default | what it is |\n| --- | --- | --- | --- |\n";

/// Writes the rows of what lies at a path.
struct Writer<'a> {
    code: &'a Code,
    rows: String,
    /// The structures that are told of apart, and the settings that hold them.
    apart: Vec<(String, Vec<String>)>,
}

impl Writer<'_> {
    fn setting(&mut self, path: &str, field: &Field) {
        let code = self.code;
        if let Some((name, structure)) = code.structure(&field.kind) {
            if taken_apart(&field.kind).0 == name {
                self.rows += &row(&format!("`{path}`"), "map", "", &field.words);
                for inner in &structure.fields {
                    self.setting(&format!("{path}.{}", inner.name), inner);
                }
                return;
            }
            match self.apart.iter_mut().find(|(known, _)| *known == name) {
                Some((_, paths)) => paths.push(path.to_owned()),
                None => self.apart.push((name, vec![path.to_owned()])),
            }
        }
        let default = defaults().pointer(&pointer(path)).unwrap().clone();
        let mut value = code.called(&field.kind, &field.name);
        for bound in bounds(path, &field.kind) {
            let _written = write!(value, "; {bound}");
        }
        let words = format!("{}{}", field.words, code.choices(&field.kind));
        let names = self.names(path, &value);
        self.rows += &row(&names, &value, &printed(path, &default), &words);
    }

    /// A setting's name, and its variable's. What is in a map has a variable each, and the map itself has none.
    fn names(&self, path: &str, called: &str) -> String {
        let variable = variable(path);
        if self.code.is_in_file_only(path) {
            return format!("`{path}`<br>in the file only");
        }
        let is_secret = self.code.table("SECRETS").contains(&variable);
        let file = if is_secret { "<br>or `…_FILE`" } else { "" };
        let inner = if called.starts_with("map") { "__…" } else { "" };
        format!("`{path}`<br>`{variable}{inner}`{file}")
    }

    /// The tables of structures.
    fn structures(&mut self) -> String {
        let mut page = String::new();
        for (name, paths) in std::mem::take(&mut self.apart) {
            let structure = &self.code.structures[&name];
            let first = &paths[0];
            let is_list = least(first).is_array();
            let each = if is_list { "Each entry of" } else { "What is in" };
            let listed: Vec<_> = paths.iter().map(|path| format!("`{path}`")).collect();
            let _written = write!(page, "\n{each} {}:\n\n{HEAD}", listed.join(", "));
            for field in &structure.fields {
                let at = format!("{first}.{}", field.name);
                let called = self.code.called(&field.kind, &field.name);
                let names = if is_list || paths.len() > 1 {
                    format!("`{}`", field.name)
                } else {
                    self.names(&at, &called)
                };
                let words = format!("{}{}", field.words, self.code.choices(&field.kind));
                page += &row(&names, &called, &default_of(first, &field.name), &words);
            }
        }
        page
    }
}

/// What a field of a structure is when it is not written.
fn default_of(path: &str, field: &str) -> String {
    let mut given = least(path);
    let place = if given.is_array() { "/0" } else { "" };
    if let Value::Object(fields) = given.pointer_mut(place).unwrap() {
        fields.remove(field);
    }
    let Some(settings) = with(path, given) else {
        return "must be given".to_owned();
    };
    let settings = serde_json::to_value(settings).unwrap();
    let value = settings
        .pointer(&format!("{}{place}/{field}", pointer(path)))
        .unwrap();
    printed(field, value)
}

/// What is generated, by the names of its places.
fn generated(code: &Code) -> Vec<(String, String)> {
    let mut parts = Vec::new();
    for field in &code.structures["Settings"].fields {
        let mut writer = Writer {
            code,
            rows: String::new(),
            apart: Vec::new(),
        };
        let mut page = String::new();
        match code
            .structures
            .get(&taken_apart(&field.kind).0)
            .filter(|section| !section.fields.is_empty())
        {
            Some(section) => {
                let _written = write!(page, "{}\n\n", section.words);
                for inner in &section.fields {
                    writer.setting(&format!("{}.{}", field.name, inner.name), inner);
                }
            }
            None => writer.setting(&field.name, field),
        }
        page += HEAD;
        page += &writer.rows;
        page += &writer.structures();
        parts.push((field.name.clone(), page));
    }
    let list = |names: Vec<String>| joined(names.iter().map(|name| format!("- `{name}`\n")));
    parts.push(("lists".to_owned(), list(code.table("LISTS").to_vec())));
    let settings = code.table("FILE_ONLY").iter();
    let settings = settings.map(|name| {
        let path = name.trim_start_matches("PADDOCK__").to_lowercase();
        path.replace("__", ".")
    });
    parts.push(("file-only".to_owned(), list(settings.collect())));
    let secrets = code.table("SECRETS").iter();
    let files = secrets.map(|secret| {
        let aliases = ALIASES.iter().filter(|(_, name)| name == secret);
        let names = [secret.as_str()]
            .into_iter()
            .chain(aliases.map(|(alias, _)| *alias));
        let names: Vec<_> = names.map(|name| format!("`{name}_FILE`")).collect();
        format!("- {}\n", names.join(", "))
    });
    parts.push(("secrets".to_owned(), joined(files)));
    let aliases = ALIASES
        .iter()
        .map(|(alias, name)| format!("| `{alias}` | `{name}` |\n"));
    let head = "| variable | is |\n| --- | --- |\n".to_owned();
    parts.push(("aliases".to_owned(), head + &joined(aliases)));
    parts
}

fn joined(lines: impl Iterator<Item = String>) -> String {
    lines.collect()
}

/// The page, with what is generated in its places.
fn made(page: &str, parts: &[(String, String)]) -> String {
    const END: &str = "<!-- end -->";
    let mut page = page.to_owned();
    for (name, part) in parts {
        let begin = format!("<!-- generated: {name} -->\n");
        if !page.contains(&begin) {
            let _written = write!(page, "\n## `{name}`\n\n{begin}{END}\n");
        }
        let (before, rest) = page.split_once(&begin).unwrap();
        let (_, after) = rest
            .split_once(END)
            .expect("each generated part ends in <!-- end -->");
        page = format!("{before}{begin}{part}{END}{after}");
    }
    let known = page.matches("<!-- generated: ").count();
    assert_eq!(
        known,
        parts.len(),
        "docs/CONFIGURATION.md has places for what is not generated"
    );
    page
}

#[test]
fn the_configuration_page_is_made_of_the_settings() {
    let path = root().join("docs/CONFIGURATION.md");
    let page = std::fs::read_to_string(&path).unwrap();
    let made = made(&page, &generated(&Code::read()));
    if std::env::var("UPDATE_DOCS").is_ok_and(|update| update == "1") {
        std::fs::write(&path, made).unwrap();
        return;
    }
    let first = made.lines().zip(page.lines()).find(|(made, page)| made != page);
    assert!(
        made == page,
        "docs/CONFIGURATION.md is out of step; {AGAIN}\n{first:#?}"
    );
}

#[test]
fn every_setting_says_what_it_is_in_a_sentence() {
    fn look(code: &Code, path: &str, field: &Field, wrong: &mut Vec<String>) {
        let mut check = |path: &str, words: &str| {
            if words.is_empty() || !words.ends_with('.') {
                wrong.push(format!("{path}: {words:?}"));
            }
        };
        check(path, &field.words);
        if let Some((_, structure)) = code.structure(&field.kind) {
            check(&format!("{path} (its type)"), &structure.words);
            for inner in &structure.fields {
                look(code, &format!("{path}.{}", inner.name), inner, wrong);
            }
            return;
        }
        let (mut kind, mut inner) = taken_apart(&field.kind);
        while let Some(within) = inner {
            (kind, inner) = taken_apart(within);
        }
        for (name, words) in code.names.get(&kind).into_iter().flatten() {
            if kind != "NetworkSetting" {
                check(&format!("{path}: {name}"), words);
            }
        }
    }
    let code = Code::read();
    let mut wrong = Vec::new();
    for field in &code.structures["Settings"].fields {
        look(&code, &field.name, field, &mut wrong);
    }
    assert!(
        wrong.is_empty(),
        "no doc comment that ends in a full stop: {wrong:#?}"
    );
}

#[test]
fn every_setting_has_its_row() {
    fn leaves(path: &str, value: &Value, found: &mut Vec<String>) {
        match value {
            Value::Object(values) if !values.is_empty() => {
                for (key, value) in values {
                    leaves(&format!("{path}.{key}"), value, found);
                }
            }
            _ => found.push(path.to_owned()),
        }
    }
    let mut found = Vec::new();
    for (section, values) in defaults().as_object().unwrap() {
        leaves(section, values, &mut found);
    }
    let page: String = generated(&Code::read())
        .into_iter()
        .map(|(_, part)| part)
        .collect();
    let missing: Vec<_> = found
        .iter()
        .filter(|name| !page.contains(&format!("| `{name}`<br>")))
        .collect();
    assert!(
        missing.is_empty() && found.len() > 200,
        "{missing:?} of {}",
        found.len()
    );
}

#[test]
fn every_secret_may_come_from_a_file() {
    fn look(code: &Code, path: &str, field: &Field, found: &mut Vec<String>) {
        let (name, inner) = taken_apart(&field.kind);
        let kind = inner.map_or(name.clone(), |inner| taken_apart(inner).0);
        if kind == "SecretString" {
            found.push(variable(path));
        }
        if let Some((_, structure)) = code.structure(&field.kind).filter(|_| name != "Vec") {
            for inner in &structure.fields {
                look(code, &format!("{path}.{}", inner.name), inner, found);
            }
        }
    }
    let code = Code::read();
    let mut found = Vec::new();
    for field in &code.structures["Settings"].fields {
        look(&code, &field.name, field, &mut found);
    }
    found.sort();
    let mut known = code.table("SECRETS").to_vec();
    known.sort();
    assert_eq!(found, known);
}
