//! `tollgate plugin keygen`, `sign` and `verify`: whose a component is.

use std::fs::{self, OpenOptions};
use std::io::{self, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::{SystemTime, UNIX_EPOCH};

use super::failed;
use crate::minisign::{Message, PublicKey, SecretKey, Signature};

#[derive(clap::Args)]
pub(super) struct ToSign {
    /// The component, a .wasm file
    component: PathBuf,
    /// The secret key, as `plugin keygen` or `minisign -G -W` wrote it
    #[arg(long)]
    key: PathBuf,
    /// What is signed with it, on one line; without it the time and the name of the file
    #[arg(long)]
    comment: Option<String>,
}

#[derive(clap::Args)]
pub(super) struct ToVerify {
    /// The component, a .wasm file
    component: PathBuf,
    /// The public key: the line, or the file that `plugin keygen` or `minisign -G` wrote
    #[arg(long)]
    key: String,
    /// The signature, where it is not beside the component
    #[arg(long)]
    signature: Option<PathBuf>,
}

pub(super) fn keygen(name: &str) -> ExitCode {
    let right = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_');
    if name.is_empty() || name.len() > 64 || !name.bytes().all(right) {
        return failed(&format!("`{name}` is no name of a key: it has 1 to 64 letters, digits, \"-\" and \"_\""));
    }
    let key = match SecretKey::generate() {
        Ok(key) => key,
        Err(error) => return failed(&format!("there are no random numbers: {error}")),
    };
    let public = key.public();
    let (secret_file, public_file) = (format!("{name}.key"), format!("{name}.pub"));
    let text = format!("untrusted comment: minisign public key {}\n{public}\n", public.id);
    // Nothing that is there is written over.
    for (file, mode, text) in [(&secret_file, 0o600, key.to_file()), (&public_file, 0o644, text)] {
        let made = OpenOptions::new().write(true).create_new(true).mode(mode).open(file);
        if let Err(error) = made.and_then(|mut made| made.write_all(text.as_bytes())) {
            return failed(&format!("cannot write {file}: {error}"));
        }
    }
    eprintln!(
        "{secret_file} is the secret key, and not encrypted: whoever has it can sign. {public_file} is the public one."
    );
    eprintln!("For the configuration:\n");
    println!("[key.{name}]\npublic-key = \"{public}\"");
    ExitCode::SUCCESS
}

pub(super) fn sign(asked: &ToSign) -> ExitCode {
    let (key, component) = (asked.key.display(), asked.component.display());
    let text = match fs::read_to_string(&asked.key) {
        Ok(text) => text,
        Err(error) => return failed(&format!("cannot read {key}: {error}")),
    };
    let secret = match SecretKey::parse(&text) {
        Ok(secret) => secret,
        Err(malformed) => return failed(&format!("{key} is no secret key: {malformed}")),
    };
    let bytes = match fs::read(&asked.component) {
        Ok(bytes) => bytes,
        Err(error) => return failed(&format!("cannot read {component}: {error}")),
    };
    let comment = asked.comment.clone().unwrap_or_else(|| {
        let time = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_secs();
        let name = asked.component.file_name().unwrap_or_default().to_string_lossy();
        format!("timestamp:{time}\tfile:{name}")
    });
    let file = beside(&asked.component);
    match put(&file, &secret.sign(&Message::new(bytes.into()), &comment)) {
        Ok(()) => {
            eprintln!("{} is the signature of {component} by the key {}", file.display(), secret.public().id);
            ExitCode::SUCCESS
        }
        Err(error) => failed(&format!("cannot write {}: {error}", file.display())),
    }
}

pub(super) fn verify(asked: &ToVerify) -> ExitCode {
    let text = match fs::read_to_string(&asked.key) {
        Ok(text) => text,
        // No file, so it is the line.
        Err(_) => asked.key.clone(),
    };
    let key = match PublicKey::parse(&text) {
        Ok(key) => key,
        Err(malformed) => return failed(&format!("{} is no public key: {malformed}", asked.key)),
    };
    let component = asked.component.display();
    let file = asked.signature.clone().unwrap_or_else(|| beside(&asked.component));
    let (bytes, signature) = match (fs::read(&asked.component), fs::read(&file)) {
        (Ok(bytes), Ok(signature)) => (bytes, signature),
        (Err(error), _) => return failed(&format!("cannot read {component}: {error}")),
        (_, Err(error)) => return failed(&format!("cannot read {}: {error}", file.display())),
    };
    let refuse = |why: String| {
        eprintln!("{component}: not signed by the key {}: {why}", key.id);
        ExitCode::from(1)
    };
    let signature = match Signature::parse(&signature) {
        Ok(signature) => signature,
        Err(malformed) => return refuse(format!("{} is no signature: {malformed}", file.display())),
    };
    match key.verify(&Message::new(bytes.into()), &signature) {
        Ok(()) => {
            eprintln!("{component}: signed by the key {}", key.id);
            println!("{}", signature.comment());
            ExitCode::SUCCESS
        }
        Err(mismatch) => refuse(mismatch.to_string()),
    }
}

fn beside(component: &Path) -> PathBuf {
    let mut file = component.as_os_str().to_owned();
    file.push(".minisig");
    file.into()
}

/// Written beside, and renamed there: a server that looks meanwhile sees it whole.
fn put(file: &Path, text: &str) -> io::Result<()> {
    let mut new = file.as_os_str().to_owned();
    new.push(format!(".{}", std::process::id()));
    fs::write(&new, text)?;
    fs::rename(&new, file)
}
