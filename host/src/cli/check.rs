//! `tollgate check` and `tollgate explain`: what a configuration means, without serving it.

use std::path::Path;
use std::process::ExitCode;

use http::{HeaderMap, HeaderName, HeaderValue, Method, Uri};

use super::{failed, refused};
use crate::authority::{Authority, Scheme};
use crate::config::{self, Config, End, Problems};
use crate::path;
use crate::router::{Asked, Router};
use crate::server::StartError;

pub(super) fn check(path: &Path, json: bool) -> ExitCode {
    let (problems, fine) = match config::load(path) {
        Ok(config) => match build(config) {
            Ok(warnings) => (warnings, true),
            Err(StartError::Problems(problems)) => (problems, false),
            Err(StartError::Machine(error)) => return failed(&format!("{error:#}")),
        },
        Err(problems) => (problems, false),
    };
    if json {
        let list: Vec<_> = problems.iter().collect();
        println!("{}", serde_json::to_string_pretty(&list).unwrap_or_default());
    } else {
        eprint!("{problems}");
        if fine {
            eprintln!("{}: fine", path.display());
        }
    }
    match (fine, problems.is_unreadable()) {
        (true, _) => ExitCode::SUCCESS,
        (false, true) => ExitCode::from(2),
        (false, false) => ExitCode::from(1),
    }
}

/// Loads everything that the configuration names, and serves nothing of it.
fn build(config: Config) -> Result<Problems, StartError> {
    let warnings = config.warnings.clone();
    let more = crate::server::build(config)?;
    Ok(warnings.into_iter().chain(more.iter().cloned()).collect())
}

pub(super) fn explain(path: &Path, method: &Method, url: &Uri, fields: &[String]) -> ExitCode {
    let config = match config::load(path) {
        Ok(config) => config,
        Err(problems) => return refused(&problems),
    };
    let mut headers = HeaderMap::new();
    for field in fields {
        let parsed = field.split_once(':').and_then(|(name, value)| {
            Some((HeaderName::try_from(name.trim()).ok()?, HeaderValue::try_from(value.trim()).ok()?))
        });
        let Some((name, value)) = parsed else {
            return failed(&format!("`{field}` is no header: write it as 'name: value'"));
        };
        headers.append(name, value);
    }
    let scheme = Scheme::of(url.scheme_str() == Some("https"));
    let named = url.authority().map(|authority| authority.as_str().to_owned());
    let host = named.or_else(|| Some(headers.get("host")?.to_str().ok()?.to_owned())).unwrap_or("localhost".to_owned());
    let authority = match Authority::parse(host.as_bytes(), scheme) {
        Ok(authority) => authority,
        Err(error) => return failed(&format!("400 {}: {}", error.reason().code(), error.detail())),
    };
    let router = Router::new(config.routes.iter().map(|route| (route, route)));
    let canonical = match path::canonical(url.path(), router.keeps_encoded_slash()) {
        Ok(canonical) => canonical,
        Err(error) => return failed(&format!("400 bad-path: {error}")),
    };
    let asked = Asked { method, host: authority.host(), path: &canonical, query: url.query(), headers: &headers };
    println!("{method} {}{canonical}", authority.as_str());
    for (name, verdict) in router.explain(asked) {
        println!("  {name}: {verdict}");
    }
    match router.find(asked) {
        Ok(route) => {
            let chain = if route.chain.is_empty() { "no plugin".to_owned() } else { route.chain.join(" → ") };
            let end = match &route.end {
                End::Upstream(name) => format!("upstream `{name}`"),
                End::Service(name) => format!("service `{name}`"),
            };
            println!("route `{}`: {chain} → {end}", route.name);
            ExitCode::SUCCESS
        }
        Err(none) => {
            if let Some(route) = router.preflight(asked) {
                println!("a preflight: the chain of route `{}` may answer it, else", route.name);
            }
            let error = crate::error::Error::from(none);
            println!("{} {}", error.reason().status().as_u16(), error.reason().code());
            ExitCode::from(1)
        }
    }
}
