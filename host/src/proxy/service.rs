//! A component that answers in the place of an upstream: where it may stand, and its part of the straight line.

use std::collections::BTreeMap;
use std::sync::Arc;

use http::Response;

use super::Route;
use super::order::at_link;
use super::record::Entry;
use crate::body::Body;
use crate::chain::{Caller, Link};
use crate::config::{Config, OnFailure, Problem};
use crate::connect::Outbound;
use crate::error::{Error, Reason};
use crate::plugin::Plugin;
use crate::upstream::Asking;

/// Lets a service answer, as an upstream would: it sees the same request, and the same becomes of its answer.
pub(super) async fn answer(
    service: &Link,
    route: &Route,
    caller: &Caller,
    mut request: Outbound<'_>,
    asking: Asking,
    entry: &mut Entry,
) -> Result<Response<Body>, Error> {
    request.settle();
    let request = request.request_mut();
    if let Some(rewrite) = &route.rewrite {
        let mut target = std::mem::take(request.uri_mut());
        rewrite.request(&mut target, request.headers_mut())?;
        *request.uri_mut() = target;
    }
    if let Some(mirror) = &route.mirror {
        mirror.look(request, &caller.authority, asking);
    }
    let outcome = service.serve(caller, std::mem::take(request)).await;
    entry.upstream_duration = Some(asking.begun.elapsed());
    let mut response = outcome?;
    if let Some(rewrite) = &route.rewrite {
        rewrite.response(response.headers_mut(), &[]);
    }
    if response.status().is_server_error() {
        return Err(Error::new(Reason::UpstreamStatus(response.status())));
    }
    Ok(response)
}

/// Those of these plugins that stand where their components cannot.
pub(crate) fn misplaced(config: &Config, plugins: &BTreeMap<String, Arc<Plugin>>) -> Vec<Problem> {
    let mut problems = Vec::new();
    for route in &config.routes {
        let problem =
            |message: String, help: String| Problem::error(format!("route `{}`: {message}", route.name)).help(help);
        for (at, name) in route.chain.iter().enumerate() {
            let Some(world) = plugins.get(name).and_then(|plugin| plugin.component().world()) else { continue };
            if !world.answers() && !route.upgrade.is_empty() {
                let message = format!("`{name}` is {world}, which cannot pass on what goes on with another protocol");
                let help = "write a route of its own for what upgrades".to_owned();
                problems.push(at_link(problem(message, help), route, at));
            }
            if world.answers() {
                let message = format!("`{name}` is {world}, which answers by itself and calls nothing behind it");
                let help = format!("take it out of the chain, and write service = \"{name}\" in place of the upstream");
                problems.push(at_link(problem(message, help), route, at));
            }
        }
        let mut report = |message: String, help: String| {
            let problem = problem(message, help);
            problems.push(match &route.place {
                Some(place) => problem.at(place.clone(), format!("route.{}.service", route.name)),
                None => problem,
            });
        };
        let Some(name) = route.end.service() else { continue };
        let Some(plugin) = plugins.get(name) else { continue };
        let chain = format!("put it into the chain of a route that has an upstream or a service: chain = [\"{name}\"]");
        match plugin.component().world() {
            Some(world) if world.answers() => {}
            Some(world) => {
                let message = format!("`{name}` is {world}, which needs something behind it to call");
                report(message, chain);
            }
            None => report(format!("`{name}` is a plugin with hooks, which answers no requests"), chain),
        }
        let spec = config.plugin.get(name);
        if plugin.on_failure == OnFailure::Open {
            let message = format!("`{name}` answers itself, so nobody can when it fails");
            report(message, "remove on-failure = \"open\"".to_owned());
        }
        if spec.is_some_and(|spec| spec.rollout.is_some()) {
            let message = format!("`{name}` answers itself, and a new version of it has all requests at once");
            report(message, "remove rollout".to_owned());
        }
    }
    problems
}
