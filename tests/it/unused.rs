//! Nothing is accepted and ignored: every setting and every field of a request is read by something.

use std::path::Path;

use paddock::settings::Settings;

use crate::support::document;

/// The library's code outside `folder`, without its tests.
fn code_outside(folder: &str) -> String {
    fn collect(at: &Path, without: &Path, code: &mut String) {
        for entry in std::fs::read_dir(at).unwrap() {
            let path = entry.unwrap().path();
            if path == without {
                continue;
            }
            if path.is_dir() {
                collect(&path, without, code);
            } else if path.extension().is_some_and(|extension| extension == "rs") {
                let text = std::fs::read_to_string(&path).unwrap();
                code.push_str(text.split("#[cfg(test)]").next().unwrap());
            }
        }
    }
    let src = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let mut code = String::new();
    collect(&src, &src.join(folder), &mut code);
    code
}

fn reads(code: &str, field: &str) -> bool {
    let access = format!(".{field}");
    code.match_indices(&access).any(|(at, _)| {
        let next = code.get(at + access.len()..).and_then(|rest| rest.chars().next());
        !next.is_some_and(|letter| letter.is_alphanumeric() || letter == '_')
    })
}

#[test]
fn every_setting_is_read_by_something() {
    let code = code_outside("settings");
    let settings = serde_json::to_value(Settings::default()).unwrap();
    // These two sections are handed on as wholes, by a method of their own each.
    let handed_on = ["defaults"];
    let auth =
        std::fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("src/settings/auth.rs")).unwrap();
    assert!(code.contains("settings.defaults.options()") && code.contains("settings.auth.is_enforced()"));
    for (section, values) in settings.as_object().unwrap() {
        let Some(values) = values.as_object().filter(|values| !values.is_empty()) else {
            assert!(reads(&code, section), "nothing reads the setting {section}");
            continue;
        };
        for key in values.keys() {
            let read = handed_on.contains(&section.as_str()) && defaults_hands_on(key)
                || reads(&code, key)
                || (section == "auth" && key == "enabled" && reads(&auth, key))
                // All by one list; what each has is read of whichever it is.
                || (section == "dialects" && values[key]["prefix"].is_string() && code.contains("dialects.enabled()"))
                // Together with who can call.
                || (section == "isolation" && key == "required" && code.contains("settings.needs_jail()"));
            assert!(read, "nothing reads the setting {section}.{key}");
        }
    }
}

fn defaults_hands_on(key: &str) -> bool {
    let text =
        std::fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("src/settings/defaults.rs"))
            .unwrap();
    let (_, options) = text.split_once("pub fn options").unwrap();
    reads(options, key) && reads(&code_outside("settings"), key)
}

#[test]
fn every_field_of_a_request_is_read_by_something() {
    let code = code_outside("domain");
    let mut checked = 0;
    for (name, schema) in document()["components"]["schemas"].as_object().unwrap() {
        if !name.ends_with("Request") {
            continue;
        }
        for field in schema["properties"]
            .as_object()
            .into_iter()
            .flat_map(|fields| fields.keys())
        {
            // Read by name, or taken out by a pattern that names it.
            let read = reads(&code, field)
                || code.contains(&format!("{field}: session"))
                || code.contains(&format!("rename = \"{field}\""))
                || code.contains(&format!(", {field} }} = body.0"));
            assert!(read, "nothing reads {name}.{field}");
            checked += 1;
        }
    }
    assert!(checked > 15, "{checked}");
}
