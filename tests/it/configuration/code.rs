//! What the code says of settings: their names, types, doc comments, the names that they may have for value, and the tables of
//! names of variables.

use std::collections::BTreeMap;

use syn::punctuated::Punctuated;
use syn::{Attribute, Expr, Fields, GenericArgument, Item, Lit, Meta, PathArguments, Token, Type};

use super::{root, variable};

/// A field of a structure.
pub(super) struct Field {
    pub(super) name: String,
    pub(super) kind: Type,
    pub(super) words: String,
}

/// A structure, or what a list of such holds.
#[derive(Default)]
pub(super) struct Structure {
    pub(super) words: String,
    pub(super) fields: Vec<Field>,
}

/// What the code says of settings.
pub(super) struct Code {
    pub(super) structures: BTreeMap<String, Structure>,
    /// The names that a setting may have for value, and what each means.
    pub(super) names: BTreeMap<String, Vec<(String, String)>>,
    /// The tables of names of variables and settings.
    pub(super) tables: BTreeMap<String, Vec<String>>,
}

impl Code {
    /// Reads the modules of settings, and of the domain, whose types settings have.
    pub(super) fn read() -> Self {
        let mut code = Self {
            structures: BTreeMap::new(),
            names: BTreeMap::new(),
            tables: BTreeMap::new(),
        };
        for folder in ["src/domain", "src/settings"] {
            for entry in std::fs::read_dir(root().join(folder)).unwrap() {
                let path = entry.unwrap().path();
                if path.extension().is_some_and(|extension| extension == "rs") {
                    let text = std::fs::read_to_string(&path).unwrap();
                    for item in syn::parse_file(&text).unwrap().items {
                        code.take(item);
                    }
                }
            }
        }
        code
    }

    fn take(&mut self, item: Item) {
        match item {
            Item::Struct(item) => {
                let structure = Structure {
                    words: words(&item.attrs),
                    fields: fields(item.fields),
                };
                self.structures.insert(item.ident.to_string(), structure);
            }
            Item::Enum(item) => {
                let case = serde_text(&item.attrs, "rename_all");
                let name = |ident: &syn::Ident| cased(&ident.to_string(), case.as_deref());
                let names = item
                    .variants
                    .iter()
                    .map(|variant| (name(&variant.ident), words(&variant.attrs)));
                self.names.insert(item.ident.to_string(), names.collect());
                // A structure that says by a field of its own which one it is.
                if let Some(tag) = serde_text(&item.attrs, "tag") {
                    let which = Field {
                        name: tag,
                        kind: syn::parse_str(&format!("Tag<{}>", item.ident)).unwrap(),
                        words: "Which kind it is.".to_owned(),
                    };
                    let inner = item
                        .variants
                        .into_iter()
                        .flat_map(|variant| fields(variant.fields));
                    let structure = Structure {
                        words: words(&item.attrs),
                        fields: [which].into_iter().chain(inner).collect(),
                    };
                    self.structures.insert(item.ident.to_string(), structure);
                }
            }
            Item::Const(item) => {
                if let Expr::Reference(reference) = *item.expr
                    && let Expr::Array(array) = *reference.expr
                {
                    let texts = array.elems.iter().filter_map(text);
                    self.tables.insert(item.ident.to_string(), texts.collect());
                }
            }
            _ => {}
        }
    }

    pub(super) fn table(&self, name: &str) -> &[String] {
        let table = self.tables.get(name).filter(|table| !table.is_empty());
        table.unwrap_or_else(|| panic!("src/settings has no table {name}"))
    }

    /// Whether a setting has no variable.
    pub(super) fn is_in_file_only(&self, path: &str) -> bool {
        self.table("FILE_ONLY").contains(&variable(path))
    }

    /// What a type is called on the page.
    pub(super) fn called(&self, kind: &Type, field: &str) -> String {
        let (name, inner) = taken_apart(kind);
        match (name.as_str(), inner) {
            ("Option", Some(inner)) if taken_apart(inner).0 == "bool" => "true, false or null".to_owned(),
            ("Option", Some(inner)) => format!("{} or null", self.called(inner, field)),
            ("Vec", Some(inner)) if self.structure(inner).is_some() => "list".to_owned(),
            ("Vec", Some(inner)) => format!("list: {}", self.called(inner, field)),
            ("Tag", _) => "name".to_owned(),
            ("bool", _) => "true or false".to_owned(),
            ("u16", _) => "0 to 65535".to_owned(),
            ("u32" | "u64" | "usize" | "i64" | "f64", _) => {
                let units = [("_bytes", "bytes"), ("_seconds", "seconds"), ("_usd", "USD")];
                let unit = units.iter().find(|(end, _)| field.ends_with(end));
                unit.map_or("number", |(_, unit)| unit).to_owned()
            }
            ("Duration", _) => "duration".to_owned(),
            ("String" | "UserId" | "TenantName" | "InstanceName", _) => "text".to_owned(),
            ("SecretString", _) => "secret".to_owned(),
            ("PathBuf", _) => "path".to_owned(),
            ("IpAddr", _) => "address".to_owned(),
            ("SocketAddr", _) => "address and port".to_owned(),
            ("Network", _) => "address or network".to_owned(),
            ("NetworkSetting", _) => "name or list of ports".to_owned(),
            ("NaiveDate", _) => "day".to_owned(),
            ("Url", _) => "URL".to_owned(),
            ("BTreeMap" | "HashMap" | "McpServers", _) => "map".to_owned(),
            (name, _) if self.names.contains_key(name) => "name".to_owned(),
            (name, _) if self.structures.contains_key(name) => "map".to_owned(),
            (name, _) => panic!("tell `called` what a {name} is to a reader of the page"),
        }
    }

