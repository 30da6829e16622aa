//! Chains that make sense: what the order of a route's plugins, and what each of them wants to see, say about it.

use std::collections::BTreeMap;
use std::sync::Arc;

use crate::config::{Config, Problem, Route};
use crate::plugin::Plugin;
use crate::server::tls::ClientCertificate;

/// The attribute that says who a client is. A plugin that sets it is one that lets clients in.
const CONSUMER: &str = "consumer";

/// A plugin of a chain, and its place there.
type Link<'a> = (usize, &'a Arc<Plugin>);

/// Orders of plugins that work, and do probably not do what was meant.
pub(super) fn warnings(config: &Config, plugins: &BTreeMap<String, Arc<Plugin>>) -> Vec<Problem> {
    let mut warnings = Vec::new();
    for route in &config.routes {
        let chain: Vec<Link<'_>> =
            route.chain.iter().enumerate().filter_map(|(at, name)| Some((at, plugins.get(name)?))).collect();
        unset(route, &chain, &mut warnings);
        read_before_known(route, &chain, &mut warnings);
    }
    warnings
}

/// Attributes that a plugin looks at in a chain where nobody sets them before it.
fn unset(route: &Route, chain: &[Link<'_>], warnings: &mut Vec<Problem>) {
    for (place, (at, plugin)) in chain.iter().enumerate() {
        // Its own hooks speak to each other, too; and by the time of responses, the whole chain has spoken.
        let before = chain[..=place].iter().flat_map(|(_, plugin)| plugin.sets());
        let all = chain.iter().flat_map(|(_, plugin)| plugin.sets());
        let [request, response] = plugin.looks_at();
        let mut missing: Vec<_> = request.iter().filter(|name| !before.clone().any(|set| set == *name)).collect();
        missing.extend(response.iter().filter(|name| !all.clone().any(|set| set == *name)));
        missing.retain(|name| !ClientCertificate::ATTRIBUTES.contains(&&***name));
        missing.sort();
        missing.dedup();
        for name in missing {
            let problem = Problem::warning(format!(
                "the plugin `{}` looks at the attribute `{name}`, which no plugin before it in the chain of route `{}` \
                 sets",
                plugin.name, route.name
            ));
            let sets = chain[place..].iter().find(|(_, later)| later.sets().contains(name));
            let help = match sets {
                Some((_, later)) => format!("`{}` sets it: put it before `{}`", later.name, plugin.name),
                None => format!("put a plugin that sets it before `{}`, or take `{}` out", plugin.name, plugin.name),
            };
            warnings.push(at_link(problem.help(help), route, *at));
        }
    }
}

/// Plugins that read whole bodies, and may answer from them, before it is known who sent them.
fn read_before_known(route: &Route, chain: &[Link<'_>], warnings: &mut Vec<Problem>) {
    let knows = |plugin: &Plugin| plugin.sets().iter().any(|name| **name == *CONSUMER);
    let Some(first) = chain.iter().position(|(_, plugin)| knows(plugin)) else { return };
    let known = &chain[first].1.name;
    for (at, plugin) in chain[..first].iter().filter(|(_, plugin)| plugin.sight.request_body.is_some()) {
        let problem = Problem::warning(format!(
            "in the chain of route `{}`, the plugin `{}` reads whole bodies and may answer from them before `{known}` \
             knows whose they are",
            route.name, plugin.name
        ));
        warnings.push(at_link(problem.help(format!("put `{known}` before `{}`", plugin.name)), route, *at));
    }
}

/// Plugins that ask for whole bodies in chains of routes whose bodies go on for ever.
pub(super) fn waiting(config: &Config, plugins: &BTreeMap<String, Arc<Plugin>>) -> Vec<Problem> {
    let endless = config.routes.iter().filter(|route| route.streaming || !route.upgrade.is_empty());
    let links = endless.flat_map(|route| route.chain.iter().enumerate().map(move |(at, name)| (route, at, name)));
    let waits = |name: &String| {
        plugins
            .get(name)
            .is_some_and(|plugin| plugin.sight.request_body.is_some() || plugin.sight.response_body.is_some())
    };
    let describe = |(route, at, name): (&Route, usize, &String)| {
        let why = if route.streaming { "streams" } else { "lets connections go on with another protocol" };
        let problem = Problem::error(format!(
            "the plugin `{name}` asks for whole bodies, and is in the chain of route `{}`, which {why}: its bodies may \
             never end",
            route.name
        ));
        at_link(
            problem.help("take the plugin out of this chain, or write a route of its own for what streams"),
            route,
            at,
        )
    };
    links.filter(|(_, _, name)| waits(name)).map(describe).collect()
}

/// A problem where a plugin stands in a chain.
fn at_link(problem: Problem, route: &Route, at: usize) -> Problem {
    match route.chain_places.get(at) {
        Some(place) => problem.at(place.clone(), format!("route.{}.chain[{at}]", route.name)),
        None => problem,
    }
}
