//! Puts the built web console into the binary: a table of what is in `web/dist`, each file as it is and compressed.
//!
//! Needs no Node. Where the console is not built, the table is empty, and the server says so to browsers.

use std::fmt::Write as _;
use std::hash::{DefaultHasher, Hash as _, Hasher as _};
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::{env, fs, io};

use flate2::Compression;
use flate2::write::GzEncoder;

fn main() -> io::Result<()> {
    let variable = |name| {
        env::var_os(name)
            .map(PathBuf::from)
            .ok_or(io::ErrorKind::NotFound)
    };
    let dist = variable("CARGO_MANIFEST_DIR")?.join("web/dist");
    let out = variable("OUT_DIR")?;
    // Cargo builds all anew, each time, for a path that is not there.
    if fs::create_dir_all(&dist).is_ok() {
        println!("cargo:rerun-if-changed=web/dist");
    }
    println!("cargo:rerun-if-changed=build.rs");
    let mut files = Vec::new();
    if dist.join("index.html").is_file() {
        list(&dist, &mut files)?;
        files.sort();
    } else {
        println!("cargo:warning=the web console is not built, and will not be in the binary: run `make web`");
    }
    let mut table = String::from("&[\n");
    for (number, file) in files.iter().enumerate() {
        let path = text(file.strip_prefix(&dist).unwrap_or(file))?;
        let content = fs::read(file)?;
        let mut hasher = DefaultHasher::new();
        content.hash(&mut hasher);
        let mut encoder = GzEncoder::new(Vec::new(), Compression::best());
        encoder.write_all(&content)?;
        let gzip = encoder.finish()?;
        let plain_file = out.join(format!("console-{number}"));
        let gzip_file = out.join(format!("console-{number}.gz"));
        // As they are now, also if somebody builds the console meanwhile.
        fs::write(&plain_file, &content)?;
        let gzip = if gzip.len() < content.len() {
            fs::write(&gzip_file, &gzip)?;
            format!("Some(include_bytes!({:?}))", text(&gzip_file)?)
        } else {
            "None".to_owned()
        };
        writeln!(
            table,
            "    Asset {{ path: {path:?}, tag: \"{:016x}\", plain: include_bytes!({:?}), gzip: {gzip} }},",
            hasher.finish(),
            text(&plain_file)?
        )
        .map_err(io::Error::other)?;
    }
    table.push_str("]\n");
    fs::write(out.join("console.rs"), table)
}

/// A path as a text: what is written into code has to be one.
fn text(path: &Path) -> io::Result<&str> {
    path.to_str().ok_or(io::ErrorKind::InvalidData.into())
}

fn list(folder: &Path, files: &mut Vec<PathBuf>) -> io::Result<()> {
    for entry in fs::read_dir(folder)? {
        let path = entry?.path();
        if path.is_dir() {
            list(&path, files)?;
        } else {
            files.push(path);
        }
    }
    Ok(())
}