    /// The names that a setting may have for value, with what each means.
    pub(super) fn choices(&self, kind: &Type) -> String {
        let (name, inner) = taken_apart(kind);
        if let (Some(inner), "Option" | "Vec" | "BTreeMap" | "HashMap" | "Tag") = (inner, name.as_str()) {
            return self.choices(inner);
        }
        let Some(names) = self.names.get(&name).filter(|_| name != "NetworkSetting") else {
            return String::new();
        };
        let meant = names
            .iter()
            .map(|(name, words)| format!("`{name}` ({})", inside(words)));
        format!(" {}.", meant.collect::<Vec<_>>().join(", "))
    }

    /// The structure that a field of this type holds, or holds a list of.
    pub(super) fn structure(&self, kind: &Type) -> Option<(String, &Structure)> {
        let (name, inner) = taken_apart(kind);
        match (name.as_str(), inner) {
            ("Option" | "Vec", Some(inner)) => self.structure(inner),
            _ => Some((
                name.clone(),
                self.structures
                    .get(&name)
                    .filter(|found| !found.fields.is_empty())?,
            )),
        }
    }
}

/// A type's name, and what it holds: of a map, its values.
pub(super) fn taken_apart(kind: &Type) -> (String, Option<&Type>) {
    let Type::Path(path) = kind else {
        panic!("a setting's type is no path");
    };
    let last = path.path.segments.last().unwrap();
    let inner = match &last.arguments {
        PathArguments::AngleBracketed(arguments) => match arguments.args.last() {
            Some(GenericArgument::Type(inner)) => Some(inner),
            _ => None,
        },
        _ => None,
    };
    (last.ident.to_string(), inner)
}

fn fields(fields: Fields) -> Vec<Field> {
    let Fields::Named(named) = fields else {
        return Vec::new();
    };
    let field = |field: syn::Field| Field {
        name: field.ident.unwrap().to_string(),
        words: words(&field.attrs),
        kind: field.ty,
    };
    named.named.into_iter().map(field).collect()
}

/// A doc comment, on one line.
fn words(attributes: &[Attribute]) -> String {
    let line = |attribute: &Attribute| match &attribute.meta {
        Meta::NameValue(doc) if doc.path.is_ident("doc") => text(&doc.value),
        _ => None,
    };
    let lines: Vec<_> = attributes.iter().filter_map(line).collect();
    let joined = lines.iter().map(|line| line.trim()).collect::<Vec<_>>().join(" ");
    // Backticks that are there for a lint alone.
    joined.replace("`OpenID`", "OpenID")
}

fn text(expression: &Expr) -> Option<String> {
    let Expr::Lit(literal) = expression else {
        return None;
    };
    let Lit::Str(text) = &literal.lit else {
        return None;
    };
    Some(text.value())
}

/// A text that an attribute of serde's gives.
fn serde_text(attributes: &[Attribute], key: &str) -> Option<String> {
    let serde = attributes
        .iter()
        .filter(|attribute| attribute.path().is_ident("serde"));
    let parts = serde.flat_map(|attribute| {
        let list = Punctuated::<Meta, Token![,]>::parse_terminated;
        attribute.parse_args_with(list).unwrap()
    });
    let mut found = parts.filter_map(|part| match part {
        Meta::NameValue(given) if given.path.is_ident(key) => text(&given.value),
        _ => None,
    });
    found.next()
}

/// A variant's name, as serde writes it.
fn cased(name: &str, case: Option<&str>) -> String {
    let split = |with: char| {
        let letters = name.char_indices();
        letters.fold(String::new(), |mut written, (at, letter)| {
            if letter.is_uppercase() && at > 0 {
                written.push(with);
            }
            written.push(letter.to_ascii_lowercase());
            written
        })
    };
    match case {
        None => name.to_owned(),
        Some("lowercase") => name.to_lowercase(),
        Some("snake_case") => split('_'),
        Some("kebab-case") => split('-'),
        Some("camelCase") => {
            let mut letters = name.chars();
            let first = letters.next().into_iter().flat_map(char::to_lowercase);
            first.chain(letters).collect()
        }
        Some(other) => panic!("tell `cased` how {other} is written"),
    }
}

/// A sentence, to stand in brackets.
fn inside(sentence: &str) -> String {
    let text = sentence.trim_end_matches('.');
    // Names keep their capital.
    if ["PostgreSQL", "Landlock"]
        .iter()
        .any(|name| text.starts_with(name))
    {
        return text.to_owned();
    }
    let mut letters = text.chars();
    let first = letters.next().unwrap_or_default();
    format!("{}{}", first.to_lowercase(), letters.as_str())
}
