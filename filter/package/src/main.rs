//! `portcullis-package MODULE LOCK TREE RUST OUT`: what a release consists of, made from the built module.
//!
//! `scripts/package` calls it. `LOCK` is Cargo.lock, `TREE` what `cargo tree` says of the module's packages (see
//! [`sbom::Tree`]), `RUST` the version of the toolchain whose standard library is linked in. Into the directory `OUT` go
//! the module, an OCI image of it, a bill of materials, and checksums of all three. The same input makes the same bytes.
#![forbid(unsafe_code)]

mod archive;
mod image;
mod sbom;

use std::fmt::Write as _;
use std::path::Path;
use std::process::ExitCode;

use sha2::{Digest as _, Sha256};

/// The version of all packages of the workspace.
const VERSION: &str = env!("CARGO_PKG_VERSION");

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [module, lock, tree, rust, out] = arguments.as_slice() else {
        return fail("usage: portcullis-package MODULE LOCK TREE RUST OUT");
    };
    match package(Path::new(module), Path::new(lock), Path::new(tree), rust, Path::new(out)) {
        Ok(summary) => {
            say(&summary);
            ExitCode::SUCCESS
        }
        Err(problem) => fail(&problem),
    }
}

#[allow(clippy::print_stderr, reason = "a command line tool")]
fn fail(problem: &str) -> ExitCode {
    eprintln!("portcullis-package: {problem}");
    ExitCode::FAILURE
}

#[allow(clippy::print_stdout, reason = "a command line tool")]
fn say(summary: &str) {
    println!("{summary}");
}

/// Writes the files; gives a line for each, and one with the image's digest.
fn package(module: &Path, lock: &Path, tree: &Path, rust: &str, out: &Path) -> Result<String, String> {
    let module = read(module)?;
    let tree = sbom::Tree::parse(&text(tree)?)?;
    let checksums = sbom::checksums(&text(lock)?);
    let image = image::Image::of(&module, VERSION);
    let bill = sbom::bill(&tree, &checksums, &module, VERSION, rust);
    let files: [(&str, Vec<u8>); 3] = [
        ("portcullis.wasm", module),
        ("portcullis.oci.tar", image.archive()),
        ("portcullis.cdx.json", format!("{bill:#}\n").into_bytes()),
    ];
    std::fs::create_dir_all(out).map_err(|error| format!("{}: {error}", out.display()))?;
    let (mut sums, mut summary) = (String::new(), String::new());
    for (name, bytes) in &files {
        write(&out.join(name), bytes)?;
        let _ = writeln!(sums, "{}  {name}", hex(bytes));
        let _ = writeln!(summary, "{}: {} bytes", out.join(name).display(), bytes.len());
    }
    write(&out.join("SHA256SUMS"), sums.as_bytes())?;
    let _ = writeln!(summary, "{}", out.join("SHA256SUMS").display());
    let _ = write!(summary, "image: sha256:{}", image.digest());
    Ok(summary)
}

fn read(path: &Path) -> Result<Vec<u8>, String> {
    std::fs::read(path).map_err(|error| format!("{}: {error}", path.display()))
}

fn text(path: &Path) -> Result<String, String> {
    String::from_utf8(read(path)?).map_err(|error| format!("{}: {error}", path.display()))
}

fn write(path: &Path, bytes: &[u8]) -> Result<(), String> {
    std::fs::write(path, bytes).map_err(|error| format!("{}: {error}", path.display()))
}

/// SHA-256 in lower-case hexadecimal.
fn hex(bytes: &[u8]) -> String {
    Sha256::digest(bytes).iter().fold(String::new(), |mut text, byte| {
        let _ = write!(text, "{byte:02x}");
        text
    })
}
